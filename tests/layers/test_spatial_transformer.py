"""The spatial transformer: every warp and every sampler, from the identity on."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stn_core.errors import UsageError
from stn_core.geometry.sampling import list_samplers, sample
from stn_core.geometry.warps import create_warp, list_warps
from stn_core.layers import SpatialTransformer, WarpedImages, zero_residual_head

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


@pytest.mark.parametrize("out_size", [None, (5, 7), (14, 4)])
def test_shapes(out_size):
    warped = transformer(nudge=0.1, out_size=out_size).transform(images())
    height, width = out_size or SIZE_HW
    assert isinstance(warped, WarpedImages)
    assert warped.image.shape == (3, 2, height, width)
    assert warped.grid.shape == (3, height, width, 2)
    assert warped.theta.shape == (3, 6)


@pytest.mark.parametrize(
    ("size_hw", "out_size"), [((8, 16), (1, 1)), ((8, 16), (1, 4)), ((16, 8), (4, 1))]
)
def test_antialiased_sees_what_a_single_pixel_covers(size_hw, out_size):
    image = torch.randn(3, 2, *size_hw)
    layer = SpatialTransformer(
        "affine",
        nn.Sequential(nn.Flatten(), zero_residual_head(2 * 8 * 16, create_warp("affine"))),
        sampler="antialiased",
        padding="border",
        out_size=out_size,
    )
    warped = layer.transform(image)
    # All steps are powers of two and alike, so the octave is the mean over each pixel.
    kernel = (size_hw[0] // out_size[0], size_hw[1] // out_size[1])
    torch.testing.assert_close(warped.image, F.avg_pool2d(image, kernel), rtol=0, atol=1e-5)
    assert warped.grid.shape == (3, *out_size, 2)


def test_antialiased_keeps_an_image_of_one_row():
    image = torch.randn(2, 1, 1, 9)
    head = nn.Sequential(nn.Flatten(), zero_residual_head(9, create_warp("affine")))
    layer = SpatialTransformer("affine", head, sampler="antialiased")
    torch.testing.assert_close(layer(image), image, rtol=0, atol=1e-5)


def test_a_warp_may_be_given_by_name():
    layer = SpatialTransformer("affine", nn.Identity())
    assert layer.warp.name == "affine"
    assert zero_residual_head(3, "tps").out_features == create_warp("tps").num_params
    with pytest.raises(UsageError, match="did you mean affine"):
        SpatialTransformer("afine", nn.Identity())
    with pytest.raises(UsageError, match="did you mean affine"):
        zero_residual_head(3, "afine")
    with pytest.raises(UsageError, match=r"a warp is one of affine, .* not None"):
        SpatialTransformer(None, nn.Identity())


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


def test_samples_of_a_batch_do_not_affect_each_other():
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


def test_the_fill_is_exact_in_every_type():
    layer, image = transformer(padding=[0.1, -0.7], nudge=1.0).double(), images(dtype=torch.float64)
    assert layer.fill.tolist() == [0.1, -0.7]
    warped = layer.transform(image)
    assert torch.equal(warped.image, sample(image, warped.grid, padding=[0.1, -0.7]))


def test_theta_of_a_bfloat16_layer_keeps_small_residuals():
    layer, image = transformer(nudge=2**-8).bfloat16(), images().bfloat16()
    residual = layer.localise(image)
    assert residual.dtype == torch.bfloat16
    warped = layer.transform(image)
    expected = layer.warp.identity() + residual.float()
    assert torch.equal(warped.theta, expected)
    assert not torch.equal(warped.theta.bfloat16(), expected)
    assert warped.image.dtype == torch.bfloat16


def test_it_can_be_built_on_the_meta_device():
    with torch.device("meta"):
        layer = transformer(padding=[0.5, -0.1])
    assert layer.fill.is_meta
    assert layer.to_empty(device="cpu").fill.tolist() == torch.tensor([0.5, -0.1]).tolist()


def test_numpys_whole_numbers_are_a_size():
    layer = transformer(out_size=(np.int64(4), np.int32(7)))
    assert layer(images()).shape == (3, 2, 4, 7)


def test_unsaved_constants_are_rebuilt_on_an_empty_module():
    layer = transformer(padding=[-0.42, 1.7])
    rebuilt = copy.deepcopy(layer).to("meta").to_empty(device="cpu")
    rebuilt.load_state_dict(layer.state_dict())
    assert torch.equal(rebuilt.identity, layer.identity)
    assert torch.equal(rebuilt.fill, layer.fill)
    image = images()
    assert torch.equal(rebuilt(image), layer(image))


@pytest.mark.parametrize("zero", [0.0, [0.0, 0.0], torch.zeros(2)])
def test_a_fill_of_zero_costs_nothing(zero):
    assert transformer(padding=zero).fill is None


def test_a_localisation_network_of_another_width_is_reported():
    layer = SpatialTransformer(create_warp("affine"), nn.Sequential(nn.Flatten(), nn.LazyLinear(4)))
    with pytest.raises(UsageError, match=r"\(3, 4\).*'affine' has 6 .*\(3, 6\)"):
        layer(images())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "bilinaer"}, "did you mean bilinear"),
        ({"sampler": None}, "one of antialiased, .* not None"),
        ({"padding": None}, "one of zeros, .* not None"),
        ({"padding": float("inf")}, "a fill must be finite; got inf"),
        ({"padding": torch.tensor([0.0, torch.nan])}, r"a fill must be finite; got \[0.0, nan\]"),
        ({"out_size": 5}, r"\(height, width\) in pixels, not 5"),
        ({"out_size": (5, 0)}, r"not \(5, 0\)"),
        ({"out_size": (2.5, 3)}, r"not \(2.5, 3\)"),
        ({"padding": "zero"}, "did you mean zeros"),
    ],
)
def test_wrong_options_are_reported_at_once(options, message):
    with pytest.raises(UsageError, match=message):
        transformer(**options)


def test_a_fill_that_does_not_fit_is_reported():
    with pytest.raises(UsageError, match=r"shape \(3,\).*2 channels"):
        transformer(padding=[1.0, 2.0, 3.0])(images())


def test_nan_flows_through():
    layer, image = transformer(padding="border"), images()
    image[1, 0, 0, 0] = float("nan")
    lost = layer(image).isnan()
    assert lost[1].all()
    assert not lost[[0, 2]].any()


@pytest.mark.nightly
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
