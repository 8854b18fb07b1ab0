"""Random changes to whole images, made with this library's own warps and sampler."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stn_core.datasets.distortions.warped import WarpDistortion, check_scales
from stn_core.datasets.keyed_random import Stream, uniform
from stn_core.errors import UsageError
from stn_core.geometry.option_values import is_number, size_in_pixels, true_or_false
from stn_core.geometry.warps import Affine


@dataclass(frozen=True)
class AffineDistortion(WarpDistortion):
    """Rotation, scale and place, uniform in their ranges (Jaderberg et al. 2015, appendix A.4).

    Convention: a positive angle turns the picture clockwise on the screen (from x, right, to y,
    down); the scale multiplies its size in pixels; the place moves the centre of the source.
    Each raw parameter row is (angle in radians, scale, place along x, place along y), the places
    in [-1, 1] times the room that the scaled, unturned source has on the canvas. Where it has
    none, it is centred.

    Args:
        canvas_hw: height and width of the result.
        max_rotation_degrees: angles are drawn from plus or minus this.
        scale_range: smallest and largest scale.
        random_place: whether the place is drawn too; else the source is centred.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    warp_name = Affine.name
    canvas_hw: tuple[int, int]
    max_rotation_degrees: float
    scale_range: tuple[float, float]
    random_place: bool

    def __post_init__(self) -> None:
        size_in_pixels("canvas_hw", self.canvas_hw)
        check_scales(self.scale_range)
        true_or_false("random_place", self.random_place)
        degrees = self.max_rotation_degrees
        if not is_number(degrees) or not math.isfinite(degrees):
            raise UsageError(f"max_rotation_degrees must be a finite number; got {degrees!r}")

    def draw(self, count: int, seed: int, stream: Stream, index: int = 0) -> NDArray[np.float64]:
        """Draw raw parameters ``(count, 4)``; see `base.Distortion`."""
        max_angle = math.radians(self.max_rotation_degrees)
        max_place = float(self.random_place)
        low = np.array([-max_angle, self.scale_range[0], -max_place, -max_place])
        high = np.array([max_angle, self.scale_range[1], max_place, max_place])
        unit = uniform((count, 4), seed, stream, index)
        return np.asarray(low + (high - low) * unit, dtype=np.float64)

    def applied(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.int64]:
        """The poses ``(N, 4)`` in units of 1e-9; see `base.Distortion`."""
        # No trigonometry is in them: they are the same bits everywhere, so the step may be small.
        return np.rint(parameters * 1e9).astype(np.int64)

    def theta_out_to_in(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Parameters of the affine warp from the canvas to the source.

        Args:
            parameters: ``(N, 4)`` from `draw`.
            source_hw: height and width of the images to distort.

        Returns:
            ``(N, 6)``, the rows of the 2×3 matrices.
        """
        angle, scale, place = parameters[:, 0], parameters[:, 1], parameters[:, 2:]
        source_wh, canvas_wh = np.array(source_hw[::-1]), np.array(self.canvas_hw[::-1])
        room = np.maximum(canvas_wh - scale[:, None] * source_wh, 0) / 2
        return pose_theta(angle, scale, place * room, source_hw, self.canvas_hw)


def pose_theta(
    angle: NDArray[np.float64],
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    source_hw: tuple[int, int],
    canvas_hw: tuple[int, int],
) -> NDArray[np.float64]:
    """Parameters of the affine warp that shows sources turned, scaled and shifted on a canvas.

    In pixels from either centre a source point p lies at q = s R p + t on the canvas, so
    p = R^T (q - t) / s; normalised coordinates are pixels over half the size of their frame.

    Args:
        angle: ``(N,)`` in radians; a positive one turns clockwise on the screen.
        scale: ``(N,)``, times the size in pixels.
        shift: ``(N, 2)``, x and y of the source's centre from the canvas's, in pixels.
        source_hw: height and width of the sources.
        canvas_hw: height and width of the canvas.

    Returns:
        ``(N, 6)``, the rows of the 2×3 matrices from the canvas's coordinates to the source's.
    """
    source_wh, canvas_wh = np.array(source_hw[::-1]), np.array(canvas_hw[::-1])
    cos, sin = np.cos(angle), np.sin(angle)
    turn_back = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    from_pixels = turn_back / scale[:, None, None] * (2 / source_wh)[:, None]
    move_back = -from_pixels @ shift[:, :, None]
    matrix = np.concatenate([from_pixels * (canvas_wh / 2), move_back], axis=-1)
    return matrix.reshape(-1, 6)
