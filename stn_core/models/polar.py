"""The polar transformer network: find the middle, unroll the image around it, classify that."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.grids import base_grid
from stn_core.geometry.precision import working_dtype
from stn_core.layers.log_polar import PolarTransformer
from stn_core.models.backbone import (
    CHANNELS,
    HIDDEN,
    KERNELS,
    Stage,
    check_size,
    classifier_stages,
    conv_stack,
    dense_head,
    smallest_side,
)
from stn_core.models.registry import Background, ImageShape, register_model
from stn_core.models.transformed import TransformedClassifier


class OriginPredictor(nn.Module):
    """A fully convolutional network whose heat has its centroid at the origin.

    As in the paper the heat starts as a constant, so the origin as the centre of the image. Here
    the heat's exponential is what has the centroid (a softmax over all places), which never leaves
    the image; the paper divides by the sum of a heat that may have any sign.

    Args:
        in_channels: channels of an image.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, 8, 5, padding=2),
                pool1=nn.MaxPool2d(2),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(8, 16, 5, padding=2),
                relu2=nn.ReLU(),
            )
        )
        # No bias: a softmax does not see a constant.
        self.heat = nn.Conv2d(16, 1, 1, bias=False)
        nn.init.zeros_(self.heat.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to origins ``(B, 2)``, normalised (x, y)."""
        heat = self.heat(self.features(images))
        x, y = centroid(heat).unbind(-1)
        # A place of the heat is two pixels wide: pooling leaves the last of an odd number out.
        rows, columns = (2 * n / m for n, m in zip(heat.shape[-2:], images.shape[-2:], strict=True))
        return torch.stack((x * columns, y * rows), dim=-1)


def centroid(heat: Tensor) -> Tensor:
    """The mean place of a coarse picture, weighted by the softmax of its values (the heat).

    Args:
        heat: ``(B, 1, h, w)``.

    Returns:
        ``(B, 2)``, normalised (x, y), float32 or wider.
    """
    heat = heat.squeeze(1).to(working_dtype(heat))
    share = heat.flatten(1).softmax(1).unflatten(1, heat.shape[1:])
    places = base_grid((heat.shape[1], heat.shape[2]), device=heat.device, dtype=heat.dtype)
    mean: Tensor = (share[..., None] * places).sum((1, 2))
    return mean


def picture_size(size_hw: tuple[int, int], stages: Sequence[Stage]) -> tuple[int, int]:
    """The number of angles and radii in the log-polar picture of an image of this size.

    As many as the image has rows and columns, the angles rounded up so that all poolings by 2
    divide them: then the picture has no edge on that axis at any depth.
    """
    height, width = size_hw
    pooled = 2 ** len(stages)
    return -(-height // pooled) * pooled, width


def wrapped_stack(in_channels: int, stages: Sequence[Stage]) -> nn.Sequential:
    """The stages, with convolutions that wrap around on the first axis, that of the angles."""
    stack = conv_stack(in_channels, stages, coordconv=False)
    for name, layer in list(stack.named_children()):
        if isinstance(layer, nn.Conv2d):
            channels, side = (layer.in_channels, layer.out_channels), layer.kernel_size[0]
            wrapped = nn.Conv2d(*channels, side, padding=(side // 2, 0), padding_mode="circular")
            setattr(stack, name, wrapped)
    return stack


def wrapped_width(stages: Sequence[Stage], picture_hw: tuple[int, int]) -> int:
    """The number of features that the wrapped stages make of a picture."""
    angles, radii = picture_hw
    for stage in stages:
        angles, radii = angles // 2, (radii - stage.kernel_size + 1) // 2
    return stages[-1].out_channels * angles * radii


@register_model(family="stn", source="Esteves et al. 2018, arXiv 1709.01889", channels_last=True)
def polar(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    channels: Sequence[int] = CHANNELS,
    kernels: Sequence[int] = KERNELS,
    hidden: int = HIDDEN,
) -> nn.Module:
    """The CNN on a log-polar picture of the image about a predicted origin."""
    stages = classifier_stages(channels, kernels)
    if any(stage.kernel_size % 2 == 0 for stage in stages):
        raise UsageError(f"kernels that wrap around need odd sides, not {kernels}")
    check_size(in_shape[1:], smallest_side(stages))
    picture_hw = picture_size(in_shape[1:], stages)
    classify = nn.Sequential(
        OrderedDict(
            features=wrapped_stack(in_shape[0], stages),
            flatten=nn.Flatten(),
            head=dense_head(wrapped_width(stages, picture_hw), num_classes, hidden),
        )
    )
    transformer = PolarTransformer(OriginPredictor(in_shape[0]), picture_hw, background)
    return TransformedClassifier(transformer, classify)
