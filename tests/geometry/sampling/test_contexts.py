"""Where samplers are used: other dtypes and layouts, autocast, vmap, the compiler, wrong input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from stn_core.errors import UsageError
from stn_core.geometry.sampling import list_samplers, sample
from stn_core.geometry.warps import create_warp
from tests.nightly import mostly_nightly
from tests.no_products import RoundedProducts

PADDINGS = ["zeros", "border", [0.3, -0.6]]


def case(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 2, 6, 9, generator=generator, dtype=dtype)
    grid = torch.rand(2, 7, 5, 2, generator=generator, dtype=dtype) * 3 - 1.5
    return image, grid


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", list_samplers())
def test_channels_last_gives_the_same(mode, padding):
    image, grid = case(torch.float64)
    last = image.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        sample(last, grid, mode, padding), sample(image, grid, mode, padding), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("mode", list_samplers())
def test_a_bfloat16_image_keeps_its_type_and_its_positions(mode):
    image, grid = case()
    image = image.bfloat16()
    exact = sample(image.float(), grid, mode, 0.3)
    result = sample(image, grid, mode, 0.3)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, exact.bfloat16())


@pytest.mark.parametrize("mode", list_samplers())
def test_autocast_changes_nothing(mode):
    image, grid = case()
    grid.requires_grad_()
    outside = sample(image, grid, mode, 0.3)
    (slope,) = torch.autograd.grad(outside.sum(), grid, allow_unused=True)
    with torch.autocast("cpu", torch.bfloat16):
        inside = sample(image, grid, mode, 0.3)
    (slope_inside,) = torch.autograd.grad(inside.sum(), grid, allow_unused=True)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
    assert slope is None or torch.equal(slope, slope_inside)


@pytest.mark.parametrize("mode", list_samplers())
def test_no_matrix_product_is_left_to_tf32(mode):
    image, grid = (tensor.requires_grad_() for tensor in case())
    with RoundedProducts() as rounded:
        sample(image, grid, mode, 0.3).square().sum().backward()
    assert not rounded.found


@pytest.mark.parametrize("mode", list_samplers())
def test_the_wider_of_two_types_counts(mode):
    image, grid = case(torch.float64)
    result = sample(image.float(), grid, mode)
    assert result.dtype == torch.float32
    assert torch.equal(result, sample(image.float().double(), grid, mode).float())


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", list_samplers())
def test_vmap_equals_a_loop(mode, padding):
    image, grid = case(torch.float64)
    images, grids = torch.stack([image, image.flip(2)]), torch.stack([grid, -grid])
    mapped = torch.func.vmap(lambda i, g: sample(i, g, mode, padding))(images, grids)
    looped = torch.stack([sample(i, g, mode, padding) for i, g in zip(images, grids, strict=True)])
    torch.testing.assert_close(mapped, looped, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "padding", mostly_nightly(["reflection", [0.3, -0.6]], on_every_run=[[0.3, -0.6]])
)
@pytest.mark.parametrize("mode", mostly_nightly(list_samplers(), on_every_run=["bilinear"]))
def test_compiled_equals_eager(mode, padding):
    torch.compiler.reset()  # it gives up on a function after eight sets of arguments
    compiled = torch.compile(sample, backend="aot_eager", fullgraph=True)
    results = []
    for function in (sample, compiled):
        image, grid = (tensor.requires_grad_() for tensor in case(torch.float64))
        value = function(image, grid, mode, padding)
        gradients = torch.autograd.grad(value.square().sum(), (image, grid), allow_unused=True)
        results.append([value, *(g for g in gradients if g is not None)])
    for ours, eager in zip(*results, strict=True):
        torch.testing.assert_close(ours, eager, rtol=0, atol=1e-11)


def test_backward_survives_a_theta_that_is_not_finite():
    """What this guards against is a crash of the interpreter, which pytest-xdist reports."""
    warp = create_warp("affine")
    fills = ("zeros", "border", "reflection", 0.3)
    values = ("nan", "inf", "-inf", "3e38", "1e30")
    for case in itertools.product(list_samplers(), fills, values, ((2, 2), (9, 12))):
        mode, padding, bad, size_hw = case
        theta = warp.identity().repeat(2, 1)
        theta[1, 0] = float(bad)
        theta.requires_grad_()
        image = torch.randn(2, 1, *size_hw, requires_grad=True)
        result = sample(image, warp.grid(theta, size_hw), mode, padding)
        result.sum().backward()
        assert result[0].isfinite().all(), case
        assert image.grad[0].isfinite().all(), case
        assert theta.grad is None or theta.grad[0].isfinite().all(), case
        if bad == "nan":
            assert result[1].isnan().all(), case
            # On 2 by 2 pixels the border holds all of them, and lets no gradient through.
            has_slope = mode != "nearest" and size_hw != (2, 2)
            assert not has_slope or theta.grad[1].isnan().any(), case


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", list_samplers())
def test_empty_grids_give_empty_results(mode, padding):
    for batch, out_hw in ((0, (7, 5)), (2, (0, 5)), (2, (7, 0))):
        image = torch.zeros(batch, 2, 6, 9, requires_grad=True)
        grid = torch.zeros(batch, *out_hw, 2, requires_grad=True)
        result = sample(image, grid, mode, padding)
        assert result.shape == (batch, 2, *out_hw)
        result.sum().backward()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", list_samplers())
def test_shapes_on_the_meta_device(mode, padding):
    image, grid = (tensor.to("meta").requires_grad_() for tensor in case())
    result = sample(image, grid, mode, padding)
    assert result.device.type == "meta"
    assert result.shape == (2, 2, 7, 5)


def test_on_the_device(device):
    if device.type == "cpu":
        pytest.skip("the device is the CPU, which the other tests use")
    image, grid = case()
    for mode in list_samplers():
        result = sample(image.to(device), grid.to(device), mode, [0.3, -0.6])
        torch.testing.assert_close(
            result.cpu(), sample(image, grid, mode, [0.3, -0.6]), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "bilinaer"}, "did you mean bilinear"),
        ({"mode": None}, "one of antialiased, .* not None"),
        ({"padding": None}, "one of zeros, .* not None"),
        ({"padding": float("nan")}, "a fill must be finite; got nan"),
        ({"padding": [0.0, -float("inf")]}, r"a fill must be finite; got \[0.0, -inf\]"),
        ({"padding": ["a", "b"]}, "one of zeros, .* not"),
        ({"image": torch.zeros(2, 2, 0, 9)}, r"with pixels, not .*\(2, 2, 0, 9\)"),
        ({"padding": "reflect"}, "did you mean reflection"),
        ({"padding": [0.0, 1.0, 2.0]}, r"shape \(3,\).*2 channels"),
        ({"padding": torch.zeros(2, 1)}, r"shape \(2, 1\)"),
        ({"image": torch.zeros(2, 6, 9)}, r"\(2, 6, 9\)"),
        ({"image": np.zeros((2, 2, 6, 9))}, "an image that is a tensor; got a ndarray"),
        ({"grid": [[[[0.0, 0.0]]]]}, "a grid that is a tensor; got a list"),
        ({"image": torch.zeros(2, 2, 6, 9, dtype=torch.uint8)}, "uint8"),
        ({"grid": torch.zeros(2, 7, 5, 3)}, r"\(2, 7, 5, 3\)"),
        ({"grid": torch.zeros(7, 5, 2)}, r"\(7, 5, 2\)"),
        ({"grid": torch.zeros(3, 7, 5, 2)}, r"\(3, 7, 5, 2\)"),
    ],
)
def test_wrong_input_is_reported_in_one_line(arguments, message):
    image, grid = case()
    with pytest.raises(UsageError, match=message) as error:
        sample(**({"image": image, "grid": grid} | arguments))
    assert "\n" not in str(error.value)
