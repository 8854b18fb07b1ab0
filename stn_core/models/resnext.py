"""ResNeXt-50, plain and behind a spatial transformer, for photographs such as the birds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from stn_core.errors import UsageError, needs_extra, user_path
from stn_core.geometry.option_values import is_whole_number
from stn_core.geometry.warps import create_warp
from stn_core.layers.spatial_transformer import SpatialTransformer
from stn_core.models.backbone import LOCALISATION, check_size, localisation, smallest_side
from stn_core.models.registry import Background, ImageShape, register_model
from stn_core.models.transformed import TransformedClassifier
from stn_core.models.weights_loading import read_weights

RESNEXT = "Xie et al. 2017, arXiv 1611.05431"
PHOTOGRAPHS = ("birds*", "cifar10")

BLOCKS = (3, 4, 6, 3)
"""Residual blocks of each of the four stages of a ResNeXt-50."""

LOCALISED_SIDE = 56
"""The localisation network looks at a picture averaged down to about this side, or as it is."""


def resnext_32x4d(
    in_shape: ImageShape,
    num_classes: int,
    weights: str | Path | None = None,
    blocks: Sequence[int] = BLOCKS,
) -> nn.Module:
    """torchvision's ResNeXt 32×4d for any number of channels and classes.

    Args:
        in_shape: channels, height and width of an image.
        num_classes: number of logits.
        blocks: residual blocks of each of the four stages.
        weights: a file of torchvision's weights, of which all but the last layer are taken; None
            for a random start.

    Raises:
        UsageError: the file holds other weights, or there are not four numbers of blocks.
    """
    with needs_extra("data"):
        from torchvision.models import resnet  # seconds to import, so only where it is needed

    if not _are_blocks(blocks):
        raise UsageError(f"blocks are four whole numbers of 1 or more, not {blocks!r}")
    network: nn.Module = resnet.ResNet(
        resnet.Bottleneck, list(blocks), num_classes, groups=32, width_per_group=4
    )
    channels = in_shape[0]
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        # As torchvision starts the one that this replaces.
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if weights is not None and not isinstance(weights, (str, Path)):
        raise UsageError(f"weights is the path of a file, not {weights!r}")
    if weights is not None:
        _load_all_but_the_head(network, user_path(weights))
    return network


def _are_blocks(blocks: object) -> bool:
    numbers = list(blocks) if isinstance(blocks, Sequence) else []
    return len(numbers) == 4 and all(is_whole_number(n) and n >= 1 for n in numbers)


def _load_all_but_the_head(network: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"weights: there is no file {path}")
    found = read_weights(path)
    state = {name: value for name, value in found.items() if not name.startswith("fc.")}
    try:
        missing = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # a weight of another shape
        reason = str(error).split("\n")[-1].strip()
        raise UsageError(f"{path} does not hold this network's weights ({reason})") from error
    strangers = [*missing.unexpected_keys, *(k for k in missing.missing_keys if k[:3] != "fc.")]
    if strangers:
        raise UsageError(f"{path} does not hold this network's weights (not {strangers[0]})")


@register_model(family="resnext", source=RESNEXT, fits=PHOTOGRAPHS, channels_last=True)
def resnext(
    in_shape: ImageShape,
    num_classes: int,
    weights: str | Path | None = None,
    blocks: Sequence[int] = BLOCKS,
) -> nn.Module:
    """ResNeXt-50 32×4d; ``weights`` is a file of torchvision's to start from."""
    return resnext_32x4d(in_shape, num_classes, weights, blocks)


@register_model(
    family="resnext",
    source=f"Jaderberg et al. 2015, arXiv 1506.02025; {RESNEXT}",
    fits=PHOTOGRAPHS,
    starts_at_identity=True,
    channels_last=True,
)
def resnext_stn(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    weights: str | Path | None = None,
    blocks: Sequence[int] = BLOCKS,
) -> nn.Module:
    """An attention transformer (a zoom and a shift) before ResNeXt-50.

    The paper's bird transformer attends and does not turn: a full affine one overfitted. It zooms
    by a fixed 2; here the zoom is learnt too, and starts at 1, so that the network starts at the
    identity. The localisation network wants a lower learning rate than the rest (the paper: 1e-4 of
    it), which is a recipe's ``learning_rate_scales`` on ``transformer.localisation.*``.
    """
    channels, height, width = in_shape
    check_size((height, width), smallest=smallest_side(LOCALISATION))
    factor = max(1, min(height, width) // LOCALISED_SIDE)
    warp = create_warp("attention")
    small = (channels, height // factor, width // factor)
    locate = nn.Sequential(
        OrderedDict(shrink=nn.AvgPool2d(factor), locate=localisation(small, warp))
    )
    transformer = SpatialTransformer(warp, locate, padding=background)
    return TransformedClassifier(transformer, resnext_32x4d(in_shape, num_classes, weights, blocks))
