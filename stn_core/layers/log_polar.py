"""Log-polar pictures: about an origin, a turn becomes a shift along one axis, a zoom along another.

The map from such a picture to the image is no ``Warp``: whatever its origin, it is never the
identity, and no parameters of its own undo it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.option_values import size_in_pixels
from stn_core.geometry.precision import full_precision, working_dtype
from stn_core.geometry.sampling import Padding, sample
from stn_core.geometry.sampling.padding import parse_padding
from stn_core.layers.spatial_transformer import WarpedImages


def largest_radius(size_hw: tuple[int, int]) -> float:
    """Half the diagonal of an image of that height and width, in pixels."""
    return math.hypot(*size_hw) / 2


def log_polar_grid(origin: Tensor, size_hw: tuple[int, int], out_hw: tuple[int, int]) -> Tensor:
    """The sampling grid of log-polar pictures (Esteves et al. 2018, arXiv 1709.01889).

    Row i of n looks from the origin at an angle of 2π i/n from the x axis towards the y axis
    (clockwise as seen), column j of m at a distance of R^(j/m) pixels, R half the image's diagonal.
    Circles are round in pixels, also on an image that is not square. So, about the origin, an image
    turned clockwise by 2π k/n has the picture rolled down by k rows, and one enlarged by R^(k/m)
    has it shifted right by k columns.

    Args:
        origin: (B, 2), normalised (x, y).
        size_hw: height and width of the image in pixels.
        out_hw: n and m, how many angles and radii.

    Returns:
        (B, n, m, 2), normalised, float32 or wider.

    Raises:
        UsageError: the origins have another shape.
    """
    if origin.ndim != 2 or origin.shape[-1] != 2:
        raise UsageError(f"origins must be (B, 2), (x, y) last; got {tuple(origin.shape)}")
    (height, width), (angles, radii) = size_hw, out_hw
    origin = origin.to(working_dtype(origin))
    with full_precision(origin):
        row, column = (
            torch.arange(n, device=origin.device, dtype=origin.dtype) for n in (angles, radii)
        )
        angle = row[:, None] * (2 * math.pi / angles)
        radius = torch.exp(column * (math.log(largest_radius(size_hw)) / radii))
        x = radius * torch.cos(angle) * (2 / width)
        y = radius * torch.sin(angle) * (2 / height)
        return origin[:, None, None, :] + torch.stack((x, y), dim=-1)


class PolarTransformer(nn.Module):
    """Turns an image into its log-polar picture about an origin that a network predicts.

    Args:
        locate: from images (B, C, H, W) to origins (B, 2), normalised (x, y).
        out_hw: how many angles and radii the picture has: its height and width.
        padding: what lies outside the image, as in ``stn_core.geometry.sampling.sample``.

    Raises:
        UsageError: an unknown padding, or ``out_hw`` is no size.
    """

    def __init__(
        self, locate: nn.Module, out_hw: tuple[int, int], padding: Padding = "zeros"
    ) -> None:
        super().__init__()
        parse_padding(padding)  # here, not at the first batch
        self.locate = locate
        self.out_hw = size_in_pixels("out_hw", out_hw)
        self.padding = padding

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, C, H, W) to log-polar pictures (B, C, angles, radii)."""
        return self.transform(image).image

    def transform(self, image: Tensor) -> WarpedImages:
        """The log-polar pictures, the grid they were read from, and as theta the origins (B, 2).

        Raises:
            UsageError: ``locate`` gives no origins.
        """
        origin = self.locate(image)
        grid = log_polar_grid(origin, (image.shape[-2], image.shape[-1]), self.out_hw)
        return WarpedImages(sample(image, grid, padding=self.padding), grid, origin)

    def extra_repr(self) -> str:
        """The picture's size, for ``print(model)``."""
        return f"angles={self.out_hw[0]}, radii={self.out_hw[1]}"
