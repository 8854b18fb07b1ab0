"""The laws that every registered warp obeys; registering a family puts it to these tests."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_core.errors import UsageError
from stn_core.geometry.grids import base_grid
from stn_core.geometry.sampling import sample
from stn_core.geometry.warps import create_warp, list_warps
from tests.nightly import mostly_nightly
from tests.strategies import dtypes, points_xy, sizes_hw, thetas

# Closed forms are exact to rounding, which the inverse magnifies by the condition of the matrix:
# under 100 in the ranges drawn. CPAB integrates: under the 1.3e-4 half-widths that it states for
# velocities larger than these.
INVERSE_TOLERANCE = {"cpab": 1e-4, "tps": 1e-6, "affine_diffeo": 1e-8, "homography_diffeo": 1e-8}
# CPAB's steps carry no gradient, so a step's end is off by up to 1e-3 (its _LATE) of the field's
# change of slope: below 1e-2 per edge at the velocities drawn. The others are exact.
GRADIENT_TOLERANCE = {"cpab": 1e-2}

# An option that changes which maps a family has is put to the same laws.
WITH_OPTIONS = {"cpab-sliding": {"sliding_boundary": True}}
NAMES = [*list_warps(), *WITH_OPTIONS]


def family_of(name):
    return name.split("-")[0]


def make(name, **options):
    return create_warp(family_of(name), **WITH_OPTIONS.get(name, {}), **options)


every_warp = pytest.mark.parametrize("name", NAMES)
every_family = pytest.mark.parametrize("name", mostly_nightly(NAMES, on_every_run=list_warps()))
every_closed_under_composition = pytest.mark.parametrize(
    "name", [n for n in NAMES if make(n).closed_under_composition]
)
few = settings(max_examples=15, deadline=None)


def draw_theta(warp, batch=3, reach=0.1, seed=0, dtype=torch.float64):
    offset = torch.rand(batch, warp.num_params, generator=torch.Generator().manual_seed(seed))
    return warp.identity(dtype=dtype) + reach * (2 * offset - 1).to(dtype)


def draw_points(batch=3, count=5, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(batch, count, 2, generator=generator) - 1).to(dtype)


@every_warp
@few
@given(size_hw=sizes_hw(), dtype=dtypes())
def test_identity_is_the_base_grid_bit_for_bit(name, size_hw, dtype):
    warp = make(name)
    theta = warp.identity(dtype=dtype)
    assert theta.shape == (warp.num_params,)
    assert torch.equal(warp.grid(theta[None], size_hw)[0], base_grid(size_hw, dtype=dtype))


@every_family
@few
@given(data=st.data(), size_hw=sizes_hw())
def test_grid_is_points_at_the_pixel_centres(name, data, size_hw):
    warp = make(name)
    theta = data.draw(thetas(warp))
    grid = warp.grid(theta, size_hw)
    assert grid.shape == (2, *size_hw, 2)
    centres = base_grid(size_hw, dtype=torch.float64)
    for row, column in ((0, 0), (0, size_hw[1] - 1), (size_hw[0] - 1, 0)):
        expected = warp.points(theta, centres[row, column].expand(2, 1, 2))[:, 0]
        torch.testing.assert_close(grid[:, row, column], expected, atol=1e-13, rtol=1e-13)


@every_family
@few
@given(data=st.data(), xy=points_xy())
def test_inverse_points_undo_points(name, data, xy):
    warp = make(name)
    theta = data.draw(thetas(warp))
    tolerance = INVERSE_TOLERANCE.get(family_of(name), 1e-9)
    back = warp.inverse_points(theta, warp.points(theta, xy))
    torch.testing.assert_close(back, xy, atol=tolerance, rtol=0)


@every_family
@few
@given(data=st.data(), xy=points_xy())
def test_inverse_parameters_undo_the_map(name, data, xy):
    warp = make(name)
    theta = data.draw(thetas(warp))
    if not warp.closed_under_inversion:
        with pytest.raises(UsageError, match="use inverse_points"):
            warp.inverse(theta)
        return
    tolerance = INVERSE_TOLERANCE.get(family_of(name), 1e-9)
    back = warp.points(warp.inverse(theta), warp.points(theta, xy))
    torch.testing.assert_close(back, xy, atol=tolerance, rtol=0)
    twice = warp.inverse(warp.inverse(theta))
    torch.testing.assert_close(twice, theta, atol=1e-9, rtol=1e-9)


@every_warp
@few
@given(data=st.data(), xy=points_xy())
def test_composition_is_the_second_map_after_the_first(name, data, xy):
    warp = make(name)
    outer, inner = data.draw(thetas(warp)), data.draw(thetas(warp))
    if not warp.closed_under_composition:
        with pytest.raises(UsageError, match="apply points twice"):
            warp.compose(outer, inner)
        return
    # The outer map must see the inner one's points where it is regular: near the image.
    reach = 0.25 if name == "homography" else 1.0
    identity = warp.identity(dtype=torch.float64)
    outer, inner = (identity + reach * (theta - identity) for theta in (outer, inner))
    composed = warp.points(warp.compose(outer, inner), xy)
    expected = warp.points(outer, warp.points(inner, xy))
    torch.testing.assert_close(composed, expected, atol=1e-9, rtol=1e-9)


@every_closed_under_composition
@few
@given(data=st.data())
def test_group_laws_on_the_parameters(name, data):
    warp = make(name)
    a, b, c = (data.draw(thetas(warp, reach=0.1)) for _ in range(3))
    identity = warp.identity(dtype=torch.float64).expand_as(a)
    close = {"atol": 1e-9, "rtol": 0}
    torch.testing.assert_close(warp.compose(a, identity), a, **close)
    torch.testing.assert_close(warp.compose(identity, a), a, **close)
    torch.testing.assert_close(warp.compose(a, warp.inverse(a)), identity, **close)
    torch.testing.assert_close(
        warp.compose(warp.compose(a, b), c), warp.compose(a, warp.compose(b, c)), **close
    )


@every_family
@few
@given(data=st.data(), xy=points_xy(batch=1, count=3))
def test_jacobian_determinant_is_that_of_the_derivative(name, data, xy):
    warp = make(name)
    theta = data.draw(thetas(warp, batch=1))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda p: warp.points(theta[0], p[None])[0]))(
        xy[0]
    )
    expected = torch.linalg.det(jacobian)[None]
    tolerance = 2 * GRADIENT_TOLERANCE.get(family_of(name), 1e-9)
    computed = warp.jacobian_determinant(theta, xy)
    torch.testing.assert_close(computed, expected, atol=tolerance, rtol=tolerance)


PRESERVING = [n for n in NAMES if make(n).preserves_orientation]


@pytest.mark.parametrize(
    "name", mostly_nightly(PRESERVING, on_every_run=set(PRESERVING) - WITH_OPTIONS.keys())
)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_families_that_say_so_preserve_orientation(name, data):
    warp = make(name)
    # Within THETA_RANGES, all parameters at their bounds included. CPAB's velocities of up to 0.3
    # half-widths are there of any sign from one vertex to the next.
    theta = data.draw(thetas(warp))
    # As seen from the points alone (CPAB's det J is an exponential, positive anyway): circles all
    # over the image keep their sense of rotation. Not triangles: where a CPAB map has a crease it
    # may turn over three points, one on the crease and one on either side, and be no fold.
    centres = base_grid((4, 5), dtype=torch.float64)
    for radius in (1e-1, 1e-3):
        assert (enclosed(warp, theta, centres, radius) > 0).all()
    assert (warp.jacobian_determinant(theta, centres.flatten(0, 1)) > 0).all()


def enclosed(warp, theta, centres, radius):
    """The signed areas (B, H, W) that the images of circles about centres (H, W, 2) enclose."""
    angle = torch.arange(64, dtype=torch.float64) * (2 * torch.pi / 64)
    circle = radius * torch.stack((angle.cos(), angle.sin()), dim=-1)
    points = centres[..., None, :] + circle
    x, y = warp.points(theta, points.flatten(0, 2)).unflatten(1, points.shape[:-1]).unbind(-1)
    x, y = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    return (x * y.roll(-1, -1) - x.roll(-1, -1) * y).sum(-1) / 2


def test_the_orientation_test_notices_a_fold():
    warp = create_warp("tps", n=3)
    theta = torch.zeros(1, 18, dtype=torch.float64)
    theta[0, 8] = 1.6  # the middle control point pulled past its right neighbour
    assert (enclosed(warp, theta, base_grid((7, 9), dtype=torch.float64), 1e-3) < 0).any()


@every_family
def test_gradcheck_of_theta_and_points(name):
    warp = make(name)
    tolerance = GRADIENT_TOLERANCE.get(family_of(name), 1e-6)
    for batch, reach in ((2, 0.1), (1, 0.0)):
        theta, xy = draw_theta(warp, batch, reach), draw_points(batch, 3)
        arguments = theta.requires_grad_(), xy.requires_grad_()
        assert torch.autograd.gradcheck(warp.points, arguments, atol=tolerance)


@every_family
def test_gradcheck_of_the_inverse(name):
    warp = make(name, n=3) if name == "tps" else make(name)
    tolerance = GRADIENT_TOLERANCE.get(family_of(name), 1e-6)
    arguments = draw_theta(warp, 1).requires_grad_(), draw_points(1, 2).requires_grad_()
    assert torch.autograd.gradcheck(warp.inverse_points, arguments, atol=tolerance)


# CPAB's leave out what passing an edge adds: tests/geometry/warps/test_cpab_flow.py has their law.
@pytest.mark.parametrize("name", [name for name in list_warps() if name != "cpab"])
def test_second_derivatives_are_right(name):
    warp = make(name)
    arguments = draw_theta(warp, 1).requires_grad_(), draw_points(1, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(warp.points, arguments)


@every_warp
def test_first_and_second_derivatives_are_finite_at_the_identity(name):
    warp = make(name)
    theta = draw_theta(warp, reach=0.0).requires_grad_()
    xy = base_grid((4, 6), dtype=torch.float64).flatten(0, 1).requires_grad_()
    # Unequal weights, so that no gradient cancels by symmetry.
    weights = torch.linspace(1, 3, xy.numel(), dtype=torch.float64).view_as(xy)
    values = (weights * (warp.points(theta, xy) - 0.3).square()).sum()
    values = values + warp.jacobian_determinant(theta, xy).square().sum()
    first = torch.autograd.grad(values, (theta, xy), create_graph=True)
    assert all(gradient.isfinite().all() for gradient in first)
    assert (first[0] != 0).any(0).all()
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (theta, xy))
    assert all(gradient.isfinite().all() for gradient in second)


@every_warp
def test_validate_names_what_is_wrong(name):
    warp = make(name)
    theta = draw_theta(warp)
    warp.validate(theta)
    warp.validate(theta[0])
    theta[1, 0] = torch.nan
    theta[2, 0] = torch.inf
    with pytest.raises(UsageError, match=f"'{warp.name}' holds 2 values that are not finite"):
        warp.validate(theta)
    wrong = torch.zeros(2, warp.num_params + 1)
    for act in (
        lambda: warp.validate(wrong),
        lambda: warp.grid(wrong, (3, 5)),
        lambda: warp.points(wrong, torch.zeros(4, 2)),
    ):
        with pytest.raises(UsageError, match=rf"must be \(B, {warp.num_params}\); got \(2, "):
            act()
    with pytest.raises(UsageError, match=r"points must be .* got \(3, 4, 3\)"):
        warp.points(theta, torch.zeros(3, 4, 3))


@every_warp
def test_theta_and_points_of_different_batches_are_refused(name):
    warp = make(name)
    with pytest.raises(
        UsageError, match=r"must have the same batch size; got \(3, .* and \(5, 4, 2\)"
    ):
        warp.points(draw_theta(warp), draw_points(5, 4))


WITH_EXPONENTIALS = [
    "affine_diffeo",
    "attention",
    "cpab",
    "cpab-sliding",
    "homography_diffeo",
    "similarity",
]


@pytest.mark.parametrize("size", [31.0, 33.0, 88.0, 1e3, 1e6])
@pytest.mark.parametrize("name", WITH_EXPONENTIALS)
def test_exponentials_of_far_parameters_stay_finite(name, size):
    """In float32, whose exponential overflows from 89 on."""
    warp = make(name)
    rows = torch.cat((torch.eye(warp.num_params), torch.ones(1, warp.num_params)))
    theta = size * torch.cat((rows, -rows))
    xy = base_grid((3, 4)).flatten(0, 1)
    for values in (
        lambda t: warp.points(t, xy),
        lambda t: warp.grid(t, (3, 4)),
        lambda t: warp.jacobian_determinant(t, xy),
        lambda t: warp.inverse(t),
        lambda t: sample(torch.rand(len(t), 1, 5, 4), warp.grid(t, (3, 4))),
    ):
        leaf = theta.clone().requires_grad_()
        result = values(leaf)
        assert result.isfinite().all()
        (gradient,) = torch.autograd.grad(result.sum(), leaf)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["attention", "similarity"])
def test_a_log_scale_within_its_range_keeps_its_bits_and_one_beyond_is_held(name):
    warp = make(name)
    log_scale = torch.linspace(-32, 32, 1001).requires_grad_()
    theta = torch.nn.functional.pad(log_scale[:, None], (0, warp.num_params - 1))
    scale = warp.matrix(theta)[:, 0, 0]
    plain = log_scale.exp()
    assert torch.equal(scale, plain)
    gradients = (torch.autograd.grad(value.sum(), log_scale)[0] for value in (scale, plain))
    assert torch.equal(*gradients)
    for far, held in ((-100.0, -32.0), (1e30, 32.0)):
        beyond, bound = (warp.matrix(torch.full((1, 1), t) * (theta[:1] != 0)) for t in (far, held))
        assert torch.equal(beyond, bound)


@pytest.mark.parametrize("name", ["attention", "similarity"])
def test_scales_beyond_the_range_are_composed_as_they_act(name):
    warp = make(name)
    outer, inner = warp.identity()[None].clone(), warp.identity()[None].clone()
    outer[0, 0], inner[0, 0] = 100.0, -40.0
    xy = base_grid((3, 4)).flatten(0, 1)
    expected = warp.points(outer, warp.points(inner, xy))
    # Roundings of e^32 and e^-32, which cancel.
    torch.testing.assert_close(warp.points(warp.compose(outer, inner), xy), expected)


@every_warp
def test_an_empty_batch_has_an_empty_result(name):
    warp = make(name)
    theta, xy = draw_theta(warp, batch=0), draw_points()[0]
    assert warp.grid(theta, (3, 5)).shape == (0, 3, 5, 2)
    assert warp.inverse_points(theta, xy).shape == (0, 5, 2)
    assert warp.jacobian_determinant(theta, xy).shape == (0, 5)


@every_warp
def test_nan_flows_through_and_stays_in_its_sample(name):
    warp = make(name)
    theta = draw_theta(warp)
    theta[1] = torch.nan
    grid = warp.grid(theta, (3, 5))
    assert grid[1].isnan().all()
    assert grid[[0, 2]].isfinite().all()
    assert warp.inverse_points(theta, draw_points())[[0, 2]].isfinite().all()


@pytest.mark.parametrize("name", [n for n in NAMES if hasattr(make(n), "matrix")])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_matrix_is_computed_in_float32_at_least(name, dtype):
    warp = make(name)
    theta = draw_theta(warp, reach=0.4).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        matrix = warp.matrix(theta)
    assert matrix.dtype == torch.promote_types(dtype, torch.float32)
    exact = warp.matrix(theta.double())
    # Float32 rounds an exponential's few dozen steps; bfloat16 would be off by 1e-2 at least.
    torch.testing.assert_close(matrix.double(), exact, rtol=1e-5, atol=1e-5)
    with pytest.raises(UsageError, match=rf"must be \(B, {warp.num_params}\)"):
        warp.matrix(torch.zeros(2, warp.num_params + 1))
