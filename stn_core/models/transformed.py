"""A classifier that looks through a spatial transformer, and what the reports ask of one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from stn_core.layers.spatial_transformer import SpatialTransformer, Warped


@runtime_checkable
class TransformsImages(Protocol):
    """A model that can show what it makes of its input before it classifies it."""

    def transform(self, images: Tensor) -> Warped:
        """Images ``(B, C, H, W)`` to the warped images, their sampling grid and theta."""
        ...


class TransformedClassifier(nn.Module):
    """Warp the input, then classify it (Jaderberg et al. 2015, arXiv 1506.02025).

    Args:
        transformer: predicts a warp for each image and applies it.
        classifier: warped images to logits ``(B, K)``.
    """

    def __init__(self, transformer: SpatialTransformer, classifier: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.classifier = classifier

    def transform(self, images: Tensor) -> Warped:
        """Images ``(B, C, H, W)`` to the warped images, their sampling grid and theta."""
        return self.transformer.transform(images)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to logits ``(B, K)``."""
        logits: Tensor = self.classifier(self.transformer(images))
        return logits
