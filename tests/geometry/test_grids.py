"""The grid convention, against torch's own and against itself."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings

from stn_core.errors import UsageError
from stn_core.geometry.grids import base_grid, normalised_to_pixel, pixel_to_normalised
from tests.strategies import dtypes, points_xy, sizes_hw


@settings(deadline=None)
@given(size_hw=sizes_hw(), dtype=dtypes())
def test_base_grid_is_torchs_identity_grid(size_hw, dtype):
    theirs = F.affine_grid(
        torch.eye(2, 3, dtype=dtype)[None], (1, 1, *size_hw), align_corners=False
    )
    # Torch forms the centres in another order: a few roundings of numbers up to 1.
    torch.testing.assert_close(
        base_grid(size_hw, dtype=dtype), theirs[0], atol=4 * torch.finfo(dtype).eps, rtol=0
    )


def test_a_grid_of_whole_numbers_is_refused():
    with pytest.raises(UsageError, match=r"a grid has a floating type; torch.int64"):
        base_grid((3, 4), dtype=torch.int64)


@settings(deadline=None)
@given(size_hw=sizes_hw(), dtype=dtypes())
def test_base_grid_is_symmetric_to_the_last_bit(size_hw, dtype):
    grid = base_grid(size_hw, dtype=dtype)
    assert torch.equal(grid, -grid.flip(0, 1))


@settings(deadline=None)
@given(size_hw=sizes_hw())
def test_pixels_have_their_centres_at_integers(size_hw):
    pixels = normalised_to_pixel(base_grid(size_hw, dtype=torch.float64), size_hw)
    rows, columns = torch.meshgrid(*(torch.arange(n).double() for n in size_hw), indexing="ij")
    torch.testing.assert_close(pixels, torch.stack((columns, rows), -1), atol=1e-13, rtol=0)


@settings(deadline=None)
@given(size_hw=sizes_hw(), xy=points_xy(extent=3.0))
def test_pixel_coordinates_and_back_is_the_identity(size_hw, xy):
    back = pixel_to_normalised(normalised_to_pixel(xy, size_hw), size_hw)
    torch.testing.assert_close(back, xy, atol=1e-13, rtol=0)


def test_outer_edges_lie_at_minus_one_and_one():
    edges = torch.tensor([[-0.5, -0.5], [6.5, 2.5]], dtype=torch.float64)
    expected = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(pixel_to_normalised(edges, (3, 7)), expected)


def test_low_precision_grids_are_rounded_once():
    expected = base_grid((3, 300), dtype=torch.float32).bfloat16()
    assert torch.equal(base_grid((3, 300), dtype=torch.bfloat16), expected)


@pytest.mark.parametrize("convert", [normalised_to_pixel, pixel_to_normalised])
@pytest.mark.parametrize("shape", [(4, 3), (2, 1), ()])
def test_points_without_x_and_y_are_refused(convert, shape):
    with pytest.raises(UsageError, match=rf"must be \(\.\.\., 2\).*got {re.escape(str(shape))}"):
        convert(torch.zeros(shape), (4, 5))
    with pytest.raises(UsageError, match="points must be a tensor; got a list"):
        convert([0.0, 0.0], (4, 5))


def test_a_size_below_one_is_refused():
    with pytest.raises(UsageError, match=r"at least \(1, 1\); got \(0, 3\)"):
        base_grid((0, 3))
    for size_hw in (5, (5,), (2, 3, 4)):
        with pytest.raises(UsageError, match="must be a height and a width; got"):
            base_grid(size_hw)
    with pytest.raises(UsageError, match=r"must be whole numbers; got \(2.5, 3\)"):
        base_grid((2.5, 3))
    with pytest.raises(UsageError, match=r"got \(4, -1\)"):
        normalised_to_pixel(torch.zeros(2), (4, -1))
