"""Plain convolutional networks: what a spatial transformer has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from stn_core.models.backbone import CHANNELS, HIDDEN, KERNELS, convnet
from stn_core.models.registry import ImageShape, register_model


@register_model(
    family="cnn", source="LeCun et al. 1998, Proc. IEEE 86(11)", core=True, channels_last=True
)
def cnn(
    in_shape: ImageShape,
    num_classes: int,
    channels: Sequence[int] = CHANNELS,
    kernels: Sequence[int] = KERNELS,
    hidden: int = HIDDEN,
) -> nn.Module:
    """Two convolutions and two linear layers."""
    return convnet(in_shape, num_classes, channels=channels, kernels=kernels, hidden=hidden)


@register_model(
    family="cnn",
    source="Liu et al. 2018, arXiv 1807.03247",
    core=True,
    channels_last=True,
    tags=("CoordConv",),
)
def coordconv_cnn(
    in_shape: ImageShape,
    num_classes: int,
    channels: Sequence[int] = CHANNELS,
    kernels: Sequence[int] = KERNELS,
    hidden: int = HIDDEN,
) -> nn.Module:
    """The CNN with CoordConv in place of both convolutions."""
    return convnet(
        in_shape,
        num_classes,
        coordconv_classifier=True,
        channels=channels,
        kernels=kernels,
        hidden=hidden,
    )
