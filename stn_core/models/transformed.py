"""A classifier that looks through a spatial transformer, and what the reports ask of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.layers.spatial_transformer import SpatialTransformer
from stn_core.layers.spatial_transformer import WarpedImages as WarpedImages


@runtime_checkable
class TransformsImages(Protocol):
    """A model that can show what it makes of its input before it classifies it."""

    def transform(self, images: Tensor) -> WarpedImages:
        """Images ``(B, C, H, W)`` to the warped images, their sampling grid and theta."""
        ...


class Transformer(TransformsImages, Protocol):
    """A module that makes warped images of images."""

    def __call__(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to the warped ones alone."""
        ...


class TransformedClassifier(nn.Module):
    """Warp the input, then classify it (Jaderberg et al. 2015, arXiv 1506.02025).

    Args:
        transformer: predicts a warp for each image and applies it.
        classifier: warped images to logits ``(B, K)``.
    """

    def __init__(self, transformer: Transformer, classifier: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.classifier = classifier

    def transform(self, images: Tensor) -> WarpedImages:
        """Images ``(B, C, H, W)`` to the warped images, their sampling grid and theta."""
        return self.transformer.transform(images)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to logits ``(B, K)``."""
        logits: Tensor = self.classifier(self.transformer(images))
        return logits


class ParallelTransformers(nn.Module):
    """Several spatial transformers that look at the same image (Jaderberg et al. 2015, sec. 3.4).

    What each makes of the image follows what the one before it made, along the channels.

    Args:
        transformers: at least one, all of one output size.

    Raises:
        UsageError: it has none.
    """

    def __init__(self, transformers: Sequence[SpatialTransformer]) -> None:
        super().__init__()
        if not transformers:
            raise UsageError("at least one transformer must look at the image")
        self.transformers = nn.ModuleList(transformers)

    def transform(self, images: Tensor) -> WarpedImages:
        """What the first of them makes of images ``(B, C, H, W)``: pictures show no more."""
        first = self.transformers[0]
        assert isinstance(first, SpatialTransformer)
        return first.transform(images)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to ``(B, N·C, h, w)``."""
        return torch.cat([transformer(images) for transformer in self.transformers], dim=1)
