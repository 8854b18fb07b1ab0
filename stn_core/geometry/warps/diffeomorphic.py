"""Exponentials of matrices: affine maps and homographies that are invertible whatever theta.

Detlefsen, Freifeld and Hauberg, Deep Diffeomorphic Transformer Networks, CVPR 2018.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_core.geometry.option_values import positive_number
from stn_core.geometry.warps.affine import MatrixWarp
from stn_core.geometry.warps.homography import ProjectiveWarp
from stn_core.geometry.warps.matrices import bounded_generator, matrix_exponential


class AffineDiffeo(MatrixWarp):
    """The exponential of a 2x3 generator padded with a zero row.

    Convention:
        theta: the generator row by row, in the order of ``affine``; zeros give the identity.
        direction: output to input.
        range: a generator one of whose rows sums to more than 32 in absolute value (e^32-fold
            magnification) is scaled down until none does, see ``matrix_exponential``.
        inverse: exact, at -theta. Orientation is preserved. Not closed under composition: a
            product of exponentials need not be one.
    """

    name = "affine_diffeo"
    num_params = 6
    preserves_orientation = True

    def _matrix(self, theta: Tensor) -> Tensor:
        """The (B, 2, 3) matrix of theta (B, 6)."""
        return matrix_exponential(self._generator(theta))[..., :2, :]

    def _generator(self, theta: Tensor) -> Tensor:
        return F.pad(theta.reshape(*theta.shape[:-1], 2, 3), (0, 0, 0, 1))

    def _determinant(self, theta: Tensor) -> Tensor:
        # Jacobi's formula: positive to the last bit, where ad - bc may cancel.
        trace = bounded_generator(self._generator(theta)).diagonal(dim1=-2, dim2=-1).sum(-1)
        return torch.exp(trace)

    def _inverse(self, theta: Tensor) -> Tensor:
        return -theta


class HomographyDiffeo(ProjectiveWarp):
    """The exponential of a traceless 3x3 generator.

    Convention:
        theta: the generator's entries row by row but for the last, g11 g12 g13 g21 g22 g23 p q; the
            last is -(g11 + g22), and g31 = s p, g32 = s q with s = ``perspective_scale``. Zeros
            give the identity.
        direction: output to input.
        horizon: the matrix has determinant 1, but points may still cross the horizon: for
            |theta| <= 0.5 in every entry and s = 0.25 the image stays in front of the camera.
            Points with w < 0.01 are thrown far out, see ProjectiveWarp.
        range: as for ``affine_diffeo``.
        inverse: exact, at -theta, for points with 0.01 < w < 100 (the range above keeps w
            between 0.029 and 3.3), see ProjectiveWarp. Orientation is preserved in front of
            the camera. Not closed under composition.

    Args:
        perspective_scale: s, positive.
    """

    name = "homography_diffeo"
    num_params = 8
    preserves_orientation = True

    def __init__(self, perspective_scale: float = 0.25) -> None:
        super().__init__()
        self.perspective_scale = positive_number("perspective_scale", perspective_scale)

    def _matrix(self, theta: Tensor) -> Tensor:
        """The (B, 3, 3) matrix of theta (B, 8); its determinant is 1."""
        corner = -(theta[..., :1] + theta[..., 4:5])
        entries = (theta[..., :6], self.perspective_scale * theta[..., 6:], corner)
        return matrix_exponential(torch.cat(entries, dim=-1).reshape(*theta.shape[:-1], 3, 3))

    def _determinant(self, matrix: Tensor) -> Tensor:
        # Of an exponential of trace 0: 1, where a sum of products may cancel.
        return torch.ones_like(matrix[..., 0, 0])

    def _inverse(self, theta: Tensor) -> Tensor:
        return -theta
