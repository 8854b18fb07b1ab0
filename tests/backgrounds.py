"""What the transformers of a model show outside an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_core.layers.spatial_transformer import SpatialTransformer
from stn_core.models.deformable import DeformableConv2d
from stn_core.models.polar import PolarTransformer


def backgrounds_of(model: nn.Module) -> list[Tensor]:
    """The background of every module that looks at the image beyond its edge, per channel."""
    found = []
    for module in model.modules():
        if isinstance(module, SpatialTransformer):
            found.append(module.fill)
        elif isinstance(module, PolarTransformer | DeformableConv2d) and module.padding != "zeros":
            found.append(module.padding)
    return [torch.as_tensor(value, dtype=torch.float32).flatten().cpu() for value in found]
