"""CPAB computed part by part, so that memory does not grow with the number of points."""

from __future__ import annotations

import warnings

import pytest
import torch

from stn_core.geometry.warps import create_warp
from tests.geometry.warps.cpab_fields import random_points, random_theta


@pytest.fixture
def part_by_part(monkeypatch):
    """So few points at once that small batches flow in several parts, the last one shorter."""
    monkeypatch.setattr("stn_core.geometry.warps.cpab_flow._POINTS_AT_ONCE", 9)


def both_ways(act, monkeypatch):
    """What ``act`` gives when all points flow at once, and when they flow part by part."""
    at_once = act()
    monkeypatch.setattr("stn_core.geometry.warps.cpab_flow._POINTS_AT_ONCE", 9)
    return at_once, act()


@pytest.mark.parametrize("shared_points", [True, False])
def test_part_by_part_points_flow_as_they_do_at_once(monkeypatch, shared_points):
    warp = create_warp("cpab", steps=5)
    theta = random_theta(warp, 0.3, batch=2).requires_grad_()
    xy = random_points(2, 11)[0 if shared_points else slice(None)].requires_grad_()

    def values_and_derivatives():
        mapped, determinant = warp.points(theta, xy), warp.jacobian_determinant(theta, xy)
        loss = mapped.pow(3).sum() + determinant.square().sum()
        first = torch.autograd.grad(loss, (theta, xy), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (theta, xy))
        return mapped, determinant, *first, *second

    at_once, in_parts = both_ways(values_and_derivatives, monkeypatch)
    # The same sums in another order: roundings only.
    torch.testing.assert_close(in_parts, at_once, atol=1e-12, rtol=1e-12)


def test_part_by_part_the_function_transforms_agree(monkeypatch):
    warp = create_warp("cpab", steps=5)
    theta, xy = random_theta(warp, 0.3, batch=2), random_points(2, 11)
    tangent = random_theta(warp, 1.0, batch=2, seed=2)

    def transformed():
        reverse = torch.func.vmap(torch.func.jacrev(warp.points))(theta, xy)
        with warnings.catch_warnings():
            # Torch warns of its own deprecated parts when it first looks forward.
            warnings.simplefilter("ignore")
            _, forward = torch.func.jvp(lambda t: warp.points(t, xy), (theta,), (tangent,))
        return torch.func.vmap(warp.points)(theta, xy), reverse, forward

    at_once, in_parts = both_ways(transformed, monkeypatch)
    torch.testing.assert_close(in_parts, at_once, atol=1e-12, rtol=1e-12)


@pytest.mark.usefixtures("part_by_part")
def test_part_by_part_an_empty_batch_and_nan_are_no_exception():
    warp = create_warp("cpab", steps=5)
    xy = random_points(1, 11)[0]
    assert warp.points(torch.zeros(0, 26), xy).shape == (0, 11, 2)
    theta = random_theta(warp, 0.3, batch=2)
    theta[1] = torch.nan
    assert warp.points(theta, xy)[0].isfinite().all()
    assert warp.points(theta, xy)[1].isnan().any()


@pytest.mark.usefixtures("part_by_part")
def test_part_by_part_the_backward_pass_keeps_the_points_and_not_the_steps():
    warp = create_warp("cpab")
    theta, xy = random_theta(warp, 0.3, batch=2).requires_grad_(), random_points(2, 500)
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        mapped = warp.points(theta, xy)
    # Where they start, and the table of fields; 20 steps keep 20 tensors each.
    assert mapped.requires_grad
    assert sum(kept.values()) < 3 * mapped.nbytes + 2**17


@pytest.mark.nightly
@pytest.mark.usefixtures("part_by_part")
def test_compiled_without_a_break_it_equals_the_flow_part_by_part():
    torch.compiler.reset()
    warp = create_warp("cpab", steps=2)
    theta, xy = random_theta(warp, 0.3, batch=2).requires_grad_(), random_points(2, 11)

    def loss(theta):
        return warp.points(theta, xy).pow(3).sum()

    with warnings.catch_warnings():
        # Torch warns of its own deprecated parts while it compiles.
        warnings.simplefilter("ignore")
        compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)(theta)
        gradient = torch.autograd.grad(compiled, theta)
    eager = loss(theta)
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(gradient, torch.autograd.grad(eager, theta))
