"""The one small convolutional network of which the CNN, STN and SpinalNet models are variants.

All of them share a classifier and, if they warp, a localisation network, both made of stages of
an unpadded convolution, 2×2 max pooling and ReLU. Widths follow from the image size by arithmetic.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from stn_core.errors import UsageError, unknown_name
from stn_core.geometry.option_values import whole_number
from stn_core.geometry.warps import Warp, warp_for
from stn_core.layers.coordconv import CoordConv2d
from stn_core.layers.spatial_transformer import SpatialTransformer, zero_residual_head
from stn_core.layers.spinal import SpinalHead
from stn_core.models.registry import Background, ImageShape
from stn_core.models.transformed import TransformedClassifier


@dataclass(frozen=True)
class Stage:
    """Convolution without padding, Dropout2d if asked for, 2×2 max pooling, ReLU."""

    out_channels: int
    kernel_size: int
    dropout: float = 0.0


CHANNELS, KERNELS, HIDDEN = (10, 20), (5, 5), 50
"""The classifier's stages and the width of its hidden layer, where a model's options are silent."""

LOCALISATION_CHANNELS, LOCALISATION_KERNELS, LOCALISATION_HIDDEN = (8, 10), (7, 5), 32
"""The same of the localisation network."""

CLASSIFIER_OPTIONS: dict[str, Any] = {"channels": CHANNELS, "kernels": KERNELS, "hidden": HIDDEN}
LOCALISATION_OPTIONS: dict[str, Any] = {
    "localisation_channels": LOCALISATION_CHANNELS,
    "localisation_kernels": LOCALISATION_KERNELS,
    "localisation_hidden": LOCALISATION_HIDDEN,
    "sampler": "bilinear",
}
"""Options of `convnet` by name, with their defaults, for the models that pass them on to it."""


def stages_of(
    channels: Sequence[int], kernels: Sequence[int], *, what: str = "", dropout: float = 0.0
) -> tuple[Stage, ...]:
    """The stages of a network; dropout acts in the last of them.

    Args:
        channels: output channels of each.
        kernels: side of each convolution's filter, in pixels.
        what: the prefix of the options that gave them, for messages.
        dropout: the probability that a channel of the last stage is dropped.

    Raises:
        UsageError: they are not as many whole numbers of at least 1 each, or there are none.
    """
    given = {f"{what}channels": channels, f"{what}kernels": kernels}
    for option, numbers in given.items():
        if not isinstance(numbers, (tuple, list)) or not numbers:
            raise UsageError(
                f"{option} has one number for each stage, like (10,20), not {numbers!r}"
            )
        for number in numbers:
            whole_number(f"each of {option}", number, least=1)
    if len(channels) != len(kernels):
        raise UsageError(
            f"{what}channels has {len(channels)} numbers and {what}kernels {len(kernels)}; "
            "give one of each for every stage"
        )
    stages = [Stage(int(c), int(k)) for c, k in zip(channels, kernels, strict=True)]
    return (*stages[:-1], replace(stages[-1], dropout=dropout))


def classifier_stages(
    channels: Sequence[int] = CHANNELS, kernels: Sequence[int] = KERNELS
) -> tuple[Stage, ...]:
    """The classifier's stages, whose last drops half of its channels in training."""
    return stages_of(channels, kernels, dropout=0.5)


def localisation_stages(
    channels: Sequence[int] = LOCALISATION_CHANNELS, kernels: Sequence[int] = LOCALISATION_KERNELS
) -> tuple[Stage, ...]:
    """The localisation network's stages."""
    return stages_of(channels, kernels, what="localisation_")


CLASSIFIER = classifier_stages()
LOCALISATION = localisation_stages()


def smallest_side(stages: Sequence[Stage]) -> int:
    """The smallest side of an image that the stages reduce to one pixel."""
    side = 1
    for stage in reversed(stages):
        side = 2 * side + stage.kernel_size - 1
    return side


def flat_width(stages: Sequence[Stage], size_hw: tuple[int, int]) -> int:
    """The number of features that the stages make from an image of this height and width."""
    height, width = size_hw
    for stage in stages:
        height = (height - stage.kernel_size + 1) // 2
        width = (width - stage.kernel_size + 1) // 2
    return stages[-1].out_channels * height * width


def conv_stack(in_channels: int, stages: Sequence[Stage], *, coordconv: bool) -> nn.Sequential:
    """The stages in a row, with CoordConv in place of every convolution if asked for."""
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


def dense_head(in_features: int, num_classes: int, hidden: int = HIDDEN) -> nn.Sequential:
    """The plain head: one hidden layer with dropout.

    Raises:
        UsageError: the hidden layer's width is not a whole number of at least 1.
    """
    hidden = whole_number("hidden", hidden, least=1)
    return nn.Sequential(
        nn.Linear(in_features, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, num_classes)
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
        raise unknown_name("head", str(head), heads)
    return heads[head](in_features, num_classes)


def classifier(
    in_shape: ImageShape,
    num_classes: int,
    *,
    stages: Sequence[Stage] = CLASSIFIER,
    hidden: int = HIDDEN,
    coordconv: bool = False,
    head: str = "dense",
) -> nn.Sequential:
    """Images ``(B, C, H, W)`` to logits ``(B, K)``."""
    dense = partial(dense_head, hidden=hidden)
    return nn.Sequential(
        OrderedDict(
            features=conv_stack(in_shape[0], stages, coordconv=coordconv),
            flatten=nn.Flatten(),
            head=create_head(head, dense, flat_width(stages, in_shape[1:]), num_classes),
        )
    )


def localisation(
    in_shape: ImageShape,
    warp: Warp,
    *,
    stages: Sequence[Stage] = LOCALISATION,
    hidden: int = LOCALISATION_HIDDEN,
    coordconv: bool = False,
) -> nn.Sequential:
    """Images ``(B, C, H, W)`` to a warp's residual ``(B, P)``, zero at the start.

    Raises:
        UsageError: the hidden layer's width is not a whole number of at least 1.
    """
    hidden = whole_number("localisation_hidden", hidden, least=1)
    return nn.Sequential(
        OrderedDict(
            features=conv_stack(in_shape[0], stages, coordconv=coordconv),
            flatten=nn.Flatten(),
            hidden=nn.Linear(flat_width(stages, in_shape[1:]), hidden),
            relu=nn.ReLU(),
            residual=zero_residual_head(hidden, warp),
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
    channels: Sequence[int] = CHANNELS,
    kernels: Sequence[int] = KERNELS,
    hidden: int = HIDDEN,
    localisation_channels: Sequence[int] = LOCALISATION_CHANNELS,
    localisation_kernels: Sequence[int] = LOCALISATION_KERNELS,
    localisation_hidden: int = LOCALISATION_HIDDEN,
) -> nn.Module:
    """Any variant of the backbone.

    Args:
        in_shape: channels, height and width of an image.
        num_classes: number of logits.
        background: what lies outside a warped image, one number or one per channel.
        warp: the spatial transformer's, by name or made; None for no transformer.
        coordconv_localisation: CoordConv in the localisation network.
        coordconv_classifier: CoordConv in the classifier.
        head: ``"dense"`` or ``"spinal"``.
        sampler: how the transformer reads between pixels.
        channels: output channels of each of the classifier's stages.
        kernels: side of each stage's filter, in pixels.
        hidden: width of the dense head's hidden layer; a spinal head has none.
        localisation_channels: as ``channels``, of the localisation network.
        localisation_kernels: as ``kernels``, of the localisation network.
        localisation_hidden: width of the localisation network's hidden layer.

    Raises:
        UsageError: the image is too small (the smallest size is named), a name is unknown, a width
            or a kernel is not a whole number of at least 1, CoordConv is asked for in a
            localisation network that is not there, or a hidden width of a spinal head.
    """
    if head == "spinal" and hidden != HIDDEN:
        raise UsageError("a spinal head has no hidden layer: leave the option hidden out")
    seeing = classifier_stages(channels, kernels)
    locating = localisation_stages(localisation_channels, localisation_kernels)
    parts = (seeing,) if warp is None else (seeing, locating)
    check_size(in_shape[1:], smallest=max(smallest_side(stages) for stages in parts))
    classify = classifier(
        in_shape,
        num_classes,
        stages=seeing,
        hidden=hidden,
        coordconv=coordconv_classifier,
        head=head,
    )
    if warp is None:
        if coordconv_localisation:
            raise UsageError(
                "coordconv_localisation needs a warp: without one there is no localisation network"
            )
        return classify
    family = warp_for(warp, in_shape[1:])
    locate = localisation(
        in_shape,
        family,
        stages=locating,
        hidden=localisation_hidden,
        coordconv=coordconv_localisation,
    )
    transformer = SpatialTransformer(family, locate, sampler=sampler, padding=background)
    return TransformedClassifier(transformer, classify)


def check_size(size_hw: tuple[int, int], smallest: int) -> None:
    """Raise a UsageError if the height or width of an image is less than ``smallest``."""
    height, width = size_hw
    if min(height, width) < smallest:
        raise UsageError(
            f"an image of {height}x{width} is too small; the smallest is {smallest}x{smallest}"
        )
