"""From the matrices of this library to the pixel matrices of others, and back.

A matrix here takes normalised OUTPUT coordinates to normalised INPUT coordinates. Other libraries
count in pixels, from another place, and one of them in the other direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stn_core.errors import UsageError, one_line, unknown_name
from stn_core.geometry.option_values import size_in_pixels
from stn_core.geometry.precision import working_dtype
from stn_core.geometry.warps.matrices import inverse_3x3, matrix_product

# Where the centre of the first pixel lies, and whether a matrix takes the input to the output.
_CONVENTIONS = {"opencv": (0.0, True), "skimage": (0.0, False), "torchvision": (0.5, False)}


def to_pixel_matrix(
    matrix: Any,
    size_hw: tuple[int, int],
    out_hw: tuple[int, int] | None = None,
    *,
    convention: str,
) -> Tensor:
    """The matrix in pixels by which another library warps an image as a warp of this one does.

    Convention:
        opencv: pixel i has its centre at i; INPUT to OUTPUT, as ``cv2.warpAffine`` and
            ``cv2.warpPerspective`` take it without ``WARP_INVERSE_MAP``.
        skimage: pixel i has its centre at i; OUTPUT to INPUT, as ``skimage.transform.warp`` takes
            it as ``inverse_map``, and SciPy's ``affine_transform`` with the axes swapped.
        torchvision: pixel i has its centre at i + 0.5; OUTPUT to INPUT. Divided by its last entry,
            the first eight are ``coefficients`` of ``torchvision.transforms.v2.functional``'s
            ``perspective``.

    >>> from stn_core import create_warp, to_pixel_matrix
    >>> warp = create_warp("translation")  # 0.5 half-widths of 8 pixels are 2 pixels
    >>> matrix = warp.matrix(torch.tensor([0.5, 0.0]))
    >>> to_pixel_matrix(matrix, (4, 8), convention="skimage")
    tensor([[1., 0., 2.],
            [0., 1., 0.]])
    >>> to_pixel_matrix(matrix, (4, 8), convention="opencv")[0]
    tensor([ 1.,  0., -2.])

    Args:
        matrix: (..., 2, 3) or (..., 3, 3), what ``matrix(theta)`` of an affine or a projective warp
            gives; a tensor, or an array or list, which is read as float64.
        size_hw: height and width of the input in pixels.
        out_hw: height and width of the output; the input's by default.
        convention: ``"opencv"``, ``"skimage"`` or ``"torchvision"``.

    Returns:
        A matrix of the shape given, float32 or wider.

    Raises:
        UsageError: another shape, no sizes, or an unknown convention.
    """
    to_pixels, from_pixels, inverted = _conversions(size_hw, out_hw, convention)
    square, rows = _as_square(matrix)
    result = matrix_product(matrix_product(to_pixels.to(square), square), from_pixels.to(square))
    return (_inverse(result) if inverted else result)[..., :rows, :]


def from_pixel_matrix(
    matrix: Any,
    size_hw: tuple[int, int],
    out_hw: tuple[int, int] | None = None,
    *,
    convention: str,
) -> Tensor:
    """The matrix of this library for a matrix in pixels of another: undoes ``to_pixel_matrix``.

    >>> from stn_core import from_pixel_matrix, warp_image
    >>> image = torch.arange(8.0).reshape(1, 1, 2, 4)
    >>> by_a_pixel = [[1, 0, 1], [0, 1, 0]]  # to the right, as cv2.warpAffine takes it
    >>> matrix = from_pixel_matrix(by_a_pixel, (2, 4), convention="opencv")
    >>> warp_image(image, "affine", matrix.flatten())[0, 0]
    tensor([[0., 0., 1., 2.],
            [0., 4., 5., 6.]])

    Args:
        matrix: (..., 2, 3) or (..., 3, 3), in pixels.
        size_hw: height and width of the input in pixels.
        out_hw: height and width of the output; the input's by default.
        convention: as in ``to_pixel_matrix``.

    Returns:
        A matrix of the shape given, float32 or wider, in normalised coordinates, OUTPUT to INPUT.
        One of 2x3, flattened, is theta of ``affine``; for one of 3x3 ``parameters_of`` of
        ``homography`` gives theta.

    Raises:
        UsageError: as ``to_pixel_matrix``.
    """
    to_pixels, from_pixels, inverted = _conversions(size_hw, out_hw, convention)
    square, rows = _as_square(matrix)
    square = _inverse(square) if inverted else square
    of_output, of_input = inverse_3x3(from_pixels).to(square), inverse_3x3(to_pixels).to(square)
    return matrix_product(matrix_product(of_input, square), of_output)[..., :rows, :]


def _conversions(
    size_hw: tuple[int, int], out_hw: tuple[int, int] | None, convention: str
) -> tuple[Tensor, Tensor, bool]:
    """Normalised to pixels of the input, pixels of the output to normalised, and the direction."""
    if convention not in _CONVENTIONS:
        raise unknown_name("convention", str(convention), _CONVENTIONS)
    first_centre, inverted = _CONVENTIONS[convention]
    in_hw = size_in_pixels("size_hw", size_hw)
    out_hw = in_hw if out_hw is None else size_in_pixels("out_hw", out_hw)
    of_input, of_output = (_to_pixels(size, first_centre) for size in (in_hw, out_hw))
    return of_input, inverse_3x3(of_output), inverted


def _to_pixels(size_hw: tuple[int, int], first_centre: float) -> Tensor:
    height, width = size_hw
    middle_x, middle_y = ((n - 1) / 2 + first_centre for n in (width, height))
    rows = [[width / 2, 0.0, middle_x], [0.0, height / 2, middle_y], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=torch.float64)


def _as_square(matrix: Any) -> tuple[Tensor, int]:
    """The matrix as (..., 3, 3), and how many rows were given."""
    given = matrix if isinstance(matrix, Tensor) else _as_tensor(matrix)
    # Half precision cannot hold the coordinates of all pixels of a photograph.
    given = given.to(working_dtype(given)) if given.is_floating_point() else given.double()
    rows = given.shape[-2] if given.ndim > 1 else 0
    if given.shape[-1:] != (3,) or rows not in (2, 3):
        raise UsageError(f"a matrix is (..., 2, 3) or (..., 3, 3), not {tuple(given.shape)}")
    last = given.new_tensor([[0, 0, 1]]).expand(*given.shape[:-2], 1, 3)
    return (given if rows == 3 else torch.cat((given, last), dim=-2)), rows


def _as_tensor(matrix: Any) -> Tensor:
    """Numbers in an array or a list, as float64."""
    try:
        array = np.array(matrix)
    except ValueError:  # rows of several lengths
        array = np.array(None)
    if array.dtype.kind not in "fiu":
        raise UsageError(
            f"a matrix is a tensor, an array or a list of rows of numbers, not"
            f" {one_line(repr(matrix), 100)}"
        )
    return torch.from_numpy(array.astype(np.float64))


def _inverse(square: Tensor) -> Tensor:
    if not (torch.linalg.det(square.double()).abs() > 0).all():
        raise UsageError(
            "an OpenCV matrix maps the input to the output, and this one cannot be inverted"
        )
    return inverse_3x3(square)
