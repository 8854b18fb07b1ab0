"""The polar transformer network: its origin, and a classifier that wraps around."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stn_core.geometry.grids import normalised_to_pixel
from stn_core.models import TransformsImages, create_model
from stn_core.models.backbone import CLASSIFIER
from stn_core.models.polar import OriginPredictor, centroid, wrapped_stack

SHAPE = (2, 28, 35)


def images_of(shape: tuple[int, int, int] = SHAPE, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, *shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [(28, 36), (29, 35), (17, 18)])
def test_the_fresh_origin_is_the_centre(size: tuple[int, int]) -> None:
    model = create_model("polar", (2, *size), num_classes=5).double()
    assert isinstance(model, TransformsImages)
    origin = model.transform(images_of((2, *size))).theta
    # A mean of some hundred places.
    torch.testing.assert_close(origin, torch.zeros_like(origin), rtol=0, atol=1e-12)


def test_the_centroid_is_where_the_heat_is() -> None:
    heat = torch.zeros(2, 1, 5, 7, dtype=torch.float64)
    heat[0, 0, 3, 1] = heat[1, 0, 0, 6] = 100
    places = normalised_to_pixel(centroid(heat), (5, 7))
    # exp(-100) is left to all other places.
    torch.testing.assert_close(places, places.new_tensor([[1, 3], [6, 0]]), rtol=0, atol=1e-12)
    heat[0, 0, 3, 5] = 100
    halfway = normalised_to_pixel(centroid(heat), (5, 7))[0]
    torch.testing.assert_close(halfway, halfway.new_tensor([3, 3]), rtol=0, atol=1e-12)


def hot(channels: int) -> OriginPredictor:
    """A predictor whose heat lies on what is in the picture, and nowhere else."""
    torch.manual_seed(0)
    predictor = OriginPredictor(channels).double()
    with torch.no_grad():
        for name, parameter in predictor.named_parameters():
            parameter.abs_() if name.endswith("weight") else parameter.zero_()
        predictor.heat.weight.fill_(100)
    return predictor


@pytest.mark.parametrize("size_hw", [(40, 52), (41, 53)], ids=["even", "odd"])
@pytest.mark.parametrize(("down", "right"), [(0, 2), (-4, 0), (6, -8)])
def test_the_origin_moves_with_what_is_in_the_picture(
    down: int, right: int, size_hw: tuple[int, int]
) -> None:
    images = torch.zeros(3, 1, *size_hw, dtype=torch.float64)
    images[..., 15:25, 20:32] = images_of((1, 10, 12)).abs()
    moved = images.roll((down, right), dims=(2, 3))
    predictor = hot(1)
    step = normalised_to_pixel(predictor(moved), size_hw) - normalised_to_pixel(
        predictor(images), size_hw
    )
    torch.testing.assert_close(step, step.new_tensor([right, down]).expand(3, 2), atol=1e-9, rtol=0)


def test_the_picture_follows_what_is_in_the_image() -> None:
    """So logits do not see where it was: by whole places of the heat, exactly."""
    model = create_model("polar", (1, 40, 52), num_classes=5).double().eval()
    model.transformer.locate = hot(1)
    images = torch.zeros(3, 1, 40, 52, dtype=torch.float64)
    images[..., 15:25, 20:32] = images_of((1, 10, 12)).abs()
    moved = images.roll((4, -6), dims=(2, 3))
    torch.testing.assert_close(model(moved), model(images), rtol=0, atol=1e-9)


def test_features_of_a_rolled_picture_are_rolled() -> None:
    """Four rows, which poolings by 2 make one: the axis of angles has no edge, at any depth."""
    torch.manual_seed(0)
    stack = wrapped_stack(2, CLASSIFIER).double().eval()
    pictures = images_of((2, 24, 30))
    features = stack(pictures)
    assert features.shape == (3, 20, 6, 4)
    torch.testing.assert_close(
        stack(pictures.roll(4, dims=2)), features.roll(1, dims=2), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 28, 35), (1, 35, 28), (3, 42, 42)], ids=str)
def test_the_picture_wraps_whatever_the_image(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    model = create_model("polar", shape, num_classes=5).double().eval()
    pictures = model.transform(images_of(shape)).image
    features = model.classifier.features
    torch.testing.assert_close(
        features(pictures.roll(4, dims=2)), features(pictures).roll(1, dims=2), rtol=0, atol=1e-12
    )


def test_heat_is_weighed_in_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        origin = OriginPredictor(2)(images_of().float())
    assert origin.dtype == torch.float32
    torch.testing.assert_close(origin[:, 1], torch.zeros(3), rtol=0, atol=1e-6)


def test_outside_of_the_image_is_the_background() -> None:
    model = create_model("polar", SHAPE, num_classes=5, background=(-0.4, 0.3)).double()
    with torch.no_grad():
        model.transformer.locate.heat.weight.fill_(1)
    images = torch.ones(3, *SHAPE, dtype=torch.float64)
    # From the centre the last radius reaches, straight up, beyond the upper edge.
    up = model.transform(images).image[:, :, 21, -1]
    torch.testing.assert_close(up, up.new_tensor([-0.4, 0.3]).expand(3, 2), rtol=0, atol=1e-12)
