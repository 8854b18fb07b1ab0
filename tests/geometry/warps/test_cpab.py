"""CPAB's parameters, cells and boundaries; its field against barycentric coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_core.errors import UsageError
from stn_core.geometry.warps import create_warp
from tests.geometry.warps.cpab_fields import (
    FREE,
    SLIDING,
    STATED_ERROR,
    ZERO,
    random_points,
    random_theta,
    vertex_velocities,
)
from tests.oracles import cpab_velocity
from tests.strategies import points_xy, thetas

warps = st.builds(
    lambda boundary, **cells: create_warp("cpab", **boundary, **cells),
    st.sampled_from([ZERO, SLIDING, FREE]),
    cells_x=st.integers(1, 4),
    cells_y=st.integers(1, 3),
)


@pytest.mark.parametrize(
    ("cells", "boundary", "count"),
    [
        ((2, 2), ZERO, 10),
        ((3, 3), ZERO, 26),
        ((4, 4), ZERO, 50),
        ((3, 3), FREE, 50),
        ((3, 3), SLIDING, 34),
        ((1, 1), SLIDING, 2),
        ((2, 4), SLIDING, 30),
    ],
)
def test_number_of_parameters(cells, boundary, count):
    warp = create_warp("cpab", cells_x=cells[0], cells_y=cells[1], **boundary)
    assert warp.num_params == count


@settings(max_examples=30, deadline=None)
@given(data=st.data(), warp=warps, xy=points_xy(count=4))
def test_the_field_is_affine_on_the_triangles(data, warp, xy):
    theta = data.draw(thetas(warp))
    field = warp.velocity(theta, xy)
    for sample in range(2):
        corners, centres = vertex_velocities(warp, theta[sample])
        for point, velocity in zip(xy[sample].numpy(), field[sample].numpy(), strict=True):
            expected = cpab_velocity(corners, centres, point)
            np.testing.assert_allclose(velocity, expected, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), warp=warps, xy=points_xy(extent=3.0))
def test_outside_the_image_the_field_is_that_of_the_nearest_point(data, warp, xy):
    theta = data.draw(thetas(warp))
    nearest = warp.velocity(theta, xy.clamp(-1, 1))
    torch.testing.assert_close(warp.velocity(theta, xy), nearest, atol=1e-12, rtol=0)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_zero_boundary_keeps_the_edge_and_what_is_outside_in_place(data):
    warp = create_warp("cpab")
    theta = data.draw(thetas(warp))
    along = torch.linspace(-1, 1, 13, dtype=torch.float64)
    edge = torch.stack((along, torch.ones_like(along)), dim=-1)
    fixed = torch.cat((edge, -edge, edge.flip(-1), 1.7 * edge))
    mapped = warp.points(theta, fixed)
    # A point on the edge may take the triangle inside, whose field vanishes there up to rounding.
    torch.testing.assert_close(mapped, fixed.expand_as(mapped), atol=1e-13, rtol=0)
    inside = warp.points(theta, random_points(2, 50))
    assert inside.abs().max() <= 1 + STATED_ERROR


@settings(max_examples=20, deadline=None)
@given(data=st.data(), cells=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_points_slide_along_a_sliding_boundary_and_never_cross_it(data, cells):
    warp = create_warp("cpab", cells_x=cells[0], cells_y=cells[1], sliding_boundary=True)
    theta = data.draw(thetas(warp))
    along = torch.linspace(-1, 1, 13, dtype=torch.float64)
    bottom = torch.stack((along, torch.ones_like(along)), dim=-1)
    edges = torch.stack((bottom, -bottom, bottom.flip(-1), -bottom.flip(-1)))
    corners = torch.cartesian_prod(*2 * [torch.tensor([-1.0, 1.0], dtype=torch.float64)])
    inside = random_points(1, 50)[0]
    mapped = warp.points(theta, torch.cat((edges.flatten(0, 1), corners, inside)))
    assert mapped.abs().max() <= 1 + STATED_ERROR
    on_edges, at_corners, _ = mapped.split((4 * len(along), len(corners), len(inside)), dim=1)
    for side, (axis, place) in enumerate([(1, 1), (1, -1), (0, 1), (0, -1)]):
        # Rounding may put a point of the edge into the triangle beside it, for one step.
        off = on_edges.unflatten(1, (4, -1))[:, side, :, axis] - place
        assert off.abs().max() <= STATED_ERROR
    torch.testing.assert_close(at_corners, corners.expand_as(at_corners), atol=1e-13, rtol=0)


def test_every_corner_on_a_sliding_boundary_has_a_parameter_that_moves_it():
    warp, still = create_warp("cpab", sliding_boundary=True), create_warp("cpab")
    third = 1 / 3
    corners = [(-third, -1), (third, -1), (-third, 1), (third, 1)]
    corners += [(-1, -third), (-1, third), (1, -third), (1, third)]
    for number, corner in enumerate(corners):
        theta = torch.zeros(1, warp.num_params, dtype=torch.float64)
        theta[0, still.num_params + number] = 0.1
        moved = warp.points(theta, torch.tensor([corners], dtype=torch.float64))[0]
        moved = moved - torch.tensor(corners, dtype=torch.float64)
        axis = 0 if abs(corner[1]) == 1 else 1
        assert moved[number, axis] > 0.05
        moved[number, axis] = 0
        assert moved.abs().max() < 1e-9


def test_a_sliding_boundary_at_rest_is_a_zero_boundary():
    warp, still = create_warp("cpab", sliding_boundary=True), create_warp("cpab")
    theta = random_theta(still, 0.2, batch=3)
    xy = 1.2 * random_points(3, 40)
    padded = torch.nn.functional.pad(theta, (0, warp.num_params - still.num_params))
    torch.testing.assert_close(warp.points(padded, xy), still.points(theta, xy), rtol=0, atol=1e-12)


def test_a_boundary_cannot_slide_and_be_free():
    with pytest.raises(UsageError, match=r"slides .*or is free .*not both"):
        create_warp("cpab", sliding_boundary=True, zero_boundary=False)


@pytest.mark.parametrize("cells", [(1, 1), (2, 8), (8, 2)])
def test_the_steps_suffice_for_the_side_with_more_cells(cells):
    cells_x, cells_y = cells
    steps = create_warp("cpab", cells_x=cells_x, cells_y=cells_y).steps
    assert steps == create_warp("cpab", cells_x=max(cells), cells_y=max(cells)).steps


@pytest.mark.parametrize("option", ["cells_x", "cells_y", "steps"])
@pytest.mark.parametrize("count", [0, 2.5])
def test_counts_that_are_not_whole_numbers_from_one_are_refused(option, count):
    with pytest.raises(UsageError, match=f"cpab: {option} must be a whole number of at least 1"):
        create_warp("cpab", **{option: count})


@pytest.mark.parametrize("option", ["zero_boundary", "sliding_boundary"])
@pytest.mark.parametrize("value", ["no", "false", 0, None])
def test_an_option_of_the_boundary_is_true_or_false(option, value):
    with pytest.raises(UsageError, match=f"cpab: {option} must be True or False; got {value!r}"):
        create_warp("cpab", **{option: value})


def test_more_cells_take_more_steps_unless_steps_are_given():
    assert create_warp("cpab").steps == 20
    assert create_warp("cpab", cells_x=8, cells_y=2).steps == 50
    assert create_warp("cpab", cells_x=8, steps=5).steps == 5
