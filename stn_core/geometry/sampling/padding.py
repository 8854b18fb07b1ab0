"""What an image is beyond its edge: the padding argument of ``sample``, understood and checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from stn_core.errors import UsageError, unknown_name

Edge: TypeAlias = Literal["zeros", "border", "reflection"]
Padding: TypeAlias = str | float | Sequence[float] | Tensor


def edge_named(name: str) -> Edge:
    """The edge of that name; an unknown one raises a UsageError that names the nearest."""
    for edge in get_args(Edge):
        if name == edge:
            known: Edge = edge
            return known
    raise unknown_name("padding", name, get_args(Edge))


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
    if isinstance(padding, str):
        return edge_named(padding), 0.0
    if isinstance(padding, Real):
        return "zeros", fill_values(padding)[0]
    channels = image.shape[1]
    if isinstance(padding, Tensor):
        _check_fits(tuple(padding.shape), channels)
        return "zeros", padding.to(image).reshape(-1, 1, 1)
    values = fill_values(padding)
    _check_fits((len(values),), channels)
    if not any(values):
        return "zeros", 0.0
    return "zeros", image.new_tensor(values).reshape(-1, 1, 1)


def fill_values(fill: float | Iterable[float]) -> list[float]:
    """The numbers of a fill; what holds no numbers, or one not finite, raises a UsageError."""
    try:
        given: Any = [fill] if isinstance(fill, Real) else fill
        values = [float(value) for value in given]
    except (TypeError, ValueError):
        raise UsageError(
            f"padding is one of {', '.join(get_args(Edge))}, a number, or one number for each "
            f"channel; not {fill!r}"
        ) from None
    if not all(abs(value) < math.inf for value in values):
        raise UsageError(f"a fill must be finite; got {fill!r}")
    return values


def exact_fill(fill: float | Sequence[float] | Tensor) -> Tensor:
    """A fill in float64, on the CPU whatever torch's default device: its numbers can be read.

    Raises:
        UsageError: it holds no numbers, or one that is not finite.
    """
    if not isinstance(fill, Tensor):
        return torch.tensor(fill_values(fill), dtype=torch.float64, device="cpu")
    exact = fill.detach().cpu().double()
    if not exact.isfinite().all():
        raise UsageError(f"a fill must be finite; got {exact.tolist()}")
    return exact


def check_padding(padding: Padding) -> None:
    """Raise a UsageError where no image could be padded so, whatever its channels."""
    if isinstance(padding, str):
        edge_named(padding)
    else:
        exact_fill(padding)


def _check_fits(shape: tuple[int, ...], channels: int) -> None:
    if shape not in ((), (1,), (channels,)):
        raise UsageError(
            f"a fill of shape {shape} does not fit an image of {channels} channels; "
            "give one number, or one for each channel"
        )
