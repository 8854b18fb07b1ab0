"""From a coordinate pair to the pixel that it names: CoordConv, and the deconvolution it beats.

The two networks of the coordinate classification of Liu et al. 2018 (arXiv 1807.03247), section 4.1
and supplement S1. A class is a pixel of a square canvas, row by row; an image is a pair of numbers,
``(B, 2, 1, 1)``.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from stn_core.errors import UsageError
from stn_core.layers.coordconv import CoordConv2d
from stn_core.models.registry import ImageShape, register_model

SOURCE = "Liu et al. 2018, arXiv 1807.03247"
FITS = "coordinates_*"


@register_model(
    family="coordconv", source=SOURCE, fits=FITS, channels_last=True, tags=["CoordConv"]
)
def coordinates_coordconv(in_shape: ImageShape, num_classes: int) -> nn.Module:
    """Every pixel holds the pair against its own place: 1×1 convolutions, 7,553 parameters."""
    side = canvas_side(in_shape, num_classes)
    layers: list[nn.Module] = [
        nn.Upsample(size=(side, side)),  # the pair at every pixel
        CoordConv2d(in_shape[0], 32, kernel_size=1),
    ]
    for width_in, width_out in pairwise((32, 32, 64, 64, 1)):
        layers += [nn.ReLU(inplace=True), nn.Conv2d(width_in, width_out, kernel_size=1)]
    return _he_initialised(nn.Sequential(*layers, nn.Flatten()))


@register_model(family="deconv", source=SOURCE, fits=FITS, channels_last=True)
def coordinates_deconv(in_shape: ImageShape, num_classes: int) -> nn.Module:
    """Six transposed convolutions, each of which doubles the canvas, from one pixel to 64×64."""
    side = canvas_side(in_shape, num_classes)
    doublings = side.bit_length() - 1
    if side < 2 or side != 2**doublings:
        raise UsageError(
            f"{num_classes} classes fill a canvas of {side}x{side}, which doubling 1x1 never "
            "reaches; its side must be 2, 4, 8 and so on"
        )
    # 64, 64, 64, 32, 32, 1 on the paper's canvas; a smaller one does without the first of them.
    *hidden, last = ((64,) * doublings + (32, 32, 1))[-doublings:]
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise((in_shape[0], *hidden)):
        # The bias of a normalised channel would be taken away again.
        deconv = _doubling(width_in, width_out, bias=False)
        # Averaged over 50 batches: the noise of the usual ten moves what is painted by a pixel.
        norm = nn.BatchNorm2d(width_out, momentum=0.02)
        layers += [deconv, norm, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, _doubling((in_shape[0], *hidden)[-1], last), nn.Flatten())


def canvas_side(in_shape: ImageShape, num_classes: int) -> int:
    """Side of the square canvas that has a pixel a class.

    Raises:
        UsageError: an image is more than one pixel, or the classes fill no square.
    """
    side = math.isqrt(num_classes)
    if tuple(in_shape[1:]) != (1, 1):
        raise UsageError(f"a coordinate pair is an image of 1x1, not {in_shape[1]}x{in_shape[2]}")
    if side**2 != num_classes:
        raise UsageError(
            f"each class is a pixel of a square canvas, so their number is a square, not "
            f"{num_classes}"
        )
    return side


def _doubling(width_in: int, width_out: int, bias: bool = True) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(
        width_in, width_out, kernel_size=3, stride=2, padding=1, output_padding=1, bias=bias
    )


def _he_initialised(model: nn.Module) -> nn.Module:
    """The model with the weights that the paper starts from (He et al. 2015), and biases of 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
