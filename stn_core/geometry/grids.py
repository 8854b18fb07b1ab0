"""The one sampling-grid convention: where pixels lie in normalised coordinates.

Normalised coordinates span [-1, 1] over the outer edges of the image, x to the right and y down,
and the last axis of every array of points is (x, y). Pixel i of n has its centre at (2i + 1)/n - 1,
which torch calls ``align_corners=False``. Pixel coordinates put the centre of pixel i at i.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stn_core.errors import UsageError
from stn_core.geometry.option_values import is_whole_number


def base_grid(
    size_hw: tuple[int, int],
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The centres of all pixels of an image: the grid that samples it unchanged.

    >>> base_grid((1, 4))
    tensor([[[-0.7500,  0.0000],
             [-0.2500,  0.0000],
             [ 0.2500,  0.0000],
             [ 0.7500,  0.0000]]])

    Args:
        size_hw: height and width in pixels, both at least 1.
        device: where to put the grid.
        dtype: its floating type; torch's default type when omitted.

    Returns:
        (H, W, 2), normalised.

    Raises:
        UsageError: sides that are not whole numbers from 1, or a type that holds no fractions.
    """
    height, width = _check_size(size_hw)
    if dtype is not None and not dtype.is_floating_point:
        raise UsageError(f"a grid has a floating type; {dtype} cannot hold what lies in [-1, 1]")
    ys = _pixel_centres(height, device, dtype)[:, None].expand(height, width)
    xs = _pixel_centres(width, device, dtype)[None, :].expand(height, width)
    return torch.stack((xs, ys), dim=-1)


def normalised_to_pixel(xy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """From normalised to pixel coordinates, in which pixel i has its centre at i.

    >>> normalised_to_pixel(torch.tensor([[0.0, 0.0], [-1.0, 1.0]]), (4, 8))
    tensor([[ 3.5000,  1.5000],
            [-0.5000,  3.5000]])

    Args:
        xy: (..., 2) normalised.
        size_hw: height and width of the image in pixels.

    Returns:
        (..., 2) in pixels.

    Raises:
        UsageError: no tensor, a last axis that is not (x, y), or sides that are not whole numbers
            from 1.
    """
    height, width = _check_size(size_hw)
    x, y = _axes(xy)
    return torch.stack((((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2), dim=-1)


def pixel_to_normalised(xy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """From pixel coordinates, in which pixel i has its centre at i, to normalised ones.

    >>> pixel_to_normalised(torch.tensor([[3.5, 1.5], [0.0, 0.0]]), (4, 8))
    tensor([[ 0.0000,  0.0000],
            [-0.8750, -0.7500]])

    Args:
        xy: (..., 2) in pixels.
        size_hw: height and width of the image in pixels.

    Returns:
        (..., 2) normalised.

    Raises:
        UsageError: no tensor, a last axis that is not (x, y), or sides that are not whole numbers
            from 1.
    """
    height, width = _check_size(size_hw)
    x, y = _axes(xy)
    return torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)


def _pixel_centres(n: int, device: torch.device | str | None, dtype: torch.dtype | None) -> Tensor:
    # (2i + 1 - n)/n rather than (2i + 1)/n - 1: the numerator is an exact integer, so the centres
    # carry a single rounding and are symmetric about 0 to the last bit.
    dtype = dtype or torch.get_default_dtype()
    exact = torch.promote_types(dtype, torch.float32)
    return (torch.arange(1 - n, n, 2, device=device, dtype=exact) / n).to(dtype)


def _axes(xy: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(xy, Tensor):
        raise UsageError(f"points must be a tensor; got a {type(xy).__name__}")
    if xy.ndim < 1 or xy.shape[-1] != 2:
        raise UsageError(f"points must be (..., 2), (x, y) last; got {tuple(xy.shape)}")
    return xy[..., 0], xy[..., 1]


def _check_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(size_hw, (tuple, list)) or len(size_hw) != 2:
        raise UsageError(f"size_hw must be a height and a width; got {size_hw!r}")
    if not all(map(_is_whole, size_hw)):
        raise UsageError(f"size_hw must be whole numbers; got {size_hw!r}")
    height, width = size_hw
    if height < 1 or width < 1:
        raise UsageError(f"size_hw must be at least (1, 1); got ({height}, {width})")
    return height, width


def _is_whole(side: object) -> bool:
    """Whether a side is a whole number; while torch traces or exports, it may be a stand-in."""
    return is_whole_number(side) or isinstance(side, torch.SymInt | Tensor)
