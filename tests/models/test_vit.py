"""The ViT's patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stn_core.errors import UsageError
from stn_core.models import create_model
from stn_core.models.vit import VisionTransformer, choose_patch, cut_into_patches


def test_patches_and_a_linear_layer_are_a_strided_convolution() -> None:
    images = torch.randn(2, 3, 12, 20, dtype=torch.float64)
    kernels = torch.randn(5, 3, 4, 5, dtype=torch.float64)
    tokens = F.linear(cut_into_patches(images, (4, 5)), kernels.flatten(1))
    expected = F.conv2d(images, kernels, stride=(4, 5)).flatten(2).mT
    # Sums of 60 products in float64, in another order.
    torch.testing.assert_close(tokens, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "patch", "chosen"),
    [
        ((28, 28), None, (7, 7)),
        ((32, 32), None, (8, 8)),
        ((28, 32), None, (7, 8)),
        ((56, 40), None, (7, 8)),
        ((33, 45), None, (11, 9)),
        ((16, 60), None, (8, 10)),
        ((45, 60), None, (9, 10)),
        ((28, 36), 4, (4, 4)),
        ((28, 36), (14, 9), (14, 9)),
    ],
)
def test_each_side_of_a_patch_is_chosen_on_its_own(
    size: tuple[int, int], patch: int | tuple[int, int] | None, chosen: tuple[int, int]
) -> None:
    assert choose_patch(size, patch) == chosen
    model = create_model("vit", (1, *size), num_classes=10, patch=patch)
    assert model(torch.zeros(1, 1, *size)).shape == (1, 10)


@pytest.mark.parametrize(
    ("size", "patch", "message"),
    [
        ((28, 31), None, "no patch of side 4 to 16 divides an image of 28x31"),
        ((28, 30), 7, "a patch of 7x7 does not divide an image of 28x30"),
        ((28, 30), (4, 7), "a patch of 4x7 does not divide an image of 28x30"),
        ((28, 30), (0, 7), "a patch's side must be a whole number of at least 1; got 0"),
    ],
)
def test_a_patch_that_does_not_divide_is_named_with_the_image(
    size: tuple[int, int], patch: int | tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(UsageError, match=f"model 'vit': .*{message}"):
        create_model("vit", (1, *size), num_classes=10, patch=patch)


def test_every_position_starts_as_another() -> None:
    """Small random numbers, as the paper's code: alike, they would tell the patches nothing."""
    model = create_model("vit", (1, 28, 28), num_classes=10)
    for parameter in (model.get_parameter("positions"), model.get_parameter("class_token")):
        values = parameter.detach()
        assert 0.015 < values.std() < 0.025
        assert values.unique().numel() > 0.9 * values.numel()
        assert values.abs().max() <= 2  # torch cuts trunc_normal_ at plus and minus 2


def test_logits_come_from_the_class_token() -> None:
    model = create_model("vit", (1, 28, 35), num_classes=10)
    # Without blocks no token hears of another, and the class token knows no image.
    model.blocks = nn.Identity()
    logits = model(torch.randn(4, 1, 28, 35))
    assert torch.equal(logits, logits[:1].expand(4, -1))


def test_the_order_of_patches_matters() -> None:
    torch.manual_seed(0)
    model = create_model("vit", (1, 28, 35), num_classes=10).eval()
    images = torch.randn(2, 1, 28, 35)
    assert not torch.allclose(model(images.roll(7, dims=3)), model(images))


def test_an_unknown_head_is_reported_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown head 'spinel'; did you mean spinal"):
        VisionTransformer((1, 28, 28), 10, (7, 7), head="spinel")


def test_images_of_another_shape_are_refused_though_they_have_as_many_patches() -> None:
    model = create_model("vit", (1, 28, 28), num_classes=10)
    with pytest.raises(UsageError, match=r"images of \(1, 28, 28\) .*; got \(1, 14, 56\)"):
        model(torch.zeros(2, 1, 14, 56))


def test_numpys_numbers_are_the_side_of_a_patch_and_others_are_reported() -> None:
    assert choose_patch((28, 28), np.int64(14)) == (14, 14)
    for patch in ("7", (7, 7, 7), (7, 3.5)):
        with pytest.raises(UsageError, match="a patch"):
            choose_patch((28, 28), patch)
