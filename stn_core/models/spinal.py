"""SpinalNets: the CNN, and the STN with CoordConv, with a spinal head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from stn_core.geometry.warps import Warp
from stn_core.models.backbone import CHANNELS, KERNELS, LOCALISATION_OPTIONS, convnet
from stn_core.models.registry import Background, ImageShape, register_model
from stn_core.models.stn import COORDCONV, STN

SPINAL = "Kabir et al. 2020, arXiv 2007.03347"


@register_model(family="spinal", source=SPINAL, core=True, channels_last=True, tags=["spinal head"])
def spinal(
    in_shape: ImageShape,
    num_classes: int,
    channels: Sequence[int] = CHANNELS,
    kernels: Sequence[int] = KERNELS,
) -> nn.Module:
    """The CNN with six spinal layers of width 8 in place of its hidden layer."""
    return convnet(in_shape, num_classes, head="spinal", channels=channels, kernels=kernels)


@register_model(
    family="spinal",
    source=f"{SPINAL}; {STN}; {COORDCONV}",
    starts_at_identity=True,
    core=True,
    channels_last=True,
    options={**LOCALISATION_OPTIONS, "channels": CHANNELS, "kernels": KERNELS},
    tags=("CoordConv", "spinal head"),
)
def spinal_stn_coordcls(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    warp: str | Warp = "affine",
    **options: Any,
) -> nn.Module:
    """The STN with CoordConv in the classifier and a spinal head."""
    return convnet(
        in_shape,
        num_classes,
        background,
        warp=warp,
        coordconv_classifier=True,
        head="spinal",
        **options,
    )
