"""The samplers' gradients: the true ones, and linearized multi-sampling's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_core.geometry.grids import base_grid
from stn_core.geometry.sampling import list_samplers, sample
from stn_core.geometry.sampling.linearized import auxiliary_offsets
from tests.oracles import slow_antialiased, slow_plane_slope, slow_sample

TRUE_GRADIENT = ["antialiased", "bicubic", "bilinear", "deterministic"]
PADDINGS = ["zeros", "border", "reflection", (0.4, -1.5)]


def smooth_case(seed, size_hw=(4, 5), out_hw=(2, 3)):
    """An image and a grid whose positions lie well between pixels, where no mode has a kink."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 2, *size_hw, generator=generator, dtype=torch.float64)
    whole = torch.stack(
        [torch.randint(-2, n + 2, (1, *out_hw), generator=generator) for n in size_hw[::-1]], -1
    )
    share = 0.1 + 0.35 * torch.rand(1, *out_hw, 2, generator=generator, dtype=torch.float64)
    grid = (2 * (whole + share) + 1) / torch.tensor(size_hw[::-1]) - 1
    return image.requires_grad_(), grid.requires_grad_()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", TRUE_GRADIENT)
def test_gradcheck(mode, padding):
    image, grid = smooth_case(0)
    assert torch.autograd.gradcheck(lambda i, g: sample(i, g, mode, padding), (image, grid))


@pytest.mark.parametrize("mode", list_samplers())
def test_gradcheck_of_the_image(mode):
    image, grid = smooth_case(1)
    assert torch.autograd.gradcheck(lambda i: sample(i, grid.detach(), mode), (image,))


def test_every_sampler_has_its_gradient_checked():
    assert {*TRUE_GRADIENT, "nearest", "linearized"} == set(list_samplers())


def test_deterministic_can_be_differentiated_twice():
    image, grid = smooth_case(2)
    assert torch.autograd.gradgradcheck(
        lambda i, g: sample(i, g, "deterministic", "border"), (image, grid)
    )


def test_nearest_has_no_gradient_in_the_grid():
    image, grid = smooth_case(3)
    sample(image, grid, "nearest").sum().backward()
    assert grid.grad is None or not grid.grad.any()


@pytest.mark.parametrize("mode", TRUE_GRADIENT)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**20), outside=st.sampled_from(PADDINGS))
def test_gradients_equal_the_slow_reference(mode, seed, outside):
    image, grid = smooth_case(seed)
    cotangent = torch.randn(1, 2, *grid.shape[1:3], dtype=torch.float64)
    (sample(image, grid, mode, outside) * cotangent).sum().backward()

    def loss(pixels, places):
        if mode == "antialiased":
            values = slow_antialiased(pixels, places, outside)
        else:
            plain = "bicubic" if mode == "bicubic" else "bilinear"
            values = slow_sample(pixels, places.reshape(-1, 2), plain, outside)
        return (values.reshape(cotangent.shape) * cotangent.numpy()).sum()

    pixels, places = image.detach()[0].numpy(), grid.detach()[0].numpy()
    by_pixel = central_differences(lambda p: loss(p, places), pixels)
    by_place = central_differences(lambda p: loss(pixels, p), places)
    # Central differences with a step of 1e-5: truncation about 1e-10 times third derivatives of
    # some hundreds, rounding 1e-16 / 1e-5.
    np.testing.assert_allclose(image.grad[0], by_pixel, rtol=0, atol=1e-6)
    np.testing.assert_allclose(grid.grad[0], by_place, rtol=0, atol=1e-6)


def central_differences(function, at, step=1e-5):
    slope = np.zeros_like(at)
    for index in np.ndindex(*at.shape):
        nudge = np.zeros_like(at)
        nudge[index] = step
        slope[index] = (function(at + nudge) - function(at - nudge)) / (2 * step)
    return slope


class TestDeterministic:
    @pytest.mark.parametrize("padding", PADDINGS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("on_the_pixels", [False, True])
    def test_equals_bilinear_and_its_gradient_to_rounding(self, padding, dtype, on_the_pixels):
        generator = torch.Generator().manual_seed(4)
        image = torch.randn(2, 2, 4, 8, generator=generator, dtype=dtype)
        grid = torch.rand(2, 7, 5, 2, generator=generator, dtype=dtype) * 5 - 2.5
        if on_the_pixels:  # where the slope jumps, both take the same side; sizes are powers of 2
            grid = base_grid((4, 8), dtype=dtype).expand(2, 4, 8, 2)
        results = []
        for mode in ("bilinear", "deterministic"):
            inputs = (image.clone().requires_grad_(), grid.clone().requires_grad_())
            value = sample(*inputs, mode, padding)
            results.append([value, *torch.autograd.grad((value * value).sum(), inputs)])
        # Positions up to 30 carry 16 ulp of 1; a gradient multiplies that by size and intensity.
        tolerance = 500 * torch.finfo(dtype).eps
        for ours, torchs in zip(*results, strict=True):
            torch.testing.assert_close(ours, torchs, rtol=tolerance, atol=tolerance)

    def test_backward_runs_under_deterministic_algorithms(self, device):
        if device.type == "cpu":
            pytest.skip("a CPU repeats itself with every sampler")

        def gradients():
            image = torch.linspace(-1, 1, 2 * 35, device=device).reshape(1, 2, 5, 7)
            grid = torch.linspace(-1.2, 1.2, 24, device=device).reshape(1, 4, 3, 2)
            inputs = (image.requires_grad_(), grid.requires_grad_())
            return torch.autograd.grad(sample(*inputs, "deterministic").square().sum(), inputs)

        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True)
        try:
            first, second = gradients(), gradients()
        finally:
            torch.use_deterministic_algorithms(before)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class TestLinearized:
    """The value is I(x0); the gradient is A = argmin sum |I(x_k) - I(x0) - A (x_k - x0)|²."""

    @settings(max_examples=6, deadline=None)
    @given(
        seed=st.integers(0, 2**20),
        zoom=st.sampled_from([0.5, 1.0, 3.0]),
        outside=st.sampled_from(PADDINGS),
    )
    def test_gradient_is_the_slope_of_the_fitted_plane(self, seed, zoom, outside):
        height, width = size_hw = (6, 9)
        image = torch.randn(
            1, 2, *size_hw, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        # A grid of equal steps: zoom input pixels from one output pixel to the next.
        pixel = torch.tensor([2 / width, 2 / height], dtype=torch.float64)
        centres = base_grid((2, 3), dtype=torch.float64) * torch.tensor([3, 2]) / 2
        grid = (centres * pixel * zoom)[None].requires_grad_()
        cotangent = torch.randn(1, 2, 2, 3, dtype=torch.float64)
        (sample(image, grid, "linearized", outside) * cotangent).sum().backward()
        deviation = pixel.numpy() * max(zoom, 1.0)
        for i, j in np.ndindex(2, 3):
            centre = grid[0, i, j].detach().numpy()
            places = centre + np.array(auxiliary_offsets()) * deviation
            slope = slow_plane_slope(image[0].numpy(), centre, places, outside)
            expected = cotangent[0, :, i, j].numpy() @ slope
            np.testing.assert_allclose(grid.grad[0, i, j], expected, rtol=0, atol=1e-11)

    def test_gradient_of_a_ramp_is_its_slope(self):
        ramp = torch.tensor([3.0, -5.0], dtype=torch.float64)
        image = (base_grid((40, 32), dtype=torch.float64) @ ramp)[None, None]
        grid = (base_grid((4, 5), dtype=torch.float64)[None] * 0.5).requires_grad_()
        sample(image, grid, "linearized").sum().backward()
        torch.testing.assert_close(grid.grad, ramp.expand_as(grid), rtol=0, atol=1e-11)

    def test_gradient_sees_beyond_the_four_neighbours(self):
        image = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
        image[..., 6] = 1.0  # two pixels to the right of the centre

        def slope_along_x(mode):
            grid = torch.zeros(1, 1, 1, 2, dtype=torch.float64, requires_grad=True)
            sample(image, grid, mode).sum().backward()
            return grid.grad[..., 0].item()

        assert slope_along_x("bilinear") == 0
        assert slope_along_x("linearized") > 0

    def test_gradient_of_the_image_is_the_bilinear_one(self):
        image, grid = smooth_case(5)
        by_mode = [
            torch.autograd.grad(sample(image, grid, mode).square().sum(), image)[0]
            for mode in ("linearized", "bilinear")
        ]
        assert torch.equal(*by_mode)

    def test_offsets_are_opposite_and_of_about_unit_deviation(self):
        offsets = np.array(auxiliary_offsets())
        np.testing.assert_allclose(offsets.sum(0), 0, atol=1e-15)
        # Eight points stand for a normal distribution; the tails are what is missing.
        assert 0.85 < offsets.std() < 1.0
