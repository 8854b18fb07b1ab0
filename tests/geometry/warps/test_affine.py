"""The affine families against torch's affine_grid, and what their parameters do to a picture."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_core.errors import UsageError
from stn_core.geometry.grids import normalised_to_pixel
from stn_core.geometry.warps import create_warp, warp_for
from tests.strategies import sizes_hw, tensors, thetas

FAMILIES = ["translation", "rotation", "similarity", "attention", "affine", "affine_diffeo"]


def picture(height, width, channels=1):
    return (
        torch.arange(1.0, channels * height * width + 1).view(1, channels, height, width).double()
    )


def warped(image, warp, theta, size_hw=None):
    grid = warp.grid(torch.tensor([theta], dtype=torch.float64), size_hw or tuple(image.shape[-2:]))
    return F.grid_sample(image, grid, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(data=st.data(), size_hw=sizes_hw())
def test_grid_is_torchs_affine_grid_of_the_matrix(name, data, size_hw):
    warp = create_warp(name)
    theta = data.draw(thetas(warp))
    theirs = F.affine_grid(warp.matrix(theta), (2, 1, *size_hw), align_corners=False)
    torch.testing.assert_close(warp.grid(theta, size_hw), theirs, atol=1e-13, rtol=1e-13)


@settings(max_examples=20, deadline=None)
@given(theta=tensors((2, 6), -2.0, 2.0))
def test_affine_theta_is_the_matrix_row_by_row(theta):
    assert torch.equal(create_warp("affine").matrix(theta), theta.view(2, 2, 3))


@settings(max_examples=20, deadline=None)
@given(theta=tensors((2, 4), -1.0, 1.0))
def test_families_contain_each_other(theta):
    similarity = create_warp("similarity")
    log_scale, angle, shift = theta[:, :1], theta[:, 1:2], theta[:, 2:]
    nought = torch.zeros_like(angle)
    for name, part, full in (
        ("rotation", angle, (nought, angle, nought, nought)),
        ("translation", shift, (nought, nought, shift)),
        ("attention", torch.cat((log_scale, shift), 1), (log_scale, nought, shift)),
    ):
        expected = similarity.matrix(torch.cat(full, dim=1))
        torch.testing.assert_close(create_warp(name).matrix(part), expected)


@pytest.mark.parametrize(("columns", "rows"), [(0, 0), (2, 0), (0, -1), (-3, 2)])
def test_integer_translations_are_exact(columns, rows):
    image = picture(5, 7)
    theta = (2 * columns / 7, 2 * rows / 5)
    # Looking further right and down moves the picture left and up; zeros come in.
    expected = torch.zeros_like(image)
    for row in range(5):
        for column in range(7):
            if 0 <= row + rows < 5 and 0 <= column + columns < 7:
                expected[..., row, column] = image[..., row + rows, column + columns]
    result = warped(image, create_warp("translation"), theta)
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("quarter_turns", [1, 2, 3, -1])
def test_quarter_turns_are_exact_and_positive_is_counter_clockwise(quarter_turns):
    image = picture(6, 6, channels=2)
    result = warped(image, create_warp("rotation"), [quarter_turns * math.pi / 2])
    expected = torch.rot90(image, quarter_turns, dims=(-2, -1))
    # The corner pixels lie 1/6 inside the edge; roundings of 1e-16 times intensities up to 72.
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)


def test_with_the_aspect_a_quarter_turn_of_a_wide_image_is_rigid():
    height, width = 3, 7
    image = picture(height, width)
    rotation = create_warp("rotation", aspect=width / height)
    result = warped(image, rotation, [math.pi / 2])
    # The 3x3 middle turns in place; what lies left and right of it leaves the picture.
    middle = slice(2, 5)
    expected = torch.rot90(image[..., middle], 1, dims=(-2, -1))
    torch.testing.assert_close(result[..., middle], expected, atol=1e-12, rtol=0)


@settings(max_examples=20, deadline=None)
@given(theta=tensors((1, 4), -1.0, 1.0), size_hw=sizes_hw(least=2))
def test_similarities_for_images_of_a_size_keep_their_angles_in_pixels(theta, size_hw):
    warp = warp_for("similarity", size_hw)
    corner = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]], dtype=torch.float64)
    origin, right, down = normalised_to_pixel(warp.points(theta, corner), size_hw)[0]
    across = torch.stack((right - origin, down - origin))
    scale = theta[0, 0].exp() / 4
    torch.testing.assert_close(across[0].norm(), scale * size_hw[1])
    torch.testing.assert_close(across[1].norm(), scale * size_hw[0])
    torch.testing.assert_close((across[0] @ across[1]).abs(), torch.zeros((), dtype=torch.float64))


def test_a_negative_log_scale_zooms_in():
    image = picture(4, 8)
    result = warped(image, create_warp("attention"), [math.log(0.5), -0.5, 0.5], size_hw=(2, 4))
    torch.testing.assert_close(result, image[..., 2:, :4], atol=1e-12, rtol=0)


@pytest.mark.parametrize("aspect", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["rotation", "similarity"])
def test_an_aspect_that_is_not_positive_is_refused(name, aspect):
    with pytest.raises(UsageError, match="aspect, width over height, must be positive"):
        create_warp(name, aspect=aspect)
