"""Pictures on rubber: a grid of control points is displaced, and a thin-plate spline follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stn_core.datasets.distortions.unit_numbers import between, normal
from stn_core.datasets.distortions.warped import WarpDistortion, check_scales
from stn_core.datasets.keyed_random import Stream, uniform
from stn_core.geometry.option_values import positive_number, size_in_pixels
from stn_core.geometry.warps import ThinPlateSpline


@dataclass(frozen=True)
class ElasticDistortion(WarpDistortion):
    """Scale, and a thin-plate spline with 4×4 control points (Jaderberg et al. 2015, appendix A.4).

    Convention: output to input. The 16 control points span the CANVAS, and each looks at the place
    that lies a normal displacement away, in canvas pixels; what is there is the picture, its size
    in pixels multiplied by the scale, about the canvas's middle. So displacements to the right
    move the picture to the left. A thin-plate spline reproduces every affine map: spline and scale
    are one spline. Each raw parameter row is uniform in [0, 1): one number for the scale, then two
    for each control point, row by row, x before y.

    A spline may fold: with the paper's numbers 0.5 % of all images show a small part of the picture
    twice (98 of 20,000, looked for at 14×14 points).

    Args:
        canvas_hw: height and width of the result.
        scale_range: smallest and largest scale of the picture's size in pixels.
        control_sigma_pixels: standard deviation of a control point's displacement along each axis.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    warp_name = ThinPlateSpline.name
    canvas_hw: tuple[int, int]
    scale_range: tuple[float, float]
    control_sigma_pixels: float

    def __post_init__(self) -> None:
        size_in_pixels("canvas_hw", self.canvas_hw)
        check_scales(self.scale_range)
        positive_number("control_sigma_pixels", self.control_sigma_pixels)

    def draw(self, count: int, seed: int, stream: Stream, index: int = 0) -> NDArray[np.float64]:
        """Draw raw parameters ``(count, 33)``; see `base.Distortion`."""
        return uniform((count, 1 + ThinPlateSpline().num_params), seed, stream, index)

    def theta_out_to_in(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Parameters of the spline from the canvas to the source.

        Args:
            parameters: ``(N, 33)`` from `draw`.
            source_hw: height and width of the images to distort.

        Returns:
            ``(N, 32)``, displacements from the control points.
        """
        source_wh, canvas_wh = np.array(source_hw[::-1]), np.array(self.canvas_hw[::-1])
        control_points = ThinPlateSpline().control_points.cpu().double().numpy()
        scale = between(parameters[:, :1, None], *self.scale_range)
        sigma = 2 * self.control_sigma_pixels / canvas_wh
        displacements = sigma * normal(parameters[:, 1:]).reshape(-1, *control_points.shape)
        seen = (control_points + displacements) * (canvas_wh / source_wh) / scale
        return np.asarray((seen - control_points).reshape(len(parameters), control_points.size))
