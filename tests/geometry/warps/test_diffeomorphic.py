"""The exponentials against scipy's expm and logm."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_core.geometry.warps import create_warp
from stn_core.geometry.warps.matrices import matrix_exponential
from tests.strategies import tensors, thetas


@settings(max_examples=50, deadline=None)
@given(
    matrix=tensors((3, 3), -1.0, 1.0),
    norm=st.floats(0, 8),
)
def test_the_exponential_is_scipys(matrix, norm):
    matrix = matrix * (norm / max(1.0, matrix.abs().sum(-1).max().item()))
    theirs = scipy.linalg.expm(matrix.numpy())
    ours = matrix_exponential(matrix).numpy()
    # The stated relative error; scipy's own is of rounding size.
    assert np.linalg.norm(ours - theirs) <= 1e-11 * np.linalg.norm(theirs)


@pytest.mark.parametrize("growth", [0, -1, -1000], ids=["any", "shrinking", "shrinking alike"])
@pytest.mark.parametrize(
    ("dtype", "norm", "error"),
    [(torch.float64, 16, 1e-11), (torch.float64, 32, 1e-11), (torch.float32, 16, 1e-4)],
    ids=str,
)
def test_the_exponential_of_larger_matrices_is_good_to_the_stated_error(growth, dtype, norm, error):
    """Also where nothing grows: what is small beside the identity must not be lost in it."""
    generator = torch.Generator().manual_seed(0)
    unit = torch.randn(100, 3, 3, dtype=torch.float64, generator=generator)
    unit = unit / unit.abs().sum(-1).amax(-1)[:, None, None]
    matrix = unit + growth * torch.eye(3, dtype=torch.float64)
    matrix = (norm * matrix / matrix.abs().sum(-1).amax(-1)[:, None, None]).to(dtype)
    theirs = scipy.linalg.expm(matrix.double().numpy())
    found = np.linalg.norm(matrix_exponential(matrix).double().numpy() - theirs, axis=(1, 2))
    assert (found <= error * np.linalg.norm(theirs, axis=(1, 2))).all()


@pytest.mark.parametrize("norm", [33.0, 1e3, 1e30])
def test_a_matrix_beyond_the_largest_norm_is_scaled_down_to_it(norm):
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(20, 3, 3, dtype=torch.float64, generator=generator)
    unit = matrix / matrix.abs().sum(-1).amax(-1)[:, None, None]
    matrix = (norm * unit).requires_grad_()
    result = matrix_exponential(matrix)
    # The scaling back loses a few roundings of a norm of 32, which the exponential magnifies.
    torch.testing.assert_close(result, matrix_exponential(32 * unit), atol=0, rtol=1e-12)
    assert torch.autograd.grad(result.log1p().nan_to_num().sum(), matrix)[0].isfinite().all()


@pytest.mark.parametrize("lost", [torch.nan, torch.inf, -torch.inf])
def test_the_exponential_of_what_is_not_finite_is_nan(lost):
    matrix = torch.zeros(2, 3, 3)
    matrix[1, 0, 1] = lost
    result = matrix_exponential(matrix)
    assert torch.equal(result[0], torch.eye(3))
    assert result[1].isnan().any()
    assert not result[1].isinf().any()


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_exponential_of_nothing_is_the_identity_to_the_last_bit(size):
    assert torch.equal(matrix_exponential(torch.zeros(size, size)), torch.eye(size))


def generator_of(name, theta):
    """The generator as the docstrings state it, written out entry by entry."""
    t = theta.numpy()
    if name == "affine_diffeo":
        return np.array([[t[0], t[1], t[2]], [t[3], t[4], t[5]], [0, 0, 0]])
    return np.array([[t[0], t[1], t[2]], [t[3], t[4], t[5]], [t[6] / 4, t[7] / 4, -t[0] - t[4]]])


@pytest.mark.parametrize("name", ["affine_diffeo", "homography_diffeo"])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_matrices_are_scipys_exponentials_and_their_logarithm_is_the_generator(name, data):
    warp = create_warp(name)
    theta = data.draw(thetas(warp, batch=1))[0]
    generator = generator_of(name, theta)
    matrix = warp.matrix(theta).numpy()
    theirs = scipy.linalg.expm(generator)[: len(matrix)]
    np.testing.assert_allclose(matrix, theirs, atol=1e-11, rtol=0)
    if np.abs(np.linalg.eigvals(generator).imag).max() < np.pi:
        # In this strip the logarithm is unique.
        whole = np.vstack([matrix, [0, 0, 1]]) if len(matrix) == 2 else matrix
        with np.errstate(over="ignore", invalid="ignore"):  # scipy divides by 4e-309, say
            logarithm = scipy.linalg.logm(whole).real
        # A logarithm is ill-conditioned near a double eigenvalue: half of the digits.
        np.testing.assert_allclose(logarithm, generator, atol=1e-6, rtol=0)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_within_the_stated_range_the_image_stays_in_front_of_the_camera(data):
    warp = create_warp("homography_diffeo")
    theta = data.draw(thetas(warp, reach=0.5))
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)], dtype=torch.float64)
    for matrix in (warp.matrix(theta), warp.matrix(-theta)):
        # w is affine in (x, y), so its least value on the image is at a corner.
        assert ((matrix @ corners.T)[:, 2] > 0.01).all()
        torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("name", ["affine_diffeo", "homography_diffeo"])
def test_orientation_is_kept_by_large_parameters_in_float32_too(name):
    """Where the determinant as a sum of products cancels: large shears, and fields that shrink."""
    warp = create_warp(name)
    theta = 3 * torch.randn(2_000, warp.num_params, generator=torch.Generator().manual_seed(0))
    shrinking = torch.zeros(1, warp.num_params)
    shrinking[0, 0] = shrinking[0, 4] = -20.0
    xy = torch.tensor([[0.0, 0.0], [0.7, -0.3]])
    if name == "affine_diffeo":
        theta = torch.cat((theta, shrinking))
    determinant = warp.jacobian_determinant(theta, xy)
    in_front = (
        torch.ones_like(determinant, dtype=torch.bool)
        if name == "affine_diffeo"
        else warp.matrix(theta)[:, 2] @ torch.cat((xy, torch.ones(2, 1)), dim=1).T > 0.01
    )
    assert in_front.any()
    assert (determinant > 0)[in_front].all()


def test_the_determinant_of_an_affine_exponential_is_that_of_its_matrix():
    warp = create_warp("affine_diffeo")
    generator = torch.Generator().manual_seed(0)
    for reach in (0.5, 40.0):  # within the largest norm, and beyond
        theta = reach * (torch.rand(50, 6, dtype=torch.float64, generator=generator) - 0.5)
        expected = torch.linalg.det(warp.matrix(theta)[:, :, :2])
        found = warp.jacobian_determinant(theta, torch.zeros(1, 2, dtype=torch.float64))[:, 0]
        grown = warp.matrix(theta).flatten(1).norm(dim=1).square()
        assert ((found - expected).abs() <= 1e-10 * grown).all()
