"""What distortions that are one geometric map have in common: a warp's parameters, and sampling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.chunks import images_at_once
from stn_core.errors import UsageError
from stn_core.geometry.option_values import positive_number
from stn_core.geometry.sampling import sample
from stn_core.geometry.warps import create_warp

CHUNK = 2_048
"""Images distorted at a time, fewer on large canvases: bounds the memory of the sampling grids."""

THETA_STEP = 1e-4
"""What a theta is rounded to where it is hashed: it moves an affine map by 0.0014 pixels of a
picture of 28, or what is seen there by a third of a grey level.

Two machines whose thetas differ by 1e-12 round the half million of a distorted MNIST to the same
numbers in all but one of 200 cases; float64's own last bits, 1e-15, are a thousandth of that.
"""


class WarpDistortion(ABC):
    """A distortion that one of this library's warps makes; see `base.Distortion`."""

    warp_name: ClassVar[str]
    """A registered warp."""

    canvas_hw: tuple[int, int]
    """Height and width of the result."""

    @abstractmethod
    def theta_out_to_in(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Parameters of the warp from the canvas to the source.

        Args:
            parameters: ``(N, raw)`` from `draw`.
            source_hw: height and width of the images to distort.

        Returns:
            ``(N, P)``.
        """

    def applied(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.int64]:
        """The parameters of the warps ``(N, P)``, rounded; see `base.Distortion`."""
        return whole_theta(self.theta_out_to_in(parameters, source_hw))

    def apply(
        self, images: Tensor, parameters: NDArray[np.float64], background: tuple[float, ...]
    ) -> Tensor:
        """Distort uint8 images bilinearly; see `base.Distortion`."""
        theta = self.theta_out_to_in(parameters, (images.shape[-2], images.shape[-1]))
        return warp_images(images, self.warp_name, theta, self.canvas_hw, background)


def check_scales(scale_range: object) -> None:
    """Raise a UsageError unless it is two scales, positive, finite and in ascending order."""
    scales = list(scale_range) if isinstance(scale_range, Sequence) else []
    if len(scales) != 2:
        raise UsageError(f"scale_range is (smallest, largest), not {scale_range!r}")
    smallest, largest = (positive_number("a scale", scale) for scale in scales)
    if smallest > largest:
        raise UsageError(f"a range of scales begins with the smallest; got {scale_range}")


def whole_theta(theta: NDArray[np.float64]) -> NDArray[np.int64]:
    """Parameters of a warp, of any shape, as whole numbers of `THETA_STEP`."""
    return np.rint(theta / THETA_STEP).astype(np.int64)


def warp_images(
    images: Tensor,
    warp_name: str,
    theta: NDArray[np.float64],
    size_hw: tuple[int, int],
    background: tuple[float, ...],
) -> Tensor:
    """Warp uint8 images on their own device, in float32, rounded to whole grey levels.

    Args:
        images: uint8 ``(N, C, h, w)``.
        warp_name: a registered warp.
        theta: its parameters ``(N, P)``, from the result's coordinates to the image's.
        size_hw: height and width of the result.
        background: value of what lies outside the image, per channel, in 0 to 255.

    Returns:
        uint8 ``(N, C, *size_hw)``.
    """
    warp = create_warp(warp_name).to(images.device)
    theta_rows = torch.from_numpy(theta).float().to(images.device)
    warped = images.new_empty((*images.shape[:2], *size_hw))
    source_hw = (images.shape[-2], images.shape[-1])
    count = min(images_at_once(CHUNK, each) for each in (source_hw, size_hw))
    for start in range(0, len(images), count):
        rows = slice(start, start + count)
        grid = warp.grid(theta_rows[rows], size_hw)
        pixels = sample(images[rows].float(), grid, mode="bilinear", padding=background)
        warped[rows] = pixels.round().clamp(0, 255)
    return warped
