"""The classical interpolations, as torch's ``grid_sample`` computes them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_core.geometry.sampling.padding import Edge


def bilinear(image: Tensor, grid: Tensor, edge: Edge) -> Tensor:
    """The mean of the four nearest pixels, weighted by how near they are.

    The gradient with respect to the grid is the true one, which is piecewise constant: it sees
    those four pixels only.
    """
    if edge == "zeros":
        return F.grid_sample(image, grid, "bilinear", edge, align_corners=False)
    return _sample_held(image, grid, "bilinear", edge)


def nearest(image: Tensor, grid: Tensor, edge: Edge) -> Tensor:
    """The nearest pixel, the even one of two at the same distance; the grid's gradient is zero."""
    if edge == "zeros":
        result = F.grid_sample(image, grid, "nearest", edge, align_corners=False)
        # Torch rounds NaN to some pixel and returns that.
        return result.masked_fill(grid.isnan().any(dim=-1).unsqueeze(1), float("nan"))
    return _sample_held(image, grid, "nearest", edge)


def bicubic(image: Tensor, grid: Tensor, edge: Edge) -> Tensor:
    """Cubic convolution (Keys 1981, a = -0.75) of the nearest 4×4 pixels; it may overshoot."""
    if edge == "zeros":
        return F.grid_sample(image, grid, "bicubic", edge, align_corners=False)
    return _sample_held(image, grid, "bicubic", edge)


def _sample_held(image: Tensor, grid: Tensor, mode: str, edge: Edge) -> Tensor:
    """Torch's ``grid_sample`` where positions outside are moved inside.

    Torch trusts that moving to bring every position inside, and reads and writes wherever NaN and
    infinity lead it. So it gets finite positions, and what is lost is put back: a position that is
    NaN gives NaN, in the value and in its gradient, and so does one that is infinite under
    ``"reflection"``; under ``"border"`` infinity is the last pixel.
    """
    # Farther out, neighbouring floating point numbers are a quarter of a reflection's period apart.
    limit = 1 / torch.finfo(grid.dtype).eps
    held = grid.nan_to_num(0.0, limit, -limit).clamp(-limit, limit)
    result = F.grid_sample(image, held, mode, edge, align_corners=False)
    lost = grid.isnan() if edge == "border" else ~grid.isfinite()
    lost = lost.any(dim=-1).unsqueeze(1)
    nan = torch.zeros_like(lost, dtype=grid.dtype).masked_fill(lost, float("nan"))
    return torch.where(lost, grid.sum(dim=-1).unsqueeze(1) * nan, result)
