"""The spatial transformer: every warp, from the identity on, on real digits."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from stn_core.errors import UsageError
from stn_core.grids import base_grid
from stn_core.layers import SpatialTransformer, Warped, zero_residual_head
from stn_core.sampling import list_samplers, sample
from stn_core.warps import create_warp, list_warps

SIZE_HW = (9, 12)


def transformer(warp_name="affine", nudge=0.0, channels=2, **options):
    """A transformer of images of SIZE_HW; nudge moves its head away from the identity."""
    warp = create_warp(warp_name)
    head = zero_residual_head(8, warp)
    features = channels * SIZE_HW[0] * SIZE_HW[1]
    body = nn.Sequential(nn.Flatten(), nn.Linear(features, 8), nn.Tanh(), head)
    with torch.no_grad():
        head.weight += nudge * torch.randn(head.weight.shape)
    return SpatialTransformer(warp, body, **options)


def images(batch=3, channels=2, dtype=torch.float32):
    return torch.randn(batch, channels, *SIZE_HW, dtype=dtype)


def digits():
    """Real digits, smoothly enlarged: (10, 1, 72, 60), in [0, 1]."""
    pixels = torch.from_numpy(load_digits().images[:10] / 16)
    framed = F.pad(pixels[:, None], (2, 2, 2, 2))
    return F.interpolate(framed, (72, 60), mode="bicubic", align_corners=False).clamp(0, 1)


@pytest.mark.parametrize("name", list_warps())
def test_starts_at_the_identity(name):
    layer = transformer(name)
    image = images()
    warped = layer.transform(image)
    assert torch.equal(warped.theta, layer.warp.identity().expand_as(warped.theta))
    # A grid within 1e-6 of the base grid moves a sample by 6e-6 of a pixel at most.
    torch.testing.assert_close(warped.image, image, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mode", list_samplers())
def test_starts_at_the_identity_with_every_sampler(mode):
    image = images(dtype=torch.float64)
    layer = transformer(sampler=mode, padding=[0.5, -0.5]).double()
    torch.testing.assert_close(layer(image), image, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list_warps())
def test_a_digit_warped_and_warped_back_is_itself(name):
    image, warp = digits(), create_warp(name)
    size_hw = (72, 60)
    noise = torch.randn(10, warp.num_params, generator=torch.Generator().manual_seed(0))
    theta = warp.identity(dtype=torch.float64) + 0.05 * noise.double()
    there = warp.grid(theta, size_hw)
    xy = base_grid(size_hw, dtype=torch.float64).reshape(-1, 2)
    back = warp.inverse_points(theta, xy).reshape(there.shape)
    warped = sample(image, there)
    returned = sample(warped, back)
    stayed_inside = sample(sample(torch.ones_like(image), there), back) > 0.999
    inside = stayed_inside & returned.isfinite()
    assert inside.double().mean() > 0.75
    error, displacement = (returned - image)[inside], (warped - image)[inside]
    # Read t of a pixel aside and back, bilinear interpolation adds t (1 - t) of the second
    # difference along each axis, at most a quarter of it. Half as much again for warps that
    # stretch a little.
    curvature = sum(image.diff(n=2, dim=axis).abs().max() for axis in (2, 3))
    assert error.abs().max() < 1.5 * curvature / 4
    assert error.square().mean().sqrt() < displacement.square().mean().sqrt() / 4


@pytest.mark.parametrize("out_size", [None, (5, 7), (14, 4)])
def test_shapes(out_size):
    warped = transformer(nudge=0.1, out_size=out_size).transform(images())
    height, width = out_size or SIZE_HW
    assert isinstance(warped, Warped)
    assert warped.image.shape == (3, 2, height, width)
    assert warped.grid.shape == (3, height, width, 2)
    assert warped.theta.shape == (3, 6)


def test_forward_is_localise_warp_sample():
    layer, image = transformer(nudge=0.1, sampler="bicubic", padding="border"), images()
    theta = torch.tensor([1.0, 0, 0, 0, 1, 0]) + layer.localisation(image)
    grid = F.affine_grid(theta.reshape(-1, 2, 3), list(image.shape), align_corners=False)
    expected = F.grid_sample(image, grid, "bicubic", "border", align_corners=False)
    torch.testing.assert_close(layer(image), expected, rtol=0, atol=1e-4)
    assert torch.equal(layer(image), layer.transform(image).image)


@pytest.mark.parametrize("name", list_warps())
def test_every_parameter_gets_a_gradient_after_one_step(name):
    layer = transformer(name)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1e-3)
    image, target = images(), images()
    for _ in range(2):
        optimiser.zero_grad()
        F.mse_loss(layer(image), target).backward()
        optimiser.step()
    for parameter_name, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


def test_samples_of_a_batch_do_not_meet():
    layer, image = transformer(nudge=0.1).double(), images(dtype=torch.float64)
    alone = torch.cat([layer(image[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(layer(image), alone, rtol=0, atol=1e-12)


def test_the_background_stays_the_background():
    layer = transformer(nudge=3.0, padding=[-0.42, 1.7])
    image = torch.tensor([-0.42, 1.7]).reshape(1, 2, 1, 1).expand(3, 2, *SIZE_HW)
    torch.testing.assert_close(layer(image), image, rtol=0, atol=1e-6)


def test_the_fill_moves_with_the_module_and_is_not_saved():
    layer = transformer(padding=[-0.42, 1.7])
    assert "fill" not in layer.state_dict()
    assert "identity" not in layer.state_dict()
    transformer().load_state_dict(layer.state_dict())
    assert layer.double().fill.dtype == torch.float64
    assert layer.to("meta").fill.device.type == "meta"


@pytest.mark.parametrize("zero", [0.0, [0.0, 0.0], torch.zeros(2)])
def test_a_fill_of_zero_costs_nothing(zero):
    assert transformer(padding=zero).fill is None


def test_a_localisation_network_of_another_width_is_told():
    layer = SpatialTransformer(create_warp("affine"), nn.Sequential(nn.Flatten(), nn.LazyLinear(4)))
    with pytest.raises(UsageError, match=r"\(3, 4\).*'affine' has 6 .*\(3, 6\)"):
        layer(images())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "bilinaer"}, "did you mean bilinear"),
        ({"padding": "zero"}, "did you mean zeros"),
    ],
)
def test_unknown_names_are_told_at_once(options, message):
    with pytest.raises(UsageError, match=message):
        transformer(**options)


def test_a_fill_that_does_not_fit_is_told():
    with pytest.raises(UsageError, match=r"shape \(3,\).*2 channels"):
        transformer(padding=[1.0, 2.0, 3.0])(images())


def test_nan_flows_through():
    layer, image = transformer(padding="border"), images()
    image[1, 0, 0, 0] = float("nan")
    lost = layer(image).isnan()
    assert lost[1].all()
    assert not lost[[0, 2]].any()


@pytest.mark.parametrize("padding", ["reflection", [-0.42, 1.7]])
def test_compiled_equals_eager(padding):
    layer = transformer(nudge=0.1, padding=padding, out_size=(6, 7)).double()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    image = images(dtype=torch.float64)
    results = [function(image) for function in (layer, compiled)]
    gradients = [torch.autograd.grad(r.square().sum(), list(layer.parameters())) for r in results]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    for eager, ours in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, eager, rtol=1e-10, atol=1e-10)


def test_channels_last_autocast_copies_and_the_device(device):
    layer, image = transformer(nudge=0.1, padding=[0.3, -0.6]), images()
    expected = layer(image)
    last = layer(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=0, atol=1e-5)
    assert torch.equal(copy.deepcopy(layer)(image), expected)
    with torch.autocast("cpu", torch.bfloat16):
        warped = layer.transform(image)
    assert warped.grid.dtype == torch.float32
    assert warped.image.dtype == torch.float32
    on_device = layer.to(device)(image.to(device)).cpu()
    torch.testing.assert_close(on_device, expected, rtol=0, atol=2e-2)


def test_its_print_names_warp_and_sampler():
    assert "affine" in repr(transformer())
    assert "sampler=bilinear" in repr(transformer())
