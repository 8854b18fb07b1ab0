"""Thin-plate splines against scipy's, and the inverse where the map folds."""

from __future__ import annotations

import warnings
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_core.errors import UsageError
from stn_core.geometry.grids import base_grid
from stn_core.geometry.warps import create_warp, preimages
from stn_core.geometry.warps import thin_plate_spline as tps_module
from tests.nightly import mostly_nightly
from tests.oracles import thin_plate_spline
from tests.strategies import points_xy, thetas


@pytest.mark.parametrize("n", [2, 3, 4, 7])
@settings(max_examples=10, deadline=None)
@given(data=st.data(), xy=points_xy(extent=1.5))
def test_points_are_scipys(n, data, xy):
    warp = create_warp("tps", n=n)
    theta = data.draw(thetas(warp))
    mapped = warp.points(theta, xy)
    for sample in range(2):
        theirs = thin_plate_spline(
            warp.control_points.numpy(), theta[sample].view(-1, 2).numpy(), xy[sample].numpy()
        )
        # Both solve a system of condition under 3e3.
        torch.testing.assert_close(mapped[sample], torch.from_numpy(theirs), atol=1e-11, rtol=0)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_control_points_move_by_theta(data):
    warp = create_warp("tps", n=3)
    theta = data.draw(thetas(warp, reach=1.0))
    moved = warp.points(theta, warp.control_points) - warp.control_points
    torch.testing.assert_close(moved, theta.view(2, 9, 2), atol=1e-13, rtol=0)


def test_control_points_stand_row_by_row_from_corner_to_corner():
    control = create_warp("tps", n=3).control_points
    assert control[[0, 1, 2, 3, 8]].tolist() == [[-1, -1], [0, -1], [1, -1], [-1, 0], [1, 1]]


@settings(max_examples=20, deadline=None)
@given(data=st.data(), xy=points_xy(extent=1.5))
def test_affine_displacements_give_the_affine_map_everywhere(data, xy):
    matrix = data.draw(thetas(create_warp("affine")))
    warp, affine = create_warp("tps"), create_warp("affine")
    displacements = affine.points(matrix, warp.control_points) - warp.control_points
    mapped = warp.points(displacements.flatten(1), xy)
    torch.testing.assert_close(mapped, affine.points(matrix, xy), atol=1e-12, rtol=0)


@pytest.mark.parametrize("scale", [0.65, 0.5, 0.2])
def test_a_zoom_is_inverted_everywhere_however_far_out_the_points_are_seen_from(scale):
    matrix = torch.tensor([[scale, 0.1, 0.05, -0.07, scale, 0.02]], dtype=torch.float64)
    warp, affine = create_warp("tps"), create_warp("affine")
    displacements = affine.points(matrix, warp.control_points) - warp.control_points
    xy = base_grid((5, 8), dtype=torch.float64).reshape(-1, 2)
    back, mask = warp.inverse_points_and_mask(displacements.flatten(1), xy)
    assert mask.all()
    # Terms of a size of 1e3, a twentieth of an image away, cancel; the slope back is up to 5.
    torch.testing.assert_close(back, affine.inverse_points(matrix, xy), atol=1e-10, rtol=0)


def test_beyond_the_lattice_the_inverse_of_a_bent_zoom_is_a_solution():
    warp, bend, xy = random_maps(4, 0.05, maps=4, seed=5, points=30)
    theta = bend - 0.5 * warp.control_points.flatten()
    back, mask = warp.inverse_points_and_mask(theta, xy)
    assert mask.all()
    assert (back.abs() > 1.6).any()
    torch.testing.assert_close(warp.points(theta, back), xy, atol=1e-12, rtol=0)


@settings(max_examples=12, deadline=None)
@given(data=st.data(), xy=points_xy(count=20))
def test_the_inverse_is_right_or_nan_even_where_the_map_folds(data, xy):
    warp = create_warp("tps", n=3)
    theta = data.draw(thetas(warp, reach=1.0))
    back, mask = warp.inverse_points_and_mask(theta, warp.points(theta, xy))
    torch.testing.assert_close(back[mask], xy[mask], atol=1e-6, rtol=0)
    assert back[~mask].isnan().all()
    # What folds is never claimed to be invertible.
    assert (warp.jacobian_determinant(theta, xy)[mask] > 0).all()


def folded():
    """The middle control point pulled far past its right neighbour."""
    warp = create_warp("tps", n=3)
    theta = torch.zeros(1, warp.num_params, dtype=torch.float64)
    theta[0, 8] = 1.6
    return warp, theta


def test_a_fold_is_masked_and_the_rest_is_inverted():
    warp, theta = folded()
    side = torch.linspace(-1, 1, 21, dtype=torch.float64)
    xy = torch.cartesian_prod(side, side)
    determinant = warp.jacobian_determinant(theta, xy)[0]
    back, mask = warp.inverse_points_and_mask(theta, warp.points(theta, xy))
    assert (determinant <= 0).any()
    assert not mask[0, determinant <= 0].any()
    assert mask.any()
    torch.testing.assert_close(back[mask], xy[mask[0]], atol=1e-6, rtol=0)


def test_gradients_of_the_inverse_are_finite_next_to_masked_points():
    warp, theta = folded()
    side = torch.linspace(-1, 1, 9, dtype=torch.float64)
    xy = torch.cartesian_prod(side, side).requires_grad_()
    theta.requires_grad_()
    back, mask = warp.inverse_points_and_mask(theta, xy)
    assert mask.any()
    assert not mask.all()
    gradients = torch.autograd.grad(back[mask].sum(), (theta, xy))
    assert all(gradient.isfinite().all() for gradient in gradients)


def random_maps(n, deviation, maps, seed, points=100, dtype=torch.float64):
    """A warp, normal displacements, and points of the image."""
    generator = torch.Generator().manual_seed(seed)
    warp = create_warp("tps", n=n)
    theta = deviation * torch.randn(maps, warp.num_params, generator=generator)
    xy = 2 * torch.rand(maps, points, 2, generator=generator) - 1
    return warp, theta.to(dtype), xy.to(dtype)


def folds(warp, theta):
    """Which maps have det J <= 0 somewhere on a fine lattice (the maps are smooth): (B,)."""
    side = torch.linspace(-1.6, 1.6, 81, dtype=theta.dtype)
    return (warp.jacobian_determinant(theta, torch.cartesian_prod(side, side)) <= 0).any(-1)


# Seeds and sizes at which a rule of thumb for folds, det J that varies by 10 between neighbours of
# the lattice, masked up to 20 % of the points of a map that does not fold.
@pytest.mark.parametrize(
    ("n", "deviation"),
    mostly_nightly([(3, 0.3), (4, 0.2), (6, 0.1)], on_every_run=[(3, 0.3), (4, 0.2)]),
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_map_that_does_not_fold_is_inverted_everywhere(n, deviation, dtype):
    warp, theta, xy = random_maps(n, deviation, maps=12, seed=1, dtype=dtype)
    whole = ~folds(warp, theta)
    assert whole.sum() >= 4
    theta, xy = theta[whole], xy[whole]
    back, mask = warp.inverse_points_and_mask(theta, warp.points(theta, xy))
    assert mask.all()
    # Roundings of the target, magnified by the inverse's slope: below 1e3 on these maps.
    tolerance = 1e4 * torch.finfo(dtype).eps
    torch.testing.assert_close(back, xy, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("n", "deviation"), mostly_nightly([(4, 0.3), (6, 0.2)], on_every_run=[(4, 0.3)])
)
def test_the_mask_marks_where_a_map_folds(n, deviation):
    warp, theta, xy = random_maps(n, deviation, maps=6, seed=2, points=200)
    assert folds(warp, theta).all()
    targets = warp.points(theta, xy)
    back, mask = warp.inverse_points_and_mask(theta, targets)
    assert mask.double().mean() > 0.4
    # What is given is a solution, and not on a fold.
    torch.testing.assert_close(warp.points(theta, back)[mask], targets[mask], atol=1e-12, rtol=0)
    assert (warp.jacobian_determinant(theta, back.nan_to_num())[mask] > 0).all()
    # It is the only one, but for 2 in 59,840, where a small fold is overlooked.
    another = (back - xy).abs().amax(-1)[mask] > 1e-6
    assert another.sum() <= 1


@pytest.mark.parametrize(
    ("n", "deviation", "chosen"), [(3, 0.33, 239), (4, 0.22, 286), (6, 0.11, 144)]
)
def test_a_fold_smaller_than_a_step_of_the_lattice_is_seen(n, deviation, chosen):
    # Of 300 maps each the one that has det J > 0 on the lattice and folds between its points.
    generator = torch.Generator().manual_seed(0)
    warp = create_warp("tps", n=n)
    theta = torch.randn(300, warp.num_params, dtype=torch.float64, generator=generator)
    theta = deviation * theta[chosen : chosen + 1]
    lattice, valleys = preimages._lattice_and_valleys(
        partial(warp._points_and_jacobian, warp._spline(theta)), warp._lattice_side(theta)
    )
    assert (lattice.determinants() > 0).all()
    bottom = valleys.points[:, valleys.determinants()[0].argmin()][:, None]
    assert (warp.jacobian_determinant(theta, bottom) < 0).all()
    _, mask = warp.inverse_points_and_mask(theta, warp.points(theta, bottom))
    assert not mask.any()


def test_second_derivatives_of_the_inverse_are_right():
    warp, theta, xy = random_maps(3, 0.1, maps=1, seed=3, points=2)
    arguments = theta.requires_grad_(), xy.requires_grad_()
    assert torch.autograd.gradgradcheck(warp.inverse_points, arguments)


@pytest.mark.nightly
def test_the_inverse_is_compiled_without_a_break_and_equals_eager(monkeypatch):
    torch.compiler.reset()
    monkeypatch.setattr(preimages, "_SEARCH_STEPS", 4)  # its steps are unrolled
    warp, theta, xy = random_maps(2, 0.05, maps=2, seed=4, points=3)
    theta.requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecated parts
        compiled = torch.compile(warp.inverse_points, backend="aot_eager", fullgraph=True)
        ours = compiled(theta, xy)
        gradient = torch.autograd.grad(ours.sum(), theta)
    eager = warp.inverse_points(theta, xy)
    torch.testing.assert_close(ours, eager)
    torch.testing.assert_close(gradient, torch.autograd.grad(eager.sum(), theta))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("remains", [(0.0, 0.0), (1e-6, 1e-6), (0.0, 1.0)])
def test_where_the_image_collapses_the_gradient_is_still_finite(n, dtype, remains):
    # To a point, to nearly one, to a line: Newton's steps are thrown out of all bounds.
    warp = create_warp("tps", n=n)
    control = warp.control_points.to(dtype)
    theta = (
        (control * torch.tensor(remains, dtype=dtype) - control).flatten()[None].requires_grad_()
    )
    back, mask = warp.inverse_points_and_mask(theta, torch.full((1, 5, 2), 0.5, dtype=dtype))
    assert not mask.any()
    (gradient,) = torch.autograd.grad(back.nan_to_num().sum(), theta)
    assert gradient.isfinite().all()


def test_input_points_that_nobody_looks_at_are_masked():
    warp = create_warp("tps")
    far = torch.tensor([[500.0, 0.0], [0.5, 0.0]], dtype=torch.float64)
    back, mask = warp.inverse_points_and_mask(warp.identity(dtype=torch.float64)[None], far)
    assert mask.tolist() == [[False, True]]
    assert back[0, 0].isnan().all()
    torch.testing.assert_close(back[0, 1], far[1])


def test_many_points_are_inverted_in_parts(monkeypatch):
    warp = create_warp("tps")
    theta = 0.05 * torch.sin(torch.arange(64, dtype=torch.float64)).view(2, 32)
    xy = torch.rand(2, 50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = warp.inverse_points(theta, xy)
    monkeypatch.setattr(preimages, "_PAIRS_AT_ONCE", 7 * 2 * 29**2)
    torch.testing.assert_close(warp.inverse_points(theta, xy), expected, atol=0, rtol=0)


@pytest.mark.parametrize("shared_points", [True, False])
def test_many_points_are_moved_in_parts(monkeypatch, shared_points):
    warp = create_warp("tps")
    theta = 0.05 * torch.sin(torch.arange(64, dtype=torch.float64)).view(2, 32)
    theta.requires_grad_()
    xy = torch.rand(2, 50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    xy = xy[0 if shared_points else slice(None)].requires_grad_()
    most = []
    to_control_points = warp._to_control_points

    def counted(xy):
        most.append(xy.shape[:-1].numel())
        return to_control_points(xy)

    def values_and_derivatives():
        mapped, determinant = warp.points(theta, xy), warp.jacobian_determinant(theta, xy)
        loss = mapped.pow(3).sum() + determinant.square().sum()
        return mapped, determinant, *torch.autograd.grad(loss, (theta, xy))

    expected = values_and_derivatives()
    monkeypatch.setattr(tps_module, "_POINTS_AT_ONCE", 15)
    monkeypatch.setattr(warp, "_to_control_points", counted)
    # The same sums in another order: roundings only.
    torch.testing.assert_close(values_and_derivatives(), expected, atol=1e-12, rtol=1e-12)
    assert max(most) <= 15


def test_constants_follow_the_module_but_keep_their_type():
    warp = create_warp("tps")
    for moved in (warp.half(), warp.to(torch.float32), warp.bfloat16()):
        assert moved.control_points.dtype == torch.float64
    assert warp.to("meta").control_points.is_meta


def test_constants_are_right_on_a_module_that_was_empty():
    theta = 0.05 * torch.sin(torch.arange(32.0)).view(1, 32)
    expected = create_warp("tps").grid(theta, (3, 5))
    moved = create_warp("tps").to("meta").to_empty(device="cpu")
    assert torch.equal(moved.grid(theta, (3, 5)), expected)
    with torch.device("meta"):
        built = create_warp("tps")
    assert built.control_points.is_meta
    assert torch.equal(built.to_empty(device="cpu").grid(theta, (3, 5)), expected)


def test_fewer_than_two_control_points_a_side_are_refused():
    for n in (1, 3.5):
        with pytest.raises(UsageError, match=rf"control points a side, .* at least 2; got {n}"):
            create_warp("tps", n=n)
