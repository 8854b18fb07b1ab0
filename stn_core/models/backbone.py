"""The one small convolutional network that the CNN, STN and SpinalNet models are switches of.

All of them share a classifier and, where they warp, a localisation network, both made of stages of
an unpadded convolution, 2×2 max pooling and ReLU. Widths follow from the image size by arithmetic.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from stn_core.errors import UsageError, unknown_name
from stn_core.geometry.warps import Warp, warp_for
from stn_core.layers.coordconv import CoordConv2d
from stn_core.layers.spatial_transformer import SpatialTransformer, zero_residual_head
from stn_core.layers.spinal import SpinalHead
from stn_core.models.registry import Background, ImageShape
from stn_core.models.transformed import TransformedClassifier


@dataclass(frozen=True)
class Stage:
    """Convolution without padding, Dropout2d where asked for, 2×2 max pooling, ReLU."""

    out_channels: int
    kernel_size: int
    dropout: float = 0.0


CLASSIFIER = (Stage(10, 5), Stage(20, 5, dropout=0.5))
LOCALISATION = (Stage(8, 7), Stage(10, 5))


def smallest_side(stages: Sequence[Stage]) -> int:
    """The smallest side of an image of which the stages leave one pixel."""
    side = 1
    for stage in reversed(stages):
        side = 2 * side + stage.kernel_size - 1
    return side


def flat_width(stages: Sequence[Stage], size_hw: tuple[int, int]) -> int:
    """The number of features that the stages make of an image of that height and width."""
    height, width = size_hw
    for stage in stages:
        height = (height - stage.kernel_size + 1) // 2
        width = (width - stage.kernel_size + 1) // 2
    return stages[-1].out_channels * height * width


def conv_stack(in_channels: int, stages: Sequence[Stage], *, coordconv: bool) -> nn.Sequential:
    """The stages in a row, with CoordConv in place of every convolution where asked for."""
    conv = CoordConv2d if coordconv else nn.Conv2d
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, stage in enumerate(stages, start=1):
        layers[f"conv{number}"] = conv(in_channels, stage.out_channels, stage.kernel_size)
        if stage.dropout:
            layers[f"dropout{number}"] = nn.Dropout2d(stage.dropout)
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        layers[f"relu{number}"] = nn.ReLU()
        in_channels = stage.out_channels
    return nn.Sequential(layers)


def dense_head(in_features: int, num_classes: int) -> nn.Sequential:
    """The plain head: one hidden layer of 50 with dropout."""
    return nn.Sequential(
        nn.Linear(in_features, 50), nn.ReLU(), nn.Dropout(0.5), nn.Linear(50, num_classes)
    )


def create_head(
    head: str, dense: Callable[[int, int], nn.Module], in_features: int, num_classes: int
) -> nn.Module:
    """Features ``(B, F)`` to logits ``(B, K)`` by the head of that name.

    Args:
        head: ``"dense"`` or ``"spinal"``.
        dense: makes the network's own dense head of F and K.
        in_features: F.
        num_classes: K.

    Raises:
        UsageError: the name is unknown.
    """
    heads = {"dense": dense, "spinal": SpinalHead}
    if head not in heads:
        raise unknown_name("head", head, heads)
    return heads[head](in_features, num_classes)


def classifier(
    in_shape: ImageShape, num_classes: int, *, coordconv: bool, head: str
) -> nn.Sequential:
    """Images ``(B, C, H, W)`` to logits ``(B, K)``."""
    return nn.Sequential(
        OrderedDict(
            features=conv_stack(in_shape[0], CLASSIFIER, coordconv=coordconv),
            flatten=nn.Flatten(),
            head=create_head(head, dense_head, flat_width(CLASSIFIER, in_shape[1:]), num_classes),
        )
    )


def localisation(
    in_shape: ImageShape, warp: Warp, *, coordconv: bool, stages: Sequence[Stage] = LOCALISATION
) -> nn.Sequential:
    """Images ``(B, C, H, W)`` to a warp's residual ``(B, P)``, zero at the start."""
    return nn.Sequential(
        OrderedDict(
            features=conv_stack(in_shape[0], stages, coordconv=coordconv),
            flatten=nn.Flatten(),
            hidden=nn.Linear(flat_width(stages, in_shape[1:]), 32),
            relu=nn.ReLU(),
            residual=zero_residual_head(32, warp),
        )
    )


def convnet(
    in_shape: ImageShape,
    num_classes: int,
    background: Background = 0.0,
    *,
    warp: str | Warp | None = None,
    coordconv_localisation: bool = False,
    coordconv_classifier: bool = False,
    head: str = "dense",
    sampler: str = "bilinear",
) -> nn.Module:
    """Any combination of the backbone's switches.

    Args:
        in_shape: channels, height and width of an image.
        num_classes: number of logits.
        background: what lies outside a warped image, one number or one per channel.
        warp: the spatial transformer's, by name or made; None for no transformer.
        coordconv_localisation: CoordConv in the localisation network.
        coordconv_classifier: CoordConv in the classifier.
        head: ``"dense"`` or ``"spinal"``.
        sampler: how the transformer reads between pixels.

    Raises:
        UsageError: the image is too small (the smallest size is named), a name is unknown, or
            CoordConv is asked for in a localisation network that is not there.
    """
    parts = (CLASSIFIER,) if warp is None else (CLASSIFIER, LOCALISATION)
    check_size(in_shape[1:], smallest=max(smallest_side(stages) for stages in parts))
    classify = classifier(in_shape, num_classes, coordconv=coordconv_classifier, head=head)
    if warp is None:
        if coordconv_localisation:
            raise UsageError("coordconv_localisation needs a warp: without one nothing localises")
        return classify
    family = warp_for(warp, in_shape[1:])
    locate = localisation(in_shape, family, coordconv=coordconv_localisation)
    transformer = SpatialTransformer(family, locate, sampler=sampler, padding=background)
    return TransformedClassifier(transformer, classify)


def check_size(size_hw: tuple[int, int], smallest: int) -> None:
    """Raise a UsageError where a side of an image is below the smallest that can be."""
    height, width = size_hw
    if min(height, width) < smallest:
        raise UsageError(
            f"an image of {height}x{width} is too small; the smallest is {smallest}x{smallest}"
        )
