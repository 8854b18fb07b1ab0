"""Bilinear interpolation by gathers, whose gradient can be added in a fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_core.geometry.sampling.padding import Edge


def deterministic(image: Tensor, grid: Tensor, edge: Edge) -> Tensor:
    """What ``bilinear`` computes, to rounding, from operations that can repeat bit for bit.

    On CUDA the backward pass of torch's ``grid_sample`` adds in the order in which threads happen
    to finish, and raises under ``torch.use_deterministic_algorithms(True)``. A gather's backward
    pass has a deterministic form, which torch takes when that switch is on. It can also be
    differentiated twice, which ``grid_sample`` cannot. It needs about four times the memory.
    """
    height, width = image.shape[-2:]
    columns, column_weights = _neighbours(grid[..., 0].flatten(1), width, edge)
    rows, row_weights = _neighbours(grid[..., 1].flatten(1), height, edge)
    index = (rows.unsqueeze(2) * width + columns.unsqueeze(1)).flatten(1)  # (B, 4·h·w)
    weights = (row_weights.unsqueeze(2) * column_weights.unsqueeze(1)).flatten(1, 2)
    batch_channels = image.shape[:2]
    pixels = image.flatten(2).gather(2, index.unsqueeze(1).expand(*batch_channels, -1))
    taps: Tensor = pixels.unflatten(2, (4, rows.shape[-1]))
    values = (taps * weights.unsqueeze(1)).sum(2)
    return values.reshape(*batch_channels, *grid.shape[1:3])


def _neighbours(coordinate: Tensor, n: int, edge: Edge) -> tuple[Tensor, Tensor]:
    """The two pixels about each position along one axis, and what each of them counts.

    Args:
        coordinate: (B, N), normalised.
        n: pixels along the axis.
        edge: what happens outside.

    Returns:
        Pixel indices (B, 2, N) in 0..n-1 and weights (B, 2, N): 0 for a pixel outside, NaN for a
        position that is NaN.
    """
    position = _position(coordinate, n, edge)
    low = position.floor()
    share = position - low
    pixels = torch.stack([low, low + 1], dim=1)
    weights = torch.stack([1 - share, share], dim=1)
    if edge == "zeros":
        weights = torch.where((pixels < 0) | (pixels > n - 1), 0, weights)
    # The clamp comes last: what NaN and infinity become as integers differs between devices.
    return pixels.long().clamp(0, n - 1), weights


def _position(coordinate: Tensor, n: int, edge: Edge) -> Tensor:
    """Normalised coordinate -> pixel index, a real number, moved inside unless edge is zeros."""
    position = ((coordinate + 1) * n - 1) / 2
    if edge == "zeros":
        return position
    if edge == "reflection":
        # A triangle wave of period 2n about the outer edges at -1/2 and n - 1/2.
        position = n - ((position + 0.5) % (2 * n) - n).abs() - 0.5
    # As in torch, no gradient where the edge holds the position.
    free = (position > 0) & (position < n - 1)
    return torch.where(free, position, position.detach().clamp(0, n - 1))
