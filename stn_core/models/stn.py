"""Spatial transformer networks: the CNN behind an affine warp of its input."""

from __future__ import annotations

from torch import nn

from stn_core.models.backbone import convnet
from stn_core.models.registry import Background, ImageShape, register_model

STN = "Jaderberg et al. 2015, arXiv 1506.02025"
STN_COORDCONV = f"{STN}; Liu et al. 2018, arXiv 1807.03247"


@register_model(family="stn", source=STN, starts_at_identity=True, core=True, channels_last=True)
def stn(in_shape: ImageShape, num_classes: int, background: Background) -> nn.Module:
    """The affine spatial transformer before the CNN."""
    return convnet(in_shape, num_classes, background, warp="affine")


@register_model(
    family="stn", source=STN_COORDCONV, starts_at_identity=True, core=True, channels_last=True
)
def stn_coordcls(in_shape: ImageShape, num_classes: int, background: Background) -> nn.Module:
    """The STN with CoordConv in the classifier."""
    return convnet(in_shape, num_classes, background, warp="affine", coordconv_classifier=True)


@register_model(
    family="stn", source=STN_COORDCONV, starts_at_identity=True, core=True, channels_last=True
)
def stn_coordloc(in_shape: ImageShape, num_classes: int, background: Background) -> nn.Module:
    """The STN with CoordConv in the localisation network."""
    return convnet(in_shape, num_classes, background, warp="affine", coordconv_localisation=True)


@register_model(
    family="stn", source=STN_COORDCONV, starts_at_identity=True, core=True, channels_last=True
)
def stn_coordboth(in_shape: ImageShape, num_classes: int, background: Background) -> nn.Module:
    """The STN with CoordConv in both networks."""
    return convnet(
        in_shape,
        num_classes,
        background,
        warp="affine",
        coordconv_localisation=True,
        coordconv_classifier=True,
    )
