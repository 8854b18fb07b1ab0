"""Layers that know where they are: CoordConv and the spatial transformer."""

from __future__ import annotations

from stn_core.layers.coordconv import AddCoords, CoordConv1d, CoordConv2d, CoordConv3d
from stn_core.layers.spatial_transformer import (
    SpatialTransformer,
    WarpedImages,
    zero_residual_head,
)

__all__ = [
    "AddCoords",
    "CoordConv1d",
    "CoordConv2d",
    "CoordConv3d",
    "SpatialTransformer",
    "WarpedImages",
    "zero_residual_head",
]
