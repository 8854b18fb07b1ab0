"""What an image is beyond its edge: the padding argument of ``sample``, understood and checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stn_core.errors import UsageError, unknown_name
from stn_core.geometry.option_values import is_number

Edge: TypeAlias = Literal["zeros", "border", "reflection"]
Padding: TypeAlias = str | float | Sequence[float] | NDArray[Any] | Tensor


def parse_padding(padding: Padding) -> tuple[Edge, list[float]]:
    """The edge that a padding means and the numbers that it fills with; a name has none.

    Args:
        padding: as for `split_padding`; a tensor is looked at, which waits for its device.

    Raises:
        UsageError: an unknown name, something else than numbers, or one that is not finite.
    """
    if isinstance(padding, str):
        for edge in get_args(Edge):
            if padding == edge:
                return edge, []
        raise unknown_name("padding", padding, get_args(Edge))
    given: Any = padding
    if isinstance(padding, Tensor):
        given = padding.detach().cpu().double().tolist()
    elif isinstance(padding, np.ndarray):
        given = padding.tolist()  # a number, if it has no axis
    try:
        values = [float(value) for value in ([given] if is_number(given) else given)]
    except (TypeError, ValueError):
        raise UsageError(
            f"padding is one of {', '.join(get_args(Edge))}, a number, or one number for each "
            f"channel; not {padding!r}"
        ) from None
    if not all(abs(value) < math.inf for value in values):
        raise UsageError(f"a fill must be finite; got {given!r}")
    return "zeros", values


def split_padding(padding: Padding, image: Tensor) -> tuple[Edge, Tensor | float]:
    """Separate a padding into what happens at the edge and the value that lies beyond it.

    Args:
        padding: ``"zeros"``, ``"border"`` (the nearest pixel), ``"reflection"`` (about the outer
            edge of the image), or a fill value: one number, or one for each channel.
        image: the image (B, C, H, W) that will be sampled.

    Returns:
        The edge, and the fill: 0.0, another number, or a tensor (C, 1, 1) or (1, 1, 1) in the
        image's dtype and on its device.

    Raises:
        UsageError: an unknown name, not one value for each channel, or a number that is not finite
            (the values of a tensor are not looked at, which would wait for its device).
    """
    channels = image.shape[1]
    if isinstance(padding, Tensor):
        _check_fits(tuple(padding.shape), channels)
        return "zeros", padding.to(image).reshape(-1, 1, 1)
    edge, values = parse_padding(padding)
    if isinstance(padding, Real):
        return edge, values[0]
    if not isinstance(padding, str):
        _check_fits((len(values),), channels)
    if not any(values):
        return edge, 0.0
    return edge, image.new_tensor(values).reshape(-1, 1, 1)


def _check_fits(shape: tuple[int, ...], channels: int) -> None:
    if shape not in ((), (1,), (channels,)):
        raise UsageError(
            f"a fill of shape {shape} does not fit an image of {channels} channels; "
            "give one number, or one for each channel"
        )
