"""The smallest model that learns, for tests to break."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FlatLinear(nn.Module):
    """Logits that are linear in the pixels."""

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(math.prod(in_shape), num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.flatten(1))
        return logits


class ExpandedBuffer(FlatLinear):
    """With a constant for every class, of which there is one in memory."""

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(in_shape, num_classes)
        self.register_buffer("offset", torch.ones(1).expand(num_classes))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + self.offset
