"""Homographies: all maps of the plane that take straight lines to straight lines."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_core.geometry.option_values import positive_number
from stn_core.geometry.warps.matrices import (
    determinant_2x2,
    determinant_3x3,
    inverse_3x3,
    matrix_product,
)
from stn_core.geometry.warps.with_matrix import WarpWithMatrix

# Below this the denominator of a projection is held. On the way to the horizon magnification grows
# without bound; 1/100 is far beyond any picture, and gradients inside the image stay under 100.
_LEAST_W = 1e-2


class ProjectiveWarp(WarpWithMatrix):
    """A warp whose map is (x, y) -> (u/w, v/w) with (u, v, w) = H (x, y, 1) and H from theta.

    Only points with w > 0 lie in front of the camera. Where w falls below 0.01 it is held there: a
    point at the horizon or behind it is thrown far out along its ray, normally outside the input,
    its gradient is finite, and the map is neither invertible nor a homography there. The inverse
    matrix takes a point's image to 1/w, so the way back is held, too, where w is above 100:
    ``inverse_points`` is exact for points with 0.01 < w < 100.
    """

    def _points(self, theta: Tensor, xy: Tensor) -> Tensor:
        return project(self._matrix(theta), xy)

    def _grid(self, theta: Tensor, xy: Tensor) -> Tensor:
        # Rows share their y and columns their x: only the last steps are done for every pixel.
        return _project(self._matrix(theta)[..., None, None, :, :], xy[:1, :, 0], xy[:, :1, 1])

    def _jacobian_determinant(self, theta: Tensor, xy: Tensor) -> Tensor:
        matrix = self._matrix(theta)
        w = _denominator(matrix[..., None, :, :], xy[..., 0], xy[..., 1])
        in_front = self._determinant(matrix)[..., None] / w.clamp_min(_LEAST_W) ** 3
        held = determinant_2x2(matrix[..., :2, :2])[..., None] / _LEAST_W**2
        return torch.where(w > _LEAST_W, in_front, held)

    def _determinant(self, matrix: Tensor) -> Tensor:
        """The determinants (B,) of matrices (B, 3, 3)."""
        return determinant_3x3(matrix)


class Homography(ProjectiveWarp):
    """Homographies with h33 = 1.

    Convention:
        theta: h11 h12 h13 h21 h22 h23 of the matrix H, then p and q, where h31 = s p and h32 = s q
            with s = ``perspective_scale``. With s = 1 a unit step in any of the eight would move
            the points of the image by about as much (0.58, 0.56 and 1 half-widths rms, for h11, p
            and h13), but p and q also bend the map, up to the horizon at s (|p| + |q|) = 1. The
            default is a compromise: one learning rate moves points a quarter as far by p and q as
            by h11 (0.14 half-widths rms).
        direction: output to input.
        horizon: points with w < 0.01 are thrown far out, see ProjectiveWarp.
        inverse and composition: exact, as parameters, if the last entry of the inverse matrix or
            of the product is positive, that is, if it does not take the centre of its image
            behind the camera; they are NaN if it is not. ``inverse_points`` has no such limit.
            A singular H has an inverse that is not finite.

    Args:
        perspective_scale: s, positive.
    """

    name = "homography"
    num_params = 8
    closed_under_composition = True

    def __init__(self, perspective_scale: float = 0.25) -> None:
        super().__init__()
        self.perspective_scale = positive_number("perspective_scale", perspective_scale)

    def identity(
        self,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """(1, 0, 0, 0, 1, 0, 0, 0)."""
        return torch.eye(3, device=device, dtype=dtype).flatten()[:8]

    def _matrix(self, theta: Tensor) -> Tensor:
        """The (B, 3, 3) matrix of theta (B, 8), its last entry 1."""
        one = torch.ones_like(theta[..., :1])
        entries = torch.cat((theta[..., :6], self.perspective_scale * theta[..., 6:], one), dim=-1)
        return entries.reshape(*theta.shape[:-1], 3, 3)

    def parameters_of(self, matrix: Tensor) -> Tensor:
        """Theta (B, 8) of homographies given as matrices (B, 3, 3), NaN without a positive h33."""
        corner = matrix[..., 2:, 2:]
        # Divided by a negative one the matrix would map to behind the camera what lies in front.
        entries = (matrix / torch.where(corner > 0, corner, torch.nan)).flatten(-2)
        return torch.cat((entries[..., :6], entries[..., 6:8] / self.perspective_scale), dim=-1)

    def _inverse(self, theta: Tensor) -> Tensor:
        return self.parameters_of(inverse_3x3(self._matrix(theta)))

    def _inverse_points(self, theta: Tensor, xy: Tensor) -> Tensor:
        # The true inverse, not a multiple: it maps points in front of the camera to w > 0.
        return project(inverse_3x3(self._matrix(theta)), xy)

    def _compose(self, theta_a: Tensor, theta_b: Tensor) -> Tensor:
        return self.parameters_of(matrix_product(self._matrix(theta_a), self._matrix(theta_b)))


def project(matrix: Tensor, xy: Tensor) -> Tensor:
    """Map points by homographies; a denominator below 0.01 is held there.

    Args:
        matrix: (B, 3, 3).
        xy: (B, N, 2) or (N, 2).

    Returns:
        (B, N, 2).
    """
    return _project(matrix[..., None, :, :], xy[..., 0], xy[..., 1])


def _project(matrix: Tensor, x: Tensor, y: Tensor) -> Tensor:
    column_x, column_y, shift = matrix[..., :2, :].unbind(-1)
    numerator = (column_x * x[..., None] + shift) + column_y * y[..., None]
    return numerator / _denominator(matrix, x, y).clamp_min(_LEAST_W)[..., None]


def _denominator(matrix: Tensor, x: Tensor, y: Tensor) -> Tensor:
    p, q, one = matrix[..., 2, :].unbind(-1)
    return (p * x + one) + q * y
