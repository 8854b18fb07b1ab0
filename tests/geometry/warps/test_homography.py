"""Homographies against kornia, and what happens at the horizon."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings

from stn_core.errors import UsageError
from stn_core.geometry.grids import base_grid
from stn_core.geometry.warps import create_warp
from tests.oracles import kornia_warp_perspective
from tests.strategies import points_xy, tensors

HOMOGRAPHY = create_warp("homography")
IDENTITY = HOMOGRAPHY.identity(dtype=torch.float64)


def pixels_of_normalised(height, width):
    """The matrix from normalised to pixel coordinates."""
    return torch.tensor(
        [[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]],
        dtype=torch.float64,
    )


@settings(max_examples=15, deadline=None)
@given(offset=tensors((2, 8), -0.3, 0.3))
def test_warped_images_are_kornias(offset):
    theta = IDENTITY + offset
    image = torch.rand(2, 1, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out_to_in = pixels_of_normalised(6, 9) @ HOMOGRAPHY.matrix(theta)
    out_to_in = out_to_in @ pixels_of_normalised(5, 7).inverse()
    theirs = kornia_warp_perspective(image, out_to_in.inverse(), (5, 7))
    ours = F.grid_sample(image, HOMOGRAPHY.grid(theta, (5, 7)), align_corners=False)
    # Kornia inverts twice and divides by w + 1e-8 where w is small.
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@settings(max_examples=20, deadline=None)
@given(offset=tensors((2, 8), -0.4, 0.4), xy=points_xy())
def test_straight_lines_stay_straight(offset, xy):
    theta = IDENTITY + offset
    along = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)[:, None]
    for start, end in ((0, 1), (2, 3)):
        line = xy[:, start, None] + along * (xy[:, end] - xy[:, start])[:, None]
        a, b, c = HOMOGRAPHY.points(theta, line).unbind(1)
        area = torch.linalg.det(torch.stack((b - a, c - a), dim=-1))
        torch.testing.assert_close(area, torch.zeros_like(area), atol=1e-12, rtol=0)


def test_perspective_terms_are_scaled():
    theta = IDENTITY + torch.tensor([0, 0, 0, 0, 0, 0, 0.4, -0.8], dtype=torch.float64)
    for scale in (0.25, 1.0):
        matrix = create_warp("homography", perspective_scale=scale).matrix(theta)
        assert matrix[2].tolist() == [0.4 * scale, -0.8 * scale, 1.0]


@settings(max_examples=20, deadline=None)
@given(offset=tensors((2, 8), -0.4, 0.4))
def test_parameters_of_a_matrix_are_those_it_was_made_of(offset):
    theta = IDENTITY + offset
    found = HOMOGRAPHY.parameters_of(3 * HOMOGRAPHY.matrix(theta))
    torch.testing.assert_close(found, theta, atol=1e-12, rtol=0)


def beyond_the_horizon():
    """The horizon w = 0 is the line x = 0.5: points to the right of it are behind the camera."""
    theta = IDENTITY + torch.tensor([0, 0, 0, 0, 0, 0, -8.0, 0], dtype=torch.float64)
    xy = torch.tensor([[0.4, 0.5], [0.5, 0.5], [0.9, 0.5]], dtype=torch.float64)
    return theta[None], xy


def test_points_behind_the_camera_are_thrown_far_out_with_finite_gradients():
    theta, xy = beyond_the_horizon()
    theta, xy = theta.requires_grad_(), xy.requires_grad_()
    mapped = HOMOGRAPHY.points(theta, xy)[0]
    expected = [[0.4 / 0.2, 0.5 / 0.2], [0.5 / 0.01, 0.5 / 0.01], [0.9 / 0.01, 0.5 / 0.01]]
    torch.testing.assert_close(mapped, torch.tensor(expected, dtype=torch.float64))
    gradients = torch.autograd.grad(mapped.sum(), (theta, xy))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_jacobian_behind_the_camera_is_that_of_the_held_map():
    theta, xy = beyond_the_horizon()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda p: HOMOGRAPHY.points(theta, p[None])[0, 0]))
    expected = torch.linalg.det(jacobian(xy[[0, 2]]))
    torch.testing.assert_close(HOMOGRAPHY.jacobian_determinant(theta, xy[[0, 2]])[0], expected)


def test_inverse_points_need_no_inverse_parameters():
    # The inverse takes the centre behind the camera: its last entry is 1 / (1 - 0.6 * 2) = -5, and
    # parameters, with h33 = 1, would turn all points in front of the camera behind it.
    theta = torch.tensor([[1, 0, 2, 0, 1, 0, 2.4, 0]], dtype=torch.float64)
    assert HOMOGRAPHY.matrix(theta).inverse()[0, 2, 2] < 0
    xy = torch.tensor([[0.3, -0.7], [-1.0, 1.0]], dtype=torch.float64)
    back = HOMOGRAPHY.inverse_points(theta, HOMOGRAPHY.points(theta, xy))
    torch.testing.assert_close(back[0], xy)


@pytest.mark.parametrize("name", ["homography", "homography_diffeo"])
@pytest.mark.parametrize(("log_w", "exact"), [(4.5, True), (4.7, False), (-4.5, True)])
def test_the_way_back_is_exact_while_w_is_between_a_hundredth_and_a_hundred(name, log_w, exact):
    # w is exp(log_w) at both points: 90, 110, and 1/90.
    w = math.exp(log_w)
    theta = {
        "homography": [0.8, 0.1, 0, 0.2, 1.3, 0, (w - 1) / 0.25, 0],  # at x = 1
        "homography_diffeo": [-log_w / 2, 0, 0, 0, -log_w / 2, 0, 0, 0],
    }[name]
    theta = torch.tensor([theta], dtype=torch.float64)
    xy = torch.tensor([[1.0, 0.5], [1.0, -0.3]], dtype=torch.float64)
    warp = create_warp(name)
    back = warp.inverse_points(theta, warp.points(theta, xy))[0]
    # Roundings magnified by w² at most.
    assert torch.allclose(back, xy, atol=1e-11, rtol=0) is exact


@pytest.mark.parametrize(("scale", "slope"), [(1.0, 0.56), (0.25, 0.14)])
def test_a_step_of_p_moves_points_by_what_is_documented(scale, slope):
    warp = create_warp("homography", perspective_scale=scale)
    xy = base_grid((201, 201), dtype=torch.float64).reshape(-1, 2)
    steps = 1e-4 * torch.eye(8, dtype=torch.float64)[[0, 2, 6, 7]]
    slopes = (warp.points(IDENTITY + steps, xy) - warp.points(IDENTITY - steps, xy)) / 2e-4
    rms = slopes.square().sum(-1).mean(-1).sqrt()
    # Two digits are given.
    assert rms.tolist() == pytest.approx([0.58, 1.0, slope, slope], abs=0.005)


def test_parameters_that_do_not_exist_are_nan():
    # Both inverses take the centre behind the camera; the second's matrix keeps orientation.
    theta = [[1.0, 0, 2, 0, 1, 0, 2.4, 0], [-0.1, 0, -1, 0, 1, 0, 2.4, 0]]
    theta = torch.tensor([*theta, IDENTITY.tolist()], dtype=torch.float64)
    inverse = HOMOGRAPHY.inverse(theta)
    assert inverse[:2].isnan().all()
    assert torch.equal(inverse[2], IDENTITY)
    composed = HOMOGRAPHY.compose(theta[:1], torch.tensor([[1, 0, -3, 0, 1, 0, 0, 0.0]]).double())
    assert composed.isnan().all()


@pytest.mark.parametrize("name", ["homography", "homography_diffeo"])
@pytest.mark.parametrize("scale", [0.0, -0.5, float("nan")])
def test_a_perspective_scale_that_is_not_positive_is_refused(name, scale):
    with pytest.raises(UsageError, match="perspective_scale must be positive"):
        create_warp(name, perspective_scale=scale)
