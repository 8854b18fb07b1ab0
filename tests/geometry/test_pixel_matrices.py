"""Pixel matrices against OpenCV, scikit-image and torchvision, which warp by them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import skimage.transform
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from stn_core import create_warp, from_pixel_matrix, to_pixel_matrix, warp_image
from stn_core.errors import UsageError
from stn_core.geometry.grids import normalised_to_pixel
from tests.strategies import points_xy, sizes_hw, thetas

CONVENTIONS = ["opencv", "skimage", "torchvision"]
AFFINE = torch.tensor([[0.9, -0.3, 0.1, 0.25, 1.1, -0.2]], dtype=torch.float64)
HOMOGRAPHY = torch.tensor([[0.9, -0.3, 0.1, 0.25, 1.1, -0.2, 0.3, -0.4]], dtype=torch.float64)


def image_of(*size_hw):
    return torch.rand(
        1, 2, *size_hw, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def apply(matrix, xy):
    """Points (..., 2) by a matrix (3, 3), written out."""
    ones = torch.ones_like(xy[..., :1])
    u, v, w = (torch.cat((xy, ones), dim=-1) @ matrix.T).unbind(-1)
    return torch.stack((u / w, v / w), dim=-1)


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=20, deadline=None)
@given(data=st.data(), in_hw=sizes_hw(2), out_hw=sizes_hw(2), xy=points_xy(batch=1))
def test_a_pixel_matrix_moves_pixels_as_the_warp_moves_points(convention, data, in_hw, out_hw, xy):
    warp = create_warp("homography")
    theta = data.draw(thetas(warp, batch=1, reach=0.2))
    matrix = to_pixel_matrix(warp.matrix(theta), in_hw, out_hw, convention=convention)[0]
    half = 0.5 if convention == "torchvision" else 0.0
    seen = normalised_to_pixel(warp.points(theta, xy), in_hw) + half
    pixels = normalised_to_pixel(xy, out_hw) + half
    if convention == "opencv":
        pixels, seen = seen, pixels
    torch.testing.assert_close(apply(matrix, pixels), seen, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", ["affine", "homography"])
def test_there_and_back_is_the_matrix(name, convention):
    matrix = create_warp(name).matrix(AFFINE if name == "affine" else HOMOGRAPHY)
    pixels = to_pixel_matrix(matrix, (5, 9), (7, 4), convention=convention)
    assert pixels.shape == matrix.shape
    back = from_pixel_matrix(pixels, (5, 9), (7, 4), convention=convention)
    torch.testing.assert_close(back / back[..., -1:, -1:], matrix / matrix[..., -1:, -1:])


def test_torchvisions_perspective_warps_by_the_matrix_of_torchvision():
    image, warp = image_of(9, 12).float(), create_warp("homography")
    matrix = to_pixel_matrix(warp.matrix(HOMOGRAPHY)[0], (9, 12), convention="torchvision")
    theirs = v2.functional.perspective(
        image, None, None, coefficients=(matrix / matrix[2, 2]).flatten()[:8].tolist()
    )
    # It computes its grid in float32.
    torch.testing.assert_close(warp_image(image, warp, HOMOGRAPHY), theirs, rtol=0, atol=1e-4)


def test_torchvisions_rotation_is_a_turn_about_the_middle_in_its_pixels():
    image, (height, width) = image_of(9, 12).float(), (9, 12)
    theirs = v2.functional.rotate(image, 30, interpolation=v2.InterpolationMode.BILINEAR)
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    to_middle = torch.tensor([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    turn = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])  # counter-clockwise as seen
    pixels = torch.linalg.inv(to_middle) @ turn @ to_middle
    matrix = from_pixel_matrix(pixels[:2], (height, width), convention="torchvision")
    ours = warp_image(image, "affine", matrix.flatten())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def square(matrix):
    """A matrix (2, 3) or (3, 3) as (3, 3)."""
    return torch.eye(3, dtype=torch.float64).index_copy(0, torch.arange(len(matrix)), matrix)


@pytest.mark.parametrize(("name", "theta"), [("affine", AFFINE), ("homography", HOMOGRAPHY)])
def test_scikit_image_warps_by_its_matrix(name, theta):
    image, warp = image_of(9, 12), create_warp(name)
    matrix = to_pixel_matrix(warp.matrix(theta)[0], (9, 12), (7, 15), convention="skimage")
    # It reads 0 beyond the last pixel's centre, where ours fades out over half a pixel.
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))[0].permute(1, 2, 0)
    by_two = np.array([[1, 0, 2], [0, 1, 2], [0, 0, 1.0]])
    theirs = skimage.transform.warp(
        padded.numpy(), by_two @ square(matrix).numpy(), output_shape=(7, 15), order=1
    )
    ours = warp_image(image, warp, theta, (7, 15))[0].permute(1, 2, 0)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "theta"), [("affine", AFFINE), ("homography", HOMOGRAPHY)])
def test_opencv_warps_by_its_matrix(name, theta):
    # A smooth image: OpenCV rounds positions to 1/32 of a pixel.
    rows, columns = torch.meshgrid(
        torch.arange(36, dtype=torch.float64), torch.arange(48, dtype=torch.float64), indexing="ij"
    )
    image = (3 + torch.sin(rows / 6) + torch.cos(columns / 8))[None, None]
    warp = create_warp(name)
    matrix = to_pixel_matrix(warp.matrix(theta)[0], (36, 48), (28, 60), convention="opencv")
    function = cv2.warpAffine if name == "affine" else cv2.warpPerspective
    theirs = function(image[0, 0].numpy(), matrix.numpy(), (60, 28), flags=cv2.INTER_LINEAR)
    ours = warp_image(image, warp, theta, (28, 60))[0, 0].numpy()
    covers = warp_image(torch.ones_like(image), warp, theta, (28, 60))[0, 0].numpy() == 1
    assert 0.2 < covers.mean() < 1
    # 1/64 of a pixel along both axes, at slopes of at most 1/6 and 1/8 a pixel.
    assert np.abs(ours - theirs)[covers].max() < (1 / 6 + 1 / 8) / 64 + 1e-6


@pytest.mark.parametrize("convert", [to_pixel_matrix, from_pixel_matrix])
def test_whole_numbers_and_backward_views_are_matrices_too(convert):
    given = np.array([[1, 0, 2], [0, 1, 3]])
    expected = convert(given * 1.0, (4, 7), convention="opencv")
    assert torch.equal(convert(torch.from_numpy(given), (4, 7), convention="opencv"), expected)
    backward = np.ascontiguousarray(given[::-1])[::-1]
    assert torch.equal(convert(backward, (4, 7), convention="opencv"), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("convert", [to_pixel_matrix, from_pixel_matrix])
def test_low_precision_is_widened(convert, dtype):
    given = torch.tensor([[1, 0, 0.5], [0, 1, 0.25]], dtype=dtype)
    converted = convert(given, (3000, 4001), convention="opencv")
    assert converted.dtype == torch.float32
    assert torch.equal(converted, convert(given.float(), (3000, 4001), convention="opencv"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"convention": "opencb"}, "unknown convention 'opencb'; did you mean opencv"),
        ({"matrix": torch.eye(2)}, r"\(\.\.\., 2, 3\) or \(\.\.\., 3, 3\), not \(2, 2\)"),
        ({"matrix": [1.0, 0, 0]}, r"not \(3,\)"),
        ({"matrix": [[1, 2, 3], [1]]}, r"list of rows of numbers, not \[\[1, 2, 3\], \[1\]\]"),
        ({"matrix": None}, "list of rows of numbers, not None"),
        ({"matrix": np.eye(3) * 1j}, "list of rows of numbers, not array"),
        ({"matrix": np.zeros((3, 3))}, "this one cannot be inverted"),
        ({"size_hw": (0, 3)}, r"size_hw is \(height, width\) in pixels"),
        ({"out_hw": 5}, r"out_hw is \(height, width\) in pixels, not 5"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(arguments, message):
    given = {"matrix": torch.eye(3), "size_hw": (4, 5), "convention": "opencv"}
    for convert in (to_pixel_matrix, from_pixel_matrix):
        with pytest.raises(UsageError, match=message):
            convert(**(given | arguments))
