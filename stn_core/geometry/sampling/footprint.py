"""How much of the input one output pixel covers."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_pixel_step(grid: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """The square of the largest step, in input pixels, from an output pixel to its neighbours.

    Args:
        grid: (B, h, w, 2), normalised input coordinates (x, y).
        size_hw: height and width of the INPUT in pixels.

    Returns:
        (B, h, w). A step that is not known counts as 0: along an axis of one pixel, and to a
        neighbour that is NaN or infinite, which thus stays alone.
    """
    height, width = size_hw
    pixels = torch.stack([grid[..., 0] * (width / 2), grid[..., 1] * (height / 2)], dim=-1)
    along_rows = _central_difference(pixels, 1).square().sum(-1)
    along_columns = _central_difference(pixels, 2).square().sum(-1)
    return torch.maximum(along_rows, along_columns)


def _central_difference(values: Tensor, dim: int) -> Tensor:
    """Half the difference of both neighbours; at the ends the difference to the only one."""
    n = values.shape[dim]
    if n < 2:
        return torch.zeros_like(values)
    steps = values.narrow(dim, 1, n - 1) - values.narrow(dim, 0, n - 1)
    # Also what is finite but too large to be squared.
    steps = steps.masked_fill(~(2 * steps.square()).isfinite(), 0)
    before = torch.cat([steps.narrow(dim, 0, 1), steps], dim)
    after = torch.cat([steps, steps.narrow(dim, n - 2, 1)], dim)
    return (before + after) / 2
