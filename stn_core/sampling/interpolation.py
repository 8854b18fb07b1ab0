"""The classical interpolations, as torch's ``grid_sample`` computes them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stn_core.sampling.padding import Edge


def bilinear(image: Tensor, grid: Tensor, edge: Edge) -> Tensor:
    """The mean of the four nearest pixels, weighted by how near they are.

    The gradient with respect to the grid is the true one, which is piecewise constant: it sees
    those four pixels only.
    """
    result = F.grid_sample(image, grid, "bilinear", edge, align_corners=False)
    return result if edge == "zeros" else _keep_nan(result, grid)


def nearest(image: Tensor, grid: Tensor, edge: Edge) -> Tensor:
    """The nearest pixel, the even one of two at the same distance; the grid's gradient is zero."""
    result = F.grid_sample(image, grid, "nearest", edge, align_corners=False)
    return _keep_nan(result, grid)


def bicubic(image: Tensor, grid: Tensor, edge: Edge) -> Tensor:
    """Cubic convolution (Keys 1981, a = -0.75) of the nearest 4×4 pixels; it may overshoot."""
    return F.grid_sample(image, grid, "bicubic", edge, align_corners=False)


def _keep_nan(result: Tensor, grid: Tensor) -> Tensor:
    """Put NaN where the grid is NaN: there torch rounds it to some pixel and returns that."""
    lost = grid.isnan().any(dim=-1).unsqueeze(1)
    return result.masked_fill(lost, float("nan"))
