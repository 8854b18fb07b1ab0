"""warp_image: a warp and a sampler in one call, with its arguments checked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import stn_core
from stn_core import create_warp, list_samplers, list_warps, sample, warp_image
from stn_core.errors import UsageError
from stn_core.geometry.warps import warp_for


def images(batch=2, channels=3, size_hw=(6, 9)):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, *size_hw, dtype=torch.float64, generator=generator)


def draw_theta(warp, batch=2):
    offset = torch.linspace(-0.05, 0.1, batch * warp.num_params, dtype=torch.float64)
    return warp.identity(dtype=torch.float64) + offset.view(batch, -1)


@pytest.mark.parametrize("name", list_warps())
def test_it_is_the_warps_grid_then_the_sampler(name):
    image = images()
    warp = warp_for(name, (6, 9))
    theta = draw_theta(warp)
    expected = sample(image, warp.grid(theta, (4, 7)), "bicubic", 0.3)
    for given in (name, warp):
        assert torch.equal(warp_image(image, given, theta, (4, 7), "bicubic", 0.3), expected)


@pytest.mark.parametrize("mode", list_samplers())
def test_the_identity_keeps_the_image(mode):
    image, theta = images(), create_warp("affine").identity(dtype=torch.float64)
    kept = warp_image(image, "affine", theta, mode=mode)
    torch.testing.assert_close(kept, image, rtol=0, atol=1e-12)  # roundings of positions


def test_one_theta_serves_all_images():
    warp, image = create_warp("affine"), images()
    theta = draw_theta(warp, 1)
    expected = warp_image(image, warp, theta.expand(2, -1))
    assert torch.equal(warp_image(image, warp, theta), expected)
    assert torch.equal(warp_image(image, warp, theta[0]), expected)


@pytest.mark.parametrize("out_hw", [(1, 3), (2, 1), (1, 1)])
def test_antialiased_sees_what_a_single_pixel_covers(out_hw):
    image = images(size_hw=(8, 12))[..., : 4 * out_hw[1]][..., : 4 * out_hw[0], :]
    theta = create_warp("affine").identity(dtype=torch.float64)
    reduced = warp_image(image, "affine", theta, out_hw, "antialiased", "border")
    # The steps are powers of two and alike, so the octave is the mean over each pixel.
    torch.testing.assert_close(reduced, F.avg_pool2d(image, 4), rtol=0, atol=1e-12)


def test_the_gradient_reaches_theta_and_image():
    image, theta = images().requires_grad_(), draw_theta(create_warp("tps")).requires_grad_()
    warp_image(image, "tps", theta).square().sum().backward()
    assert image.grad.any()
    assert theta.grad.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warp": "afine"}, "unknown warp 'afine'; did you mean affine"),
        ({"theta": torch.full((2, 6), torch.nan)}, "'affine' holds 12 values that are not finite"),
        ({"theta": torch.zeros(2, 8)}, r"\(B, 6\); got \(2, 8\), which fits homography or"),
        ({"theta": torch.zeros(3, 6)}, r"\(6,\) or \(2, 6\) .*\(2, 3, 6, 9\); got \(3, 6\)"),
        ({"theta": torch.zeros(1, 2, 6)}, r"got \(1, 2, 6\)"),
        ({"image": torch.zeros(3, 6, 9)}, r"\(B, C, H, W\); got \(3, 6, 9\)"),
        ({"size_hw": (0, 4)}, r"at least \(1, 1\); got \(0, 4\)"),
        ({"image": [[0.5]]}, r"a tensor or a numpy array \(np.asarray\(image\)\); got a list"),
        ({"theta": np.array(["1"] * 6)}, "theta must hold numbers; got an array of <U1"),
        ({"size_hw": np.array([4, 7])}, "size_hw must be a height and a width"),
        ({"size_hw": 5}, "size_hw must be a height and a width; got 5"),
        ({"size_hw": (5,)}, r"size_hw must be a height and a width; got \(5,\)"),
        ({"size_hw": ("4", "7")}, r"size_hw must be whole numbers; got \('4', '7'\)"),
        ({"size_hw": (np.float32(4), 7)}, "size_hw must be whole numbers; got"),
        ({"size_hw": (True, 7)}, r"size_hw must be whole numbers; got \(True, 7\)"),
        ({"size_hw": (None, 7)}, r"size_hw must be whole numbers; got \(None, 7\)"),
        ({"warp": None}, "a warp is one of affine, .* not None"),
        (
            {"theta": [1.0, 0, 0, 0, 1, 0]},
            "theta of .* 'affine' must be a tensor; got a list",
        ),
        ({"theta": torch.tensor([1, 0, 0, 0, 1, torch.nan])}, "holds 1 value that is not finite"),
        ({"mode": "bilinaer"}, "did you mean bilinear"),
        ({"padding": "zero"}, "did you mean zeros"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(arguments, message):
    given = {"image": images(), "warp": "affine", "theta": draw_theta(create_warp("affine"))}
    with pytest.raises(UsageError, match=message) as error:
        warp_image(**(given | arguments))
    assert "\n" not in str(error.value)


def test_a_fill_may_be_an_array_without_axes():
    shift, image = torch.tensor([2.0, 0.0]), images()  # by a whole width: nothing but the fill
    warped = warp_image(image, "translation", shift, padding=np.array(0.3))
    torch.testing.assert_close(warped, torch.full_like(image, 0.3))


def test_it_is_public():
    assert "warp_image" in stn_core.__all__


def photograph(*shape):
    values = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    return values.to(torch.uint8).numpy()


@pytest.mark.parametrize("shape", [(6, 9, 3), (6, 9, 1), (6, 9)])
@pytest.mark.parametrize("size_hw", [None, (4, 7)])
def test_an_array_is_warped_as_its_tensor_and_rounded(shape, size_hw):
    image, warp = photograph(*shape), create_warp("affine")
    theta = draw_theta(warp, 1)
    pixels = torch.from_numpy(image).reshape(6, 9, -1).permute(2, 0, 1)[None].double()
    expected = warp_image(pixels, warp, theta, size_hw, padding=7.0)[0].permute(1, 2, 0)
    for given in (theta, theta.numpy(), theta[0].numpy()):
        warped = warp_image(image, warp, given, size_hw, padding=7.0)
        assert (warped.dtype, warped.shape[2:]) == (np.uint8, shape[2:])
        difference = warped.reshape(expected.shape).astype(float) - expected.numpy()
        assert np.abs(difference).max() <= 0.5 + 1e-3  # rounded from float32
    assert np.array_equal(warp_image(image, warp, warp.identity()), image)


def test_arrays_may_be_read_only_and_run_backwards():
    image, theta = photograph(6, 9, 3), np.array([0.0, 0.1, 1.0, 0.2, 1.0, 0.0])
    expected = warp_image(image, "affine", theta[::-1].copy())
    image.flags.writeable = theta.flags.writeable = False
    assert np.array_equal(warp_image(image, "affine", theta[::-1]), expected)


@pytest.mark.parametrize("dtype", [">f8", ">i2", np.longdouble, np.uint64, np.float16])
def test_theta_may_be_an_array_of_any_numbers(dtype):
    theta = np.array([1, 0, 1, 0, 2, 0])
    expected = warp_image(photograph(6, 9), "affine", theta.astype(float)).astype(int)
    warped = warp_image(photograph(6, 9), "affine", theta.astype(dtype))
    assert np.abs(warped - expected).max() <= 1  # float32 and float64 round a half apart


def test_arrays_with_negative_strides_work_and_overshoots_are_clipped():
    image = photograph(6, 9, 3)
    flipped = image[::-1, :, ::-1]  # a view with negative strides, as from OpenCV's colours
    theta = create_warp("affine").identity()
    assert np.array_equal(warp_image(flipped, "affine", theta), flipped)
    edge = np.zeros((4, 8), np.uint8)
    edge[:, 4:] = 255
    shifted = warp_image(edge, "translation", torch.tensor([0.1, 0.0]), mode="bicubic")
    assert shifted[1, 1] == 0  # bicubic overshoots beside the edge, and wraps around in uint8
    assert shifted[1, 6] == 255


@pytest.mark.parametrize(
    "image", [np.zeros((6, 9, 3)), np.zeros((2, 6, 9, 3), np.uint8), np.zeros((0, 9, 3), np.uint8)]
)
def test_an_array_of_another_kind_is_refused(image):
    with pytest.raises(UsageError, match=r"an array is uint8, \(H, W, C\) or \(H, W\); got "):
        warp_image(image, "affine", create_warp("affine").identity())
