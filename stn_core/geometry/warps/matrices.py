"""Small matrices by the batch, without matrix-product kernels.

A GPU set to TF32 rounds the operands of a matrix product to 10 bits, a tenth of a pixel in a grid
of 224; at these sizes sums of products cost no more.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The exponential halves its argument this often before it sums the series; doubled the first few
# times, the argument's norm is at most 1.
_HALVINGS = 8
_DOUBLINGS_TO_NORM_1 = 3
# The largest norm, the sum of a row's absolute values, whose exponential is computed.
_LARGEST_NORM = 32


def bounded_exponent(exponent: Tensor) -> Tensor:
    """Exponents that float32 can exponentiate: those beyond ±32 become ±32, NaN and infinity NaN.

    What lies within keeps its bits, and beyond it the gradient is 0.
    """
    return exponent * (_LARGEST_NORM / exponent.abs().clamp_min(_LARGEST_NORM))


def matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices (..., n, k) and (..., k, m) as (..., n, m)."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def determinant_2x2(matrix: Tensor) -> Tensor:
    """The determinants (...) of matrices (..., 2, 2)."""
    return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]


def determinant_3x3(matrix: Tensor) -> Tensor:
    """The determinants (...) of matrices (..., 3, 3)."""
    determinant: Tensor = (matrix[..., 0, :] * _cofactors(matrix)[..., 0, :]).sum(-1)
    return determinant


def inverse_3x3(matrix: Tensor) -> Tensor:
    """The inverses of matrices (..., 3, 3); not finite if a matrix is singular."""
    return _cofactors(matrix).mT / determinant_3x3(matrix)[..., None, None]


def bounded_generator(matrix: Tensor) -> Tensor:
    """Matrices (..., n, n) as `matrix_exponential` takes them: none of a larger norm than 32.

    The norm is the largest sum of a row's absolute values; a matrix A beyond it becomes 32 A / |A|.
    """
    return matrix * (_LARGEST_NORM / _norm(matrix).clamp_min(_LARGEST_NORM))


def matrix_exponential(matrix: Tensor) -> Tensor:
    """The exponential of small matrices, by halving, a Taylor series of order 9 and doubling.

    ``torch.matrix_exp`` picks its order from the values, which on a GPU waits for the device and
    cannot be captured in a graph. For norms to 1 what is doubled is exp(A) - I, so small matrices
    lose no digits and the exponential of 0 is exactly I; beyond, where exp(A) may be much smaller
    than I, it is doubled itself. The relative error is under 1e-11 in float64 for norms to 32 and
    under 1e-4 in float32 for norms to 16. A matrix of a larger norm than 32 is first scaled down to
    it, see `bounded_generator`: the result is finite, with exp(-A) as its inverse. NaN and infinity
    give NaN.

    Args:
        matrix: (..., n, n).

    Returns:
        (..., n, n).
    """
    identity = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    matrix = bounded_generator(matrix)
    a = matrix / 2.0**_HALVINGS
    a2 = matrix_product(a, a)
    a3 = matrix_product(a2, a)
    tail = matrix_product(a3, identity / 720 + a / 5040 + a2 / 40320 + a3 / 362880)
    less_one = a + a2 / 2 + matrix_product(a3, identity / 6 + a / 24 + a2 / 120 + tail)
    for _ in range(_DOUBLINGS_TO_NORM_1):
        less_one = 2 * less_one + matrix_product(less_one, less_one)
    large = identity + less_one
    for _ in range(_HALVINGS - _DOUBLINGS_TO_NORM_1):
        less_one = 2 * less_one + matrix_product(less_one, less_one)
        large = matrix_product(large, large)
    return torch.where(_norm(matrix) <= 1, identity + less_one, large)


def _norm(matrix: Tensor) -> Tensor:
    """The largest sum of a row's absolute values, (..., 1, 1)."""
    return matrix.abs().sum(-1).amax(-1)[..., None, None]


def _cofactors(matrix: Tensor) -> Tensor:
    first, second, third = matrix.unbind(-2)
    rows = (_cross(second, third), _cross(third, first), _cross(first, second))
    return torch.stack(rows, dim=-2)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a.roll(-1, -1) * b.roll(-2, -1) - a.roll(-2, -1) * b.roll(-1, -1)
