"""Linearized multi-sampling (Jiang et al., ICCV 2019, arXiv 1901.07124)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stn_core.geometry.sampling.footprint import squared_pixel_step
from stn_core.geometry.sampling.interpolation import bilinear
from stn_core.geometry.sampling.padding import Edge

NUM_AUXILIARY = 8


def auxiliary_offsets() -> list[tuple[float, float]]:
    """Where the auxiliary samples lie about a position, in standard deviations: (x, y) of each.

    The paper draws them from a normal distribution. These are fixed: half of them at the quantiles
    of its radius, a golden angle apart, the other half opposite. So a result repeats, no random
    generator is touched, and the mean of the offsets is zero.
    """
    pairs = NUM_AUXILIARY // 2
    golden_angle = math.pi * (3 - math.sqrt(5))
    offsets = []
    for k in range(pairs):
        radius = math.sqrt(-2 * math.log(1 - (k + 0.5) / pairs))
        x, y = radius * math.cos(k * golden_angle), radius * math.sin(k * golden_angle)
        offsets += [(x, y), (-x, -y)]
    return offsets


def linearized(image: Tensor, grid: Tensor, edge: Edge) -> Tensor:
    """The bilinear value, with the slope of a plane through a wider neighbourhood as its gradient.

    About each position x0 the image is read at K more places x_k, and a plane is fitted to what is
    found there by least squares: A = argmin sum_k |I(x_k) - I(x0) - A (x_k - x0)|². The result is
    I(x0) + A (x - x0), where A and x0 are held constant: its value is I(x0), and its gradient with
    respect to the grid is A, not the bilinear slope. So a gradient arrives from pixels beyond the
    nearest four. The image's gradient is that of the bilinear value. The plane passes through
    I(x0), so that pictures are as sharp as with ``bilinear`` and the identity stays exact.

    The auxiliary samples have a standard deviation of one pixel, of the input or of the output,
    whichever is larger: the paper, too, keeps them from collapsing onto a single input pixel.
    """
    centre = grid.detach()
    value = bilinear(image, centre, edge)
    if not torch.is_grad_enabled():
        return value
    slope = _plane_slope(image.detach(), centre, edge)
    # Infinity minus itself is NaN, which is not what lies there.
    move = (grid - centre).masked_fill(centre.isinf(), 0)
    return value + (slope * move.unsqueeze(1)).sum(-1)


def _plane_slope(image: Tensor, centre: Tensor, edge: Edge) -> Tensor:
    """The fitted planes' slopes (B, C, h, w, 2), in intensity per unit of x and of y."""
    height, width = image.shape[-2:]
    offsets = centre.new_tensor(auxiliary_offsets())
    deviation_pixels = squared_pixel_step(centre, (height, width)).clamp_min(1).sqrt()
    pixel = centre.new_tensor([2 / width, 2 / height])
    deviation = deviation_pixels.unsqueeze(-1) * pixel  # (B, h, w, 2)
    places = centre.unsqueeze(1) + offsets.reshape(-1, 1, 1, 2) * deviation.unsqueeze(1)
    intensities = bilinear(image, places.flatten(1, 2), edge)  # (B, C, K·h, w)
    rows: Tensor = intensities.unflatten(2, (NUM_AUXILIARY, centre.shape[1])).flatten(3)
    # The offsets are the same everywhere but for their scale, so the normal equations are solved
    # once, for a standard deviation of one. As the offsets add to zero, I(x0) drops out.
    weights = centre.new_tensor(_least_squares_weights(auxiliary_offsets()))  # (K, 2)
    # Sums of products: a GPU set to TF32 would round a matrix product to 10 bits.
    slopes = [(weights[:, axis, None] * rows).sum(2) for axis in (0, 1)]
    slope = torch.stack(slopes, dim=-1).reshape(*image.shape[:2], *centre.shape[1:])
    return slope / deviation.unsqueeze(1)


def _least_squares_weights(offsets: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """What each sample counts in the slope along x and along y: (OᵀO)⁻¹ Oᵀ, transposed."""
    xx = sum(x * x for x, _ in offsets)
    xy = sum(x * y for x, y in offsets)
    yy = sum(y * y for _, y in offsets)
    determinant = xx * yy - xy * xy
    return [((yy * x - xy * y) / determinant, (xx * y - xy * x) / determinant) for x, y in offsets]
