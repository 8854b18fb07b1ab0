"""Pictures seen from aside: their four corners are displaced, and a homography follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stn_core.datasets.distortions.unit_numbers import between, normal
from stn_core.datasets.distortions.warped import WarpDistortion, check_scales
from stn_core.datasets.keyed_random import Stream, uniform
from stn_core.errors import UsageError
from stn_core.geometry.option_values import positive_number, size_in_pixels, whole_number
from stn_core.geometry.warps import Homography

CORNERS_XY = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
"""The corners of a picture in its own normalised coordinates, clockwise on the screen."""


@dataclass(frozen=True)
class ProjectiveDistortion(WarpDistortion):
    """Scale, then normal displacements of the corners (Jaderberg et al. 2015, appendix A.4).

    Convention: the scale multiplies the picture's size in pixels about the canvas's middle; each
    corner is then displaced in x and in y, and the homography through the four displaced corners
    says where the rest of the picture lies. Each raw parameter row is uniform in [0, 1): one number
    for the scale, then eight for each of several candidates of displacements, corner by corner
    (clockwise from the upper left one), x before y.

    Four corners that are no convex quadrilateral belong to no picture: the homography would take a
    part of it behind the camera. The first candidate counts that keeps the whole picture and the
    canvas's middle in front, by a margin, and mirrors nothing; with the paper's numbers that is the
    first for 98 % of all images (n = 400,000). Where no candidate does, the corners stay in place.

    Args:
        canvas_hw: height and width of the result.
        scale_range: smallest and largest scale.
        corner_sigma_pixels: standard deviation of a corner's displacement along each axis.
        least_w: the margin: the homography's denominator w, 1 in the canvas's middle, lies between
            this and its reciprocal everywhere in the picture; in (0, 1).
        candidates: how many displacements are drawn for an image, at least 1.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    warp_name = Homography.name
    canvas_hw: tuple[int, int]
    scale_range: tuple[float, float]
    corner_sigma_pixels: float
    least_w: float = 0.1
    candidates: int = 8

    def __post_init__(self) -> None:
        size_in_pixels("canvas_hw", self.canvas_hw)
        check_scales(self.scale_range)
        positive_number("corner_sigma_pixels", self.corner_sigma_pixels)
        whole_number("candidates", self.candidates, least=1)
        if positive_number("least_w", self.least_w) >= 1:
            raise UsageError(f"least_w must be below 1; got {self.least_w!r}")

    def draw(self, count: int, seed: int, stream: Stream, index: int = 0) -> NDArray[np.float64]:
        """Draw raw parameters ``(count, 1 + 8 candidates)``; see `base.Distortion`."""
        return uniform((count, 1 + CORNERS_XY.size * self.candidates), seed, stream, index)

    def theta_out_to_in(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Parameters of the homography from the canvas to the source.

        Args:
            parameters: ``(N, 1 + 8 candidates)`` from `draw`.
            source_hw: height and width of the images to distort.

        Returns:
            ``(N, 8)``.
        """
        corners, displacements = self._corners_and_displacements(parameters, source_hw)
        matrices = homographies_to_square(corners)
        unsettled = np.arange(len(parameters))
        for candidate in displacements:
            displaced = corners[unsettled] + candidate[unsettled]
            found = homographies_to_square(displaced)
            fits = self._in_front(found, displaced)
            matrices[unsettled[fits]] = found[fits]
            unsettled = unsettled[~fits]
        return Homography().parameters_of(torch.from_numpy(matrices)).numpy()

    def _corners_and_displacements(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The scaled picture's corners ``(N, 4, 2)`` and all ``(candidates, N, 4, 2)``.

        In the canvas's normalised coordinates, as is everything below.
        """
        source_wh, canvas_wh = np.array(source_hw[::-1]), np.array(self.canvas_hw[::-1])
        scale = between(parameters[:, :1, None], *self.scale_range)
        sigma = 2 * self.corner_sigma_pixels / canvas_wh
        unit = parameters[:, 1:].reshape(-1, self.candidates, *CORNERS_XY.shape)
        return scale * CORNERS_XY * (source_wh / canvas_wh), sigma * normal(unit).swapaxes(0, 1)

    def _in_front(
        self, matrices: NDArray[np.float64], corners: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether homographies show a picture with these corners, ``(N,)``.

        The denominator w is linear, so within the picture it lies between its values at the
        corners; h33 is its value in the canvas's middle.
        """
        middle = matrices[:, 2:, 2]
        at_corners = (corners * matrices[:, None, 2, :2]).sum(-1) + middle
        near_enough = (at_corners >= self.least_w * middle) & (at_corners <= middle / self.least_w)
        return np.asarray(near_enough.all(-1) & (np.linalg.det(matrices) > 0))


def homographies_to_square(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """The homographies that take four points to the corners of the square from -1 to 1.

    The matrix whose columns are the first three points, homogeneous and weighted so that their sum
    is the fourth, takes the unit vectors and (1, 1, 1) to the four points (Hartley and Zisserman
    2004, section 2.3). The result is the square's such matrix times the inverse of the points' own;
    inverses are replaced by their multiples that need no division, so that there is none by 0.

    Args:
        corners: ``(N, 4, 2)``, in the order of `CORNERS_XY`.

    Returns:
        ``(N, 3, 3)``, h33 not negative; not invertible where three of the points are on a line.
    """
    points = np.concatenate([corners, np.ones_like(corners[..., :1])], axis=-1)
    first, second, third, fourth = points.swapaxes(0, 1)
    adjugate = np.stack(
        [np.cross(second, third), np.cross(third, first), np.cross(first, second)], axis=-2
    )
    weights = adjugate @ fourth[..., None]
    reciprocal_weights = weights[:, [1, 2, 0]] * weights[:, [2, 0, 1]]
    # The square's corners are weighted 1, -1 and 1: the fourth is the sum of them.
    square = np.concatenate([CORNERS_XY[:3], np.ones((3, 1))], axis=-1) * [[1], [-1], [1]]
    matrices = square.T @ (reciprocal_weights * adjugate)
    return np.asarray(matrices * np.copysign(1.0, matrices[:, 2:, 2:]))
