"""The affine families: every map here is a 2x3 matrix, and they differ in what of it is free."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_core.geometry.option_values import positive_number
from stn_core.geometry.warps.matrices import bounded_exponent, determinant_2x2
from stn_core.geometry.warps.with_matrix import WarpWithMatrix


class MatrixWarp(WarpWithMatrix):
    """A warp whose map is x -> M (x, y, 1) with a 2x3 matrix M that theta decides."""

    def _points(self, theta: Tensor, xy: Tensor) -> Tensor:
        return _apply(self._matrix(theta)[..., None, :, :], xy[..., :1], xy[..., 1:])

    def _grid(self, theta: Tensor, xy: Tensor) -> Tensor:
        # Rows share their y and columns their x: only the last sum is done for every pixel.
        return _apply(self._matrix(theta)[..., None, None, :, :], xy[:1, :, :1], xy[:, :1, 1:])

    def _jacobian_determinant(self, theta: Tensor, xy: Tensor) -> Tensor:
        # The sum with zeros of the points' shape broadcasts to (B, N) and stays differentiable in
        # theta; in xy it is constant, and autograd knows of no path to it.
        return self._determinant(theta)[..., None] + torch.zeros_like(xy[..., 0])

    def _determinant(self, theta: Tensor) -> Tensor:
        """The determinants (B,) of the linear parts."""
        return determinant_2x2(self._matrix(theta)[..., :2])


class Translation(MatrixWarp):
    """Shifts.

    Convention:
        theta: (shift_x, shift_y) in half-widths and half-heights of the image; 2 is a whole one.
        direction: output to input, so a positive shift_x moves the picture to the LEFT.
        inverse: exact, -theta. Composition: the sum.
    """

    name = "translation"
    num_params = 2
    preserves_orientation = True
    closed_under_composition = True

    def _matrix(self, theta: Tensor) -> Tensor:
        """The (B, 2, 3) matrix [I | shift] of theta (B, 2)."""
        x, y = theta.unbind(-1)
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        return _stack_matrix(one, zero, x, zero, one, y)

    def _inverse(self, theta: Tensor) -> Tensor:
        return -theta

    def _compose(self, theta_a: Tensor, theta_b: Tensor) -> Tensor:
        return theta_a + theta_b


class Rotation(MatrixWarp):
    """Turns about the centre of the image.

    Convention:
        theta: (angle,) in radians, any size.
        direction: output to input, so a positive angle turns the picture counter-clockwise as seen.
        frame: the turn is rigid in a frame whose width is ``aspect`` times its height. With the
            default of 1 it is rigid in normalised coordinates, hence in pixels of a square image.
        inverse: exact, -theta. Composition: the sum.

    Args:
        aspect: width over height of the image in pixels, positive.
    """

    name = "rotation"
    num_params = 1
    preserves_orientation = True
    closed_under_composition = True

    def __init__(self, aspect: float = 1.0) -> None:
        super().__init__()
        self.aspect = positive_number("aspect, width over height,", aspect)

    def _matrix(self, theta: Tensor) -> Tensor:
        """The (B, 2, 3) matrix [R | 0] of theta (B, 1)."""
        angle = theta[..., 0]
        zero = torch.zeros_like(angle)
        return _similarity_matrix(torch.cos(angle), torch.sin(angle), zero, zero, self.aspect)

    def _inverse(self, theta: Tensor) -> Tensor:
        return -theta

    def _compose(self, theta_a: Tensor, theta_b: Tensor) -> Tensor:
        return theta_a + theta_b


class Similarity(MatrixWarp):
    """Turns and scales about the centre, then shifts.

    Convention:
        theta: (log_scale, angle, shift_x, shift_y). The scale is exp(log_scale), so every theta is
            invertible; above 0 the picture shrinks. Angle in radians, shift in half-widths and
            half-heights.
        range: a log_scale beyond ±32 acts as ±32, so that the scale and its gradient stay finite.
        direction: output to input, x -> scale R(angle) x + shift.
        frame: turns are rigid in a frame whose width is ``aspect`` times its height, see Rotation.
        inverse and composition: exact, as parameters (angles add and may leave [-pi, pi]), if
            the composition's log_scale is within the range.

    Args:
        aspect: width over height of the image in pixels, positive.
    """

    name = "similarity"
    num_params = 4
    preserves_orientation = True
    closed_under_composition = True

    def __init__(self, aspect: float = 1.0) -> None:
        super().__init__()
        self.aspect = positive_number("aspect, width over height,", aspect)

    def _matrix(self, theta: Tensor) -> Tensor:
        """The (B, 2, 3) matrix [scale R | shift] of theta (B, 4)."""
        log_scale, angle, x, y = theta.unbind(-1)
        scale = torch.exp(bounded_exponent(log_scale))
        return _similarity_matrix(
            scale * torch.cos(angle), scale * torch.sin(angle), x, y, self.aspect
        )

    def _inverse(self, theta: Tensor) -> Tensor:
        scale_and_turn = -theta[..., :2]
        shift = theta[..., 2:]
        unshifted = torch.cat((scale_and_turn, torch.zeros_like(shift)), dim=-1)
        back = self._points(unshifted, -shift[..., None, :])[..., 0, :]
        return torch.cat((scale_and_turn, back), dim=-1)

    def _compose(self, theta_a: Tensor, theta_b: Tensor) -> Tensor:
        log_scale = bounded_exponent(theta_a[..., :1]) + bounded_exponent(theta_b[..., :1])
        angle = theta_a[..., 1:2] + theta_b[..., 1:2]
        shift = self._points(theta_a, theta_b[..., None, 2:])[..., 0, :]
        return torch.cat((log_scale, angle, shift), dim=-1)


class Attention(MatrixWarp):
    """Zooms and shifts: the attention transformer of Jaderberg et al. (2015), eq. 2.

    Convention:
        theta: (log_scale, shift_x, shift_y). The scale is exp(log_scale), so every theta is
            invertible; below 0 the warp attends to a part of the input. Shift in half-widths and
            half-heights.
        range: a log_scale beyond ±32 acts as ±32, so that the scale and its gradient stay finite.
        direction: output to input, x -> scale x + shift.
        inverse and composition: exact, as parameters, if the composition's log_scale is within
            the range.
    """

    name = "attention"
    num_params = 3
    preserves_orientation = True
    closed_under_composition = True

    def _matrix(self, theta: Tensor) -> Tensor:
        """The (B, 2, 3) matrix [scale I | shift] of theta (B, 3)."""
        log_scale, x, y = theta.unbind(-1)
        scale = torch.exp(bounded_exponent(log_scale))
        zero = torch.zeros_like(scale)
        return _stack_matrix(scale, zero, x, zero, scale, y)

    def _inverse(self, theta: Tensor) -> Tensor:
        log_scale, shift = theta[..., :1], theta[..., 1:]
        return torch.cat((-log_scale, -shift * torch.exp(bounded_exponent(-log_scale))), dim=-1)

    def _compose(self, theta_a: Tensor, theta_b: Tensor) -> Tensor:
        log_scale_a, log_scale_b = (bounded_exponent(t[..., :1]) for t in (theta_a, theta_b))
        shift = torch.exp(log_scale_a) * theta_b[..., 1:] + theta_a[..., 1:]
        return torch.cat((log_scale_a + log_scale_b, shift), dim=-1)


class Affine(MatrixWarp):
    """All affine maps (Jaderberg et al. 2015, eq. 1).

    Convention:
        theta: the 2x3 matrix row by row, the order of ``torch.nn.functional.affine_grid``.
        direction: output to input.
        inverse and composition: exact, as parameters; a singular matrix has an inverse that is not
            finite.
    """

    name = "affine"
    num_params = 6
    closed_under_composition = True

    def identity(
        self,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """(1, 0, 0, 0, 1, 0)."""
        return torch.eye(2, 3, device=device, dtype=dtype).flatten()

    def _matrix(self, theta: Tensor) -> Tensor:
        """Theta (B, 6) as (B, 2, 3)."""
        return theta.reshape(*theta.shape[:-1], 2, 3)

    def _inverse(self, theta: Tensor) -> Tensor:
        a, b, x, c, d, y = theta.unbind(-1)
        determinant = a * d - b * c
        inverse = torch.stack((d, -b, b * y - d * x, -c, a, c * x - a * y), dim=-1)
        return inverse / determinant[..., None]

    def _compose(self, theta_a: Tensor, theta_b: Tensor) -> Tensor:
        a, b, x, c, d, y = theta_a.unbind(-1)
        e, f, u, g, h, v = theta_b.unbind(-1)
        top = (a * e + b * g, a * f + b * h, a * u + b * v + x)
        bottom = (c * e + d * g, c * f + d * h, c * u + d * v + y)
        return torch.stack((*top, *bottom), dim=-1)


def _apply(matrix: Tensor, x: Tensor, y: Tensor) -> Tensor:
    # Sums of products: a GPU set to TF32 would round a matrix product to 10 bits.
    column_x, column_y, shift = matrix.unbind(-1)
    return (column_x * x + shift) + column_y * y


def _stack_matrix(a: Tensor, b: Tensor, x: Tensor, c: Tensor, d: Tensor, y: Tensor) -> Tensor:
    return torch.stack((a, b, x, c, d, y), dim=-1).reshape(*a.shape, 2, 3)


def _similarity_matrix(cos: Tensor, sin: Tensor, x: Tensor, y: Tensor, aspect: float) -> Tensor:
    """The matrix of a turn and shift, the turn rigid where a width is ``aspect`` heights."""
    return _stack_matrix(cos, -sin / aspect, x, sin * aspect, cos, y)
