"""An STN whose localisation network starts with the classifier's own convolutions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from stn_core.geometry.warps import Warp, warp_for
from stn_core.layers.spatial_transformer import SpatialTransformer
from stn_core.models.backbone import (
    CHANNELS,
    CLASSIFIER,
    HIDDEN,
    KERNELS,
    LOCALISATION_HIDDEN,
    Stage,
    check_size,
    dense_head,
    flat_width,
    localisation,
    smallest_side,
    stages_of,
)
from stn_core.models.registry import Background, ImageShape, register_model
from stn_core.models.transformed import TransformedClassifier


class SharedClassifier(TransformedClassifier):
    """Its convolutions see an image twice: to localise it, and to classify it once warped.

    Finnveden, Jansson & Lindeberg 2020 (arXiv 2004.11678): deep features localise best, but warping
    them cannot make a network invariant, for a filter's response to a turned image is not its
    response turned. So the warp acts on the input, and the features are computed again.

    ::

        image ─► features ─► localisation head ─► theta
        image warped by theta ─► the same features ─► classifier ─► logits

    Args:
        transformer: its localisation network has a part called ``features``.
        classifier: from what ``features`` make of the warped images to logits ``(B, K)``.
    """

    transformer: SpatialTransformer

    @property
    def features(self) -> nn.Module:
        """The shared convolutions, which belong to the localisation network's parameters."""
        return self.transformer.localisation.get_submodule("features")

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to logits ``(B, K)``."""
        logits: Tensor = self.classifier(self.features(self.transformer(images)))
        return logits


def features_classifier(
    in_shape: ImageShape, num_classes: int, stages: Sequence[Stage], hidden: int
) -> nn.Sequential:
    """From what the stages make of an image to logits: the CNN's layers after its convolutions.

    Dropout of whole channels comes here, after pooling and ReLU, with the same effect as before.
    """
    return nn.Sequential(
        OrderedDict(
            dropout=nn.Dropout2d(CLASSIFIER[-1].dropout),
            flatten=nn.Flatten(),
            head=dense_head(flat_width(stages, in_shape[1:]), num_classes, hidden),
        )
    )


@register_model(
    family="stn",
    source="Finnveden et al. 2020, arXiv 2004.11678",
    starts_at_identity=True,
    channels_last=True,
)
def stn_shared(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    warp: str | Warp = "affine",
    sampler: str = "bilinear",
    channels: Sequence[int] = CHANNELS,
    kernels: Sequence[int] = KERNELS,
    hidden: int = HIDDEN,
    localisation_hidden: int = LOCALISATION_HIDDEN,
) -> nn.Module:
    """The STN that localises with the CNN's own convolutions."""
    stages = stages_of(channels, kernels)  # without dropout, which would disturb theta
    check_size(in_shape[1:], smallest_side(stages))
    family = warp_for(warp, in_shape[1:])
    locate = localisation(in_shape, family, stages=stages, hidden=localisation_hidden)
    transformer = SpatialTransformer(family, locate, sampler, padding=background)
    classify = features_classifier(in_shape, num_classes, stages, hidden)
    return SharedClassifier(transformer, classify)
