"""What every registered warp does in torch's contexts: batches, vmap, compilers, devices, types."""

from __future__ import annotations

import copy
import io
import shutil
import warnings

import pytest
import torch

from stn_core.geometry.grids import base_grid
from stn_core.geometry.warps import create_warp
from tests.geometry.warps.test_common_laws import (
    GRADIENT_TOLERANCE,
    NAMES,
    draw_points,
    draw_theta,
    every_closed_under_composition,
    every_warp,
    family_of,
    make,
)
from tests.nightly import mostly_nightly
from tests.no_products import RoundedProducts


def small(name):
    """The warp, with as few steps as show its whole graph: CPAB's are unrolled."""
    return make(name, steps=2) if family_of(name) == "cpab" else make(name)


@every_warp
def test_no_matrix_product_is_left_to_tf32(name):
    warp = small(name)
    theta = draw_theta(warp, dtype=torch.float32).requires_grad_()
    xy = draw_points(dtype=torch.float32).requires_grad_()
    with RoundedProducts() as rounded:
        values = warp.points(theta, xy).sum() + warp.inverse_points(theta, xy).nansum()
        values = values + warp.grid(theta, (3, 5)).sum()
        (values + warp.jacobian_determinant(theta, xy).sum()).backward()
    assert not rounded.found


@every_warp
def test_each_sample_is_treated_alone(name):
    warp = make(name)
    theta, xy = draw_theta(warp), draw_points()
    together = warp.points(theta, xy)
    alone = torch.cat([warp.points(theta[i : i + 1], xy[i : i + 1]) for i in range(3)])
    # A batched matrix product may add in another order: roundings only.
    torch.testing.assert_close(together, alone, atol=1e-14, rtol=0)


@every_warp
def test_one_set_of_points_serves_the_whole_batch_and_vmap_agrees(name):
    warp = make(name)
    theta, xy = draw_theta(warp), draw_points()
    shared = warp.points(theta, xy[0])
    torch.testing.assert_close(shared, warp.points(theta, xy[0].expand(3, -1, -1)))
    torch.testing.assert_close(
        shared, torch.func.vmap(warp.points, in_dims=(0, None))(theta, xy[0])
    )
    torch.testing.assert_close(
        warp.inverse_points(theta, xy), torch.func.vmap(warp.inverse_points)(theta, xy)
    )
    torch.testing.assert_close(
        warp.jacobian_determinant(theta, xy), torch.func.vmap(warp.jacobian_determinant)(theta, xy)
    )
    torch.testing.assert_close(
        warp.grid(theta, (3, 5)), torch.func.vmap(lambda t: warp.grid(t, (3, 5)))(theta)
    )


@pytest.mark.parametrize("name", [n for n in NAMES if make(n).closed_under_inversion])
def test_vmap_of_the_inverse_agrees(name):
    warp = make(name)
    theta = draw_theta(warp)
    torch.testing.assert_close(warp.inverse(theta), torch.func.vmap(warp.inverse)(theta))


@every_closed_under_composition
def test_vmap_of_the_composition_agrees(name):
    warp = make(name)
    outer, inner = draw_theta(warp), draw_theta(warp, seed=2)
    composed = torch.func.vmap(warp.compose)(outer, inner)
    torch.testing.assert_close(warp.compose(outer, inner), composed)


@pytest.mark.parametrize("name", mostly_nightly(NAMES, on_every_run=["similarity"]))
def test_compiled_without_a_break_it_gives_the_same_values_and_gradients(name):
    """Traced as by any backend; the default one takes up to 41 s for a family, CPAB over 100 s."""
    torch.compiler.reset()  # or the families count as recompilations of one function
    warp = small(name)
    theta, xy = draw_theta(warp).requires_grad_(), draw_points()

    def loss(theta, xy):
        moved = warp.points(theta, xy).square().sum() + warp.grid(theta, (3, 5)).pow(3).sum()
        return moved + warp.jacobian_determinant(theta, xy).sum()

    with warnings.catch_warnings():
        # Torch warns of its own deprecated parts while it compiles.
        warnings.simplefilter("ignore")
        compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)(theta, xy)
        gradient = torch.autograd.grad(compiled, theta)
    eager = loss(theta, xy)
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(gradient, torch.autograd.grad(eager, theta))


@pytest.mark.nightly
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="no C++ compiler")
def test_the_compilers_default_backend_gives_the_same_values():
    """One family stands for all: the backend is torch's own, and compiling takes seconds."""
    torch.compiler.reset()
    warp = create_warp("affine")
    theta, xy = draw_theta(warp), draw_points()
    with warnings.catch_warnings():
        # As above.
        warnings.simplefilter("ignore")
        compiled = torch.compile(warp.points, fullgraph=True)(theta, xy)
    torch.testing.assert_close(compiled, warp.points(theta, xy))


@every_warp
def test_low_precision_is_widened_to_float32(name):
    warp = make(name)
    theta = draw_theta(warp, dtype=torch.float32)
    expected = warp.grid(theta, (3, 5))
    expected_points = warp.points(theta, base_grid((1, 5))[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(warp.grid(theta, (3, 5)), expected)
        assert torch.equal(warp.points(theta, base_grid((1, 5))[0]), expected_points)
        inverse = warp.inverse_points(theta, base_grid((3, 5)).flatten(0, 1))
    assert inverse.dtype == torch.float32
    assert warp.grid(theta.bfloat16(), (3, 5)).dtype == torch.float32
    exact = warp.grid(theta.double(), (3, 5))
    # float32 roundings, magnified by a system of condition under 100; CPAB may take an edge one
    # step earlier or later, which its error bounds.
    atol = 2e-4 if family_of(name) == "cpab" else 1e-5
    torch.testing.assert_close(expected.double(), exact, atol=atol, rtol=0)


@every_warp
def test_copies_and_pickles_are_the_same_warp_without_state(name):
    warp = make(name)
    theta = draw_theta(warp)
    buffer = io.BytesIO()
    torch.save(warp, buffer)
    buffer.seek(0)
    expected = warp.grid(theta, (3, 5))
    for copied in (
        copy.deepcopy(warp),
        torch.load(buffer, weights_only=False),
        copy.deepcopy(warp).half().double(),
    ):
        assert torch.equal(copied.grid(theta, (3, 5)), expected)
    assert not warp.state_dict()
    assert not list(warp.parameters())


@every_warp
def test_everything_is_made_on_the_device_of_theta(name):
    # On the meta device an operation that mixes in a tensor of the CPU raises.
    warp = small(name).to("meta")
    assert warp.identity(device="meta").is_meta
    theta = draw_theta(warp).to("meta")
    xy = draw_points().to("meta")
    assert warp.grid(theta, (3, 5)).is_meta
    assert warp.points(theta, xy).is_meta
    assert warp.inverse_points(theta, xy).is_meta
    assert warp.jacobian_determinant(theta, xy).is_meta


@every_warp
def test_on_the_device(name, device):
    if device.type == "cpu":
        pytest.skip("the device is the CPU, which the other tests use")
    warp = make(name)
    theta, xy = draw_theta(warp, dtype=torch.float32), draw_points(dtype=torch.float32)

    def results(theta, xy):
        theta = theta.detach().requires_grad_()
        values = (
            warp.points(theta, xy),
            warp.grid(theta, (3, 5)),
            warp.inverse_points(theta, xy),
            warp.jacobian_determinant(theta, xy),
        )
        # Where a search finds no inverse there is none on either device.
        gradient = torch.autograd.grad(sum(value.nansum() for value in values), theta)
        return *(value.detach().cpu() for value in values), gradient[0].cpu()

    # Roundings of float32, magnified as below; CPAB's derivatives may take an edge a step apart.
    tolerance = GRADIENT_TOLERANCE.get(family_of(name), 1e-3)
    torch.testing.assert_close(
        results(theta.to(device), xy.to(device)),
        results(theta, xy),
        atol=tolerance,
        rtol=tolerance,
        equal_nan=True,
    )
