"""The networks of the spatial transformer paper: two plain ones, and each behind a transformer.

Jaderberg, Simonyan, Zisserman and Kavukcuoglu 2015, arXiv 1506.02025, appendix A.4 (distorted
MNIST) and A.1 (addition). Where the paper gives a range of widths one of it is chosen here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from torch import nn

from stn_core.geometry.option_values import whole_number
from stn_core.geometry.warps import Warp, warp_for
from stn_core.layers.spatial_transformer import SpatialTransformer, zero_residual_head
from stn_core.models.backbone import check_size
from stn_core.models.registry import Background, ImageShape, register_model
from stn_core.models.transformed import ParallelTransformers, TransformedClassifier

SOURCE = "Jaderberg et al. 2015, arXiv 1506.02025"

FCN_WIDTH = 256  # the paper: 128 to 256
CNN_CHANNELS = (32, 64)  # the paper: 32 to 64
SMALLEST_UNPADDED = 24  # of which 9×9, pooling, 7×7 and pooling leave one pixel
SMALLEST_LOCALISED = 28  # of which halving, 5×5, pooling and 5×5 leave one pixel

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

POOLED_FROM = 40
"""Images with sides this long are halved after the warp, by average pooling.

The paper does so for RTS (42) and TC (60). A network knows the size of its images and not how they
were made, so here the sums of two digits (42) and photographs are halved too.
"""


def fcn_classifier(in_shape: ImageShape, num_classes: int) -> nn.Sequential:
    """Two hidden layers on the flat picture."""
    channels, height, width = in_shape
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            hidden1=nn.Linear(channels * height * width, FCN_WIDTH),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(FCN_WIDTH, FCN_WIDTH),
            relu2=nn.ReLU(),
            logits=nn.Linear(FCN_WIDTH, num_classes),
        )
    )


def cnn_classifier(in_shape: ImageShape, num_classes: int, *, padded: bool = False) -> nn.Module:
    """Convolutions 9×9 and 7×7, each with 2×2 max pooling and ReLU, and a linear layer.

    Args:
        in_shape: channels, height and width of an image.
        num_classes: number of logits.
        padded: the convolutions keep the size of what they see.
    """
    channels, height, width = in_shape
    first, second = CNN_CHANNELS
    features = second * _side_left(height, padded) * _side_left(width, padded)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, first, 9, padding=4 if padded else 0),
            pool1=nn.MaxPool2d(2),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(first, second, 7, padding=3 if padded else 0),
            pool2=nn.MaxPool2d(2),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            logits=nn.Linear(features, num_classes),
        )
    )


def _side_left(side: int, padded: bool) -> int:
    """What the CNN's convolutions and poolings leave of a side."""
    for kernel_size in (9, 7):
        side = (side if padded else side - kernel_size + 1) // 2
    return side


def fcn_localisation(in_shape: ImageShape, warp: Warp) -> nn.Sequential:
    """Three linear layers of 32 and the residual of theta."""
    channels, height, width = in_shape
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    features = channels * height * width
    for number in (1, 2, 3):
        layers[f"hidden{number}"] = nn.Linear(features, 32)
        layers[f"relu{number}"] = nn.ReLU()
        features = 32
    layers["residual"] = zero_residual_head(features, warp)
    return nn.Sequential(layers)


def cnn_localisation(in_shape: ImageShape, warp: Warp) -> nn.Sequential:
    """Two convolutions 5×5 on the halved picture, a linear layer of 20 and the residual of theta.

    Raises:
        UsageError: the convolutions leave nothing of the image.
    """
    channels, height, width = in_shape
    check_size((height, width), smallest=SMALLEST_LOCALISED)
    rows, columns = ((side // 2 - 4) // 2 - 4 for side in (height, width))
    return nn.Sequential(
        OrderedDict(
            halve=nn.AvgPool2d(2),
            conv1=nn.Conv2d(channels, 20, 5),
            pool1=nn.MaxPool2d(2),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(20, 20, 5),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            hidden=nn.Linear(20 * rows * columns, 20),
            relu3=nn.ReLU(),
            residual=zero_residual_head(20, warp),
        )
    )


def pooled_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what the classifier sees of a warped picture, halved if it is large.

    Halving after the warp keeps a zoom out from aliasing (the paper's RTS and TC).
    """
    height, width = size_hw
    return (height // 2, width // 2) if min(size_hw) >= POOLED_FROM else size_hw


def st_fcn(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    *,
    warp: str | Warp,
    transformers: int = 1,
) -> nn.Module:
    """The fully connected network behind one transformer, or behind several side by side.

    Args:
        in_shape: channels, height and width of an image.
        num_classes: number of logits.
        background: what lies outside a warped image, one number or one per channel.
        warp: a warp, or the name of a registered one.
        transformers: how many look at the image; the network sees what each of them makes of it.
    """
    transformers = whole_number("transformers", transformers, least=1)

    def transformer() -> SpatialTransformer:
        family = warp_for(warp, in_shape[1:])
        return SpatialTransformer(family, fcn_localisation(in_shape, family), padding=background)

    seen = (transformers * in_shape[0], *pooled_size(in_shape[1:]))
    return TransformedClassifier(
        transformer()
        if transformers == 1
        else ParallelTransformers([transformer() for _ in range(transformers)]),
        _pooled_first(in_shape[1:], fcn_classifier(seen, num_classes)),
    )


def st_cnn(
    in_shape: ImageShape, num_classes: int, background: Background, *, warp: str | Warp
) -> nn.Module:
    """The convolutional network behind a transformer; see `st_fcn` for the arguments.

    Its convolutions are padded if they would leave nothing of the pooled picture (RTS, 21×21);
    the paper does not say what it did there.

    Raises:
        UsageError: the image is smaller than 28×28.
    """
    family = warp_for(warp, in_shape[1:])
    locate = cnn_localisation(in_shape, family)
    seen = (in_shape[0], *pooled_size(in_shape[1:]))
    classify = cnn_classifier(seen, num_classes, padded=min(seen[1:]) < SMALLEST_UNPADDED)
    return TransformedClassifier(
        SpatialTransformer(family, locate, padding=background),
        _pooled_first(in_shape[1:], classify),
    )


def _pooled_first(size_hw: tuple[int, int], classify: nn.Module) -> nn.Module:
    """A classifier of warped pictures of that height and width, which halves large ones."""
    layers = OrderedDict(pool=nn.AvgPool2d(2), classify=classify)
    return nn.Sequential(layers) if pooled_size(size_hw) != size_hw else classify


def _behind_a_transformer(*, channels_last: bool = False) -> Callable[[Builder], Builder]:
    return register_model(
        family="paper", source=SOURCE, starts_at_identity=True, channels_last=channels_last
    )


@register_model(family="paper", source=SOURCE)
def fcn(in_shape: ImageShape, num_classes: int) -> nn.Module:
    """The paper's fully connected network, without a transformer."""
    return fcn_classifier(in_shape, num_classes)


@register_model(family="paper", source=SOURCE, channels_last=True)
def paper_cnn(in_shape: ImageShape, num_classes: int) -> nn.Module:
    """The paper's convolutional network, without a transformer."""
    check_size(in_shape[1:], smallest=SMALLEST_UNPADDED)
    return cnn_classifier(in_shape, num_classes)


@register_model(family="paper", source=SOURCE, fits="*_add", starts_at_identity=True)
def st_fcn_double(in_shape: ImageShape, num_classes: int, background: Background) -> nn.Module:
    """Two affine transformers side by side, for the sum of two digits (the paper's 2×ST-FCN)."""
    return st_fcn(in_shape, num_classes, background, warp="affine", transformers=2)


@_behind_a_transformer()
def st_fcn_affine(
    in_shape: ImageShape, num_classes: int, background: Background, transformers: int = 1
) -> nn.Module:
    """The fully connected network behind affine transformers."""
    return st_fcn(in_shape, num_classes, background, warp="affine", transformers=transformers)


@_behind_a_transformer()
def st_fcn_homography(
    in_shape: ImageShape, num_classes: int, background: Background, transformers: int = 1
) -> nn.Module:
    """The fully connected network behind transformers with homographies."""
    return st_fcn(in_shape, num_classes, background, warp="homography", transformers=transformers)


@_behind_a_transformer()
def st_fcn_tps(
    in_shape: ImageShape, num_classes: int, background: Background, transformers: int = 1
) -> nn.Module:
    """The fully connected network behind transformers with thin-plate splines."""
    return st_fcn(in_shape, num_classes, background, warp="tps", transformers=transformers)


@_behind_a_transformer(channels_last=True)
def st_cnn_affine(in_shape: ImageShape, num_classes: int, background: Background) -> nn.Module:
    """The convolutional network behind an affine transformer."""
    return st_cnn(in_shape, num_classes, background, warp="affine")


@_behind_a_transformer(channels_last=True)
def st_cnn_homography(in_shape: ImageShape, num_classes: int, background: Background) -> nn.Module:
    """The convolutional network behind a transformer with a homography."""
    return st_cnn(in_shape, num_classes, background, warp="homography")


@_behind_a_transformer(channels_last=True)
def st_cnn_tps(in_shape: ImageShape, num_classes: int, background: Background) -> nn.Module:
    """The convolutional network behind a transformer with a thin-plate spline."""
    return st_cnn(in_shape, num_classes, background, warp="tps")
