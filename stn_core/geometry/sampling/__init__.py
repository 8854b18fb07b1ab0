"""Image + grid -> warped image.

The grid holds, for every output pixel, where to look in the input: normalised coordinates with the
last axis (x, y), x to the right and y down, -1 and 1 at the outer edges of the image (PyTorch's
``align_corners=False``: pixel i of n has its centre at (2i + 1)/n - 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from stn_core.errors import UsageError
from stn_core.geometry.precision import working_dtype
from stn_core.geometry.sampling.antialiased import antialiased
from stn_core.geometry.sampling.gathers import deterministic
from stn_core.geometry.sampling.interpolation import bicubic, bilinear, nearest
from stn_core.geometry.sampling.linearized import linearized
from stn_core.geometry.sampling.padding import Edge, Padding, split_padding
from stn_core.registry import Registry

__all__ = ["SAMPLERS", "Edge", "Padding", "Sampler", "check_sampler", "list_samplers", "sample"]

# (image, grid, edge) -> warped image, linear in the image, all in one dtype of 32 bits or more.
Sampler: TypeAlias = Callable[[Tensor, Tensor, Edge], Tensor]

SAMPLERS: Registry[Sampler] = Registry("sampler")
for _sampler in (bilinear, nearest, bicubic, deterministic, linearized, antialiased):
    SAMPLERS.add(_sampler.__name__, _sampler)


def list_samplers(pattern: str = "*") -> list[str]:
    """The modes of ``sample`` that match a shell pattern, sorted.

    >>> list_samplers("bi*")
    ['bicubic', 'bilinear']
    """
    return SAMPLERS.names(pattern)


def check_sampler(name: object) -> None:
    """Raise a UsageError unless a sampler has this name.

    >>> check_sampler("neerest")
    Traceback (most recent call last):
    stn_core.errors.UsageError: unknown sampler 'neerest'; did you mean nearest or deterministic?
    """
    if not isinstance(name, str):
        raise UsageError(f"a sampler is one of {', '.join(list_samplers())}; not {name!r}")
    SAMPLERS[name]


def sample(
    image: Tensor, grid: Tensor, mode: str = "bilinear", padding: Padding = "zeros"
) -> Tensor:
    """Read an image at the places that a grid names.

    >>> import torch
    >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
    >>> grid = torch.tensor([[[[0.0, 0.0], [0.5, 0.0], [3.0, 0.0]]]])  # the last lies outside
    >>> sample(image, grid, padding=9.0)
    tensor([[[[1.5000, 2.5000, 9.0000]]]])

    Positions and interpolation keep at least float32, and the wider dtype of image and grid, also
    under autocast; the result has the image's dtype. A position that is NaN gives NaN. An infinite
    one lies outside the image; but with ``"zeros"`` or a fill torch's ``grid_sample`` may give NaN
    there (0 times infinity), and so may all modes but ``nearest`` and ``deterministic``: holding
    positions would double the cost of ``bilinear``. With a fill the result carries roundings of the
    fill's size: the image is shifted by it, and back.

    Args:
        image: (B, C, H, W), floating point.
        grid: (B, h, w, 2), normalised input coordinates (x, y) of every output pixel.
        mode: one of ``list_samplers()``.
        padding: what lies outside the image: ``"zeros"``, ``"border"`` (the nearest pixel),
            ``"reflection"`` (about the image's outer edges), or a fill value: a number, or a
            sequence or tensor with one for each channel.

    Returns:
        The warped image (B, C, h, w).

    Raises:
        UsageError: no tensors, shapes that do not fit, an image of integers or without pixels, an
            unknown mode or padding, or a fill of numbers that are not finite.
    """
    _check_inputs(image, grid)
    check_sampler(mode)
    sampler, dtype = SAMPLERS[mode], working_dtype(image, grid)
    source, places = image.to(dtype), grid.to(dtype)
    edge, fill = split_padding(padding, source)
    if isinstance(fill, float) and fill == 0.0:
        return sampler(source, places, edge).to(image.dtype)
    # A sampler is linear in the image and reads zeros outside, so an image whose values are shifted
    # by the fill makes it read the fill there.
    return (sampler(source - fill, places, edge) + fill).to(image.dtype)


def _check_inputs(image: Any, grid: Any) -> None:
    for what, given in (("an image", image), ("a grid", grid)):
        if not isinstance(given, Tensor):
            raise UsageError(f"sample needs {what} that is a tensor; got a {type(given).__name__}")
    if image.dim() != 4 or not image.is_floating_point():
        raise UsageError(
            "sample needs an image of floating point numbers and shape (B, C, H, W), "
            f"not {image.dtype} of shape {tuple(image.shape)}"
        )
    if 0 in image.shape[2:]:
        raise UsageError(f"sample needs an image with pixels, not one of {tuple(image.shape)}")
    if grid.dim() != 4 or grid.shape[-1] != 2 or grid.shape[0] != image.shape[0]:
        raise UsageError(
            f"sample needs a grid of shape (B, h, w, 2) for an image of {tuple(image.shape)}, "
            f"not {tuple(grid.shape)}"
        )
