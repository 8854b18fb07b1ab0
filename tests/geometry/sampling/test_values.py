"""What the samplers return: against slow references, scipy, and the laws all of them share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from stn_core.errors import UsageError
from stn_core.geometry.grids import base_grid
from stn_core.geometry.sampling import list_samplers, sample
from tests.oracles import slow_antialiased, slow_sample
from tests.strategies import sizes_hw

EDGES = ("zeros", "border", "reflection")
SCIPY_MODES = {"zeros": "grid-constant", "border": "nearest", "reflection": "reflect"}

# float64 rounding of positions (a few ulp of a size up to 10) times intensities up to about 4.
ROUNDING = 1e-12

sizes = sizes_hw(1, 6)


def random_case(seed, size_hw, out_hw, reach=2.0, channels=2):
    """An image and a grid that reaches beyond the image, off the ties between pixels."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, channels, *size_hw, generator=generator, dtype=torch.float64)
    grid = (torch.rand(1, *out_hw, 2, generator=generator, dtype=torch.float64) * 2 - 1) * reach
    return image, grid


def reference(image, grid, mode, outside):
    if mode == "antialiased":
        return torch.from_numpy(slow_antialiased(image[0].numpy(), grid[0].numpy(), outside))[None]
    plain = mode if mode in ("nearest", "bicubic") else "bilinear"
    values = slow_sample(image[0].numpy(), grid[0].reshape(-1, 2).numpy(), plain, outside)
    return torch.from_numpy(values).reshape(1, -1, *grid.shape[1:3])


@pytest.mark.parametrize("mode", list_samplers())
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    size_hw=sizes,
    out_hw=sizes,
    outside=st.sampled_from([*EDGES, (0.5, -2.0)]),
)
def test_equals_the_slow_reference(mode, seed, size_hw, out_hw, outside):
    if mode == "antialiased":  # it refuses what has no neighbour to tell the scale
        out_hw = tuple(max(n, 2) for n in out_hw)
    image, grid = random_case(seed, size_hw, out_hw)
    expected = reference(image, grid, mode, outside)
    torch.testing.assert_close(sample(image, grid, mode, outside), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "deterministic", "linearized"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), size_hw=sizes, outside=st.sampled_from([*EDGES, -0.7]))
def test_equals_scipy_map_coordinates(mode, seed, size_hw, outside):
    image, grid = random_case(seed, size_hw, (3, 5), channels=1)
    height, width = size_hw
    columns = ((grid[0, ..., 0] + 1) * width - 1) / 2
    rows = ((grid[0, ..., 1] + 1) * height - 1) / 2
    expected = map_coordinates(
        image[0, 0].numpy(),
        np.stack([rows, columns]),
        order=0 if mode == "nearest" else 1,
        mode=SCIPY_MODES.get(outside, "grid-constant"),
        cval=0.0 if isinstance(outside, str) else outside,
    )
    result = sample(image, grid, mode, outside)[0, 0].numpy()
    np.testing.assert_allclose(result, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("mode", list_samplers())
@pytest.mark.parametrize("size_hw", [(5, 7), (1, 4), (28, 24)])
def test_the_base_grid_returns_the_image(mode, size_hw):
    image = torch.randn(2, 3, *size_hw, dtype=torch.float64)
    grid = base_grid(size_hw, dtype=torch.float64).expand(2, *size_hw, 2)
    torch.testing.assert_close(sample(image, grid, mode), image, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("mode", list_samplers())
@settings(max_examples=10, deadline=None)
@given(
    size_hw=sizes_hw(2, 9),
    down=st.integers(-4, 4),
    right=st.integers(-4, 4),
)
def test_integer_translations_are_exact(mode, size_hw, down, right):
    height, width = size_hw
    image = torch.arange(1.0, height * width + 1, dtype=torch.float64).reshape(1, 1, *size_hw)
    step = torch.tensor([2 * right / width, 2 * down / height], dtype=torch.float64)
    result = sample(image, base_grid(size_hw, dtype=torch.float64)[None] + step, mode, -3.0)
    expected = torch.full_like(image, -3.0)
    for row in range(height):
        for column in range(width):
            if 0 <= row + down < height and 0 <= column + right < width:
                expected[..., row, column] = image[..., row + down, column + right]
    # Positions are off by a few ulp, and pixels differ by up to 81 + 3.
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("mode", list_samplers())
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_right_angles_are_exact(mode, turns):
    image = torch.randn(1, 2, 5, 8, dtype=torch.float64)
    expected = torch.rot90(image, turns, (2, 3))
    x, y = base_grid(tuple(expected.shape[2:]), dtype=torch.float64).unbind(-1)
    # Where an output pixel of the picture turned anticlockwise looks; y points down.
    looks_at = {1: (-y, x), 2: (-x, -y), 3: (y, -x)}[turns]
    result = sample(image, torch.stack(looks_at, -1)[None], mode)
    torch.testing.assert_close(result, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("mode", list_samplers())
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**20), fill=st.floats(-3, 3), size_hw=sizes)
def test_a_picture_of_the_fill_stays_so(mode, seed, fill, size_hw):
    _, grid = random_case(seed, size_hw, (4, 3))
    image = torch.full((1, 2, *size_hw), fill, dtype=torch.float64)
    expected = torch.full((1, 2, 4, 3), fill, dtype=torch.float64)
    torch.testing.assert_close(sample(image, grid, mode, fill), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("mode", list_samplers())
@pytest.mark.parametrize("padding", [*EDGES, 0.3])
def test_samples_of_a_batch_do_not_affect_each_other(mode, padding):
    image = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    grid = torch.rand(3, 4, 6, 2, dtype=torch.float64) * 3 - 1.5
    alone = [sample(image[i : i + 1], grid[i : i + 1], mode, padding) for i in range(3)]
    together = sample(image, grid, mode, padding)
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("mode", list_samplers())
@pytest.mark.parametrize("padding", [*EDGES, 0.3])
def test_nan_stays_nan_and_does_not_spread(mode, padding):
    image, grid = random_case(0, (4, 7), (5, 9), reach=0.9)
    grid[0, 2, 3, 0] = float("nan")
    lost = sample(image, grid, mode, padding).isnan()
    assert lost[0, :, 2, 3].all()
    assert lost.sum() == 2


@pytest.mark.parametrize("mode", list_samplers())
@pytest.mark.parametrize("padding", [*EDGES, 0.3])
@pytest.mark.parametrize("far", [float("inf"), -float("inf"), 1e300, 1e30])
def test_far_points_do_not_affect_others(mode, padding, far):
    image, grid = random_case(0, (4, 7), (5, 9), reach=0.9)
    expected = sample(image, grid, mode, padding)
    grid[0, 2, 3, 0] = far
    elsewhere = torch.ones(5, 9, dtype=torch.bool)
    elsewhere[2, 3] = False
    if mode == "antialiased":  # the neighbours' filter may widen
        elsewhere[1:4, 2:5] = False
    result = sample(image, grid.requires_grad_(), mode, padding)  # linearized fits its planes
    assert torch.equal(result[..., elsewhere], expected[..., elsewhere])
    assert result.isfinite().sum() >= result.numel() - 2


@pytest.mark.parametrize("mode", list_samplers())
@pytest.mark.parametrize("padding", ["zeros", 0.3])
@pytest.mark.parametrize("far", [float("inf"), -float("inf")])
def test_an_infinite_position_is_outside_or_nan(mode, padding, far):
    image, grid = random_case(0, (4, 7), (5, 9), reach=0.9)
    grid[0, 2, 3, 0] = far
    found = sample(image, grid, mode, padding)[0, :, 2, 3]
    outside = torch.full_like(found, 0.0 if padding == "zeros" else padding)
    equal_nan = mode not in ("nearest", "deterministic")
    if equal_nan:
        outside = torch.where(found.isnan(), torch.nan, outside)
    torch.testing.assert_close(found, outside, rtol=0, atol=ROUNDING, equal_nan=equal_nan)


@pytest.mark.parametrize("mode", [mode for mode in list_samplers() if mode != "antialiased"])
@pytest.mark.parametrize("far", [float("inf"), 1e30])
def test_beyond_the_border_is_the_border(mode, far):
    image, grid = random_case(0, (4, 7), (5, 9), reach=0.9)
    grid[0, 2, 3] = torch.tensor([far, -far])
    result = sample(image, grid.requires_grad_(), mode, "border")
    torch.testing.assert_close(result[0, :, 2, 3], image[0, :, 0, 6], rtol=0, atol=ROUNDING)


def test_a_fill_may_be_a_number_a_sequence_or_a_tensor():
    image, grid = random_case(1, (4, 5), (3, 6))
    expected = sample(image, grid, padding=[0.5, 0.5])
    for fill in (0.5, np.float32(0.5), (0.5,), torch.tensor(0.5), torch.tensor([0.5, 0.5])):
        assert torch.equal(sample(image, grid, padding=fill), expected)
    assert not torch.equal(expected, sample(image, grid, padding=[0.5, -0.5]))


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, [0.0, 0.0]])
def test_a_fill_of_zero_is_zero_padding(zero):
    image, grid = random_case(2, (4, 5), (3, 6))
    assert torch.equal(sample(image, grid, padding=zero), sample(image, grid))


class TestAntialiased:
    @pytest.mark.parametrize("out_hw", [(20, 24), (10, 12)])
    def test_it_stays_near_torchs_own_antialiased_resizing(self, out_hw):
        # Smooth clouds under fine noise. The filters differ (octaves of boxes here, a triangle
        # twice as wide there): they agree on the clouds, and both are rid of the noise, which
        # bilinear reads.
        size_hw = (60, 72)
        generator = torch.Generator().manual_seed(6)
        coarse = torch.randn(4, 1, 4, 4, generator=generator, dtype=torch.float64)
        clouds = F.interpolate(coarse, size_hw, mode="bicubic", align_corners=False)
        image = clouds + torch.randn(clouds.shape, generator=generator, dtype=torch.float64)
        grid = base_grid(out_hw, dtype=torch.float64).expand(4, *out_hw, 2)
        expected = F.interpolate(image, out_hw, mode="bilinear", antialias=True)

        def distance(mode):
            return (sample(image, grid, mode, "border") - expected).square().mean().sqrt()

        # Measured with 8 seeds: 0.12 to 0.125 of it for a third of the size, 0.12 to 0.145 for a
        # sixth. A filter of the scale to the power 2/3 or 1.3 is off by 0.16 or more.
        assert distance("antialiased") < 0.15 * distance("bilinear")

    @pytest.mark.parametrize("octave", [1, 2])
    def test_a_reduction_by_a_power_of_two_is_the_mean(self, octave):
        image = torch.randn(2, 3, 16, 24, dtype=torch.float64)
        out_hw = (16 >> octave, 24 >> octave)
        grid = base_grid(out_hw, dtype=torch.float64).expand(2, *out_hw, 2)
        expected = F.avg_pool2d(image, 2**octave)
        torch.testing.assert_close(
            sample(image, grid, "antialiased"), expected, rtol=0, atol=ROUNDING
        )

    @pytest.mark.parametrize("out_hw", [(1, 6), (6, 1), (1, 1)])
    def test_a_single_row_or_column_of_many_pixels_is_refused(self, out_hw):
        image, grid = random_case(3, (4, 5), out_hw)
        with pytest.raises(UsageError, match=r"of 4 by 5; got a grid .*call stn_core\.warp_image"):
            sample(image, grid, "antialiased")

    def test_a_single_row_of_a_single_row_is_sampled(self):
        image, grid = random_case(3, (1, 9), (1, 6))
        expected = reference(image, grid, "antialiased", "border")
        result = sample(image, grid, "antialiased", "border")
        torch.testing.assert_close(result, expected, rtol=0, atol=ROUNDING)

    def test_an_enlargement_is_bilinear(self):
        image = torch.randn(1, 2, 5, 7, dtype=torch.float64)
        grid = base_grid((11, 9), dtype=torch.float64)[None]
        assert torch.equal(sample(image, grid, "antialiased"), sample(image, grid, "bilinear"))

    def test_fine_stripes_become_grey_instead_of_coarse_stripes(self):
        stripes = (torch.arange(30) % 2).double().expand(1, 1, 20, 30)
        grid = base_grid((6, 9), dtype=torch.float64)[None]
        bilinear = sample(stripes, grid, "bilinear", "reflection")
        smooth = sample(stripes, grid, "antialiased", "reflection")
        assert (bilinear - 0.5).abs().max() > 0.3
        # 3.3 pixels to one: a box of 2 (all grey) blended with one of 3.75 (at most 1/7.5 off).
        torch.testing.assert_close(smooth, torch.full_like(smooth, 0.5), rtol=0, atol=1 / 7.5)
