"""Sampling with a filter as wide as the region that an output pixel covers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stn_core.errors import UsageError
from stn_core.geometry.precision import full_precision, widest_dtype
from stn_core.geometry.sampling.footprint import squared_pixel_step
from stn_core.geometry.sampling.interpolation import bilinear
from stn_core.geometry.sampling.padding import Edge


def antialiased(image: Tensor, grid: Tensor, edge: Edge) -> Tensor:
    """Bilinear sampling from the octave of the image that fits the local scale.

    The scale is the largest step, in input pixels, between neighbouring output pixels. Where it is
    at most 1 the result is the bilinear one. Where it is 2^l the image is read from its l-th
    octave, in which every pixel is the mean of 2^l × 2^l input pixels, and between octaves the two
    results are blended (Williams 1983, "Pyramidal parametrics"). The filter is as wide in all
    directions as the widest needs: a picture squeezed along one axis is softened along both. Along
    an axis of one output pixel there is no neighbour to tell the scale: unless the image, too, has
    only one pixel there, sample at two positions, half a pixel apart, and take their mean, as
    ``warp_image`` and ``SpatialTransformer`` do.

    The gradient is the true one, of the values and of the scale.

    Raises:
        UsageError: the output has one row or one column, and the image more than one.
    """
    height, width = image.shape[-2:]
    if any(n == 1 < m for n, m in zip(grid.shape[1:3], (height, width), strict=True)):
        raise UsageError(
            "antialiased cannot tell what a single row or column of the output covers of an image"
            f" of {height} by {width}; got a grid of {tuple(grid.shape)}: call stn_core.warp_image,"
            " or sample two rows or columns, half a pixel apart, and take their mean"
        )
    last = math.ceil(math.log2(max(height, width)))
    octave = squared_pixel_step(grid, (height, width)).clamp_min(1).log2() / 2
    octave = octave.clamp_max(last).unsqueeze(1)
    result = (1 - octave).relu() * bilinear(image, grid, edge)
    for level in range(1, last + 1):
        weight = (1 - (octave - level).abs()).relu()
        result = result + weight * bilinear(_octave(image, level), grid, edge)
    return result


def _octave(image: Tensor, level: int) -> Tensor:
    """The image at 1 / 2^level of its size, rounded up: means over equal rectangles."""
    height, width = image.shape[-2:]
    rows = _cell_shares(height, math.ceil(height / 2**level), image)
    columns = _cell_shares(width, math.ceil(width / 2**level), image)
    with full_precision(image):
        return (rows @ image.to(rows) @ columns.mT).to(image)


def _cell_shares(n: int, cells: int, like: Tensor) -> Tensor:
    """Which share of each of n pixels makes up each of the equal cells, (cells, n); rows add to 1.

    Where n is no multiple of the number of cells, a pixel on a border is divided between two. In
    float64: a GPU set to TF32 would round a matrix product in float32 to 10 bits.
    """
    dtype = widest_dtype(like.device)
    bounds = torch.arange(cells + 1, device=like.device, dtype=dtype) * (n / cells)
    pixels = torch.arange(n, device=like.device, dtype=dtype)
    low = torch.maximum(bounds[:-1, None], pixels)
    high = torch.minimum(bounds[1:, None], pixels + 1)
    return (high - low).clamp_min(0) * (cells / n)
