"""The pair of Not-so-Clevr: what they compute and what they hold."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from stn_core.datasets import list_datasets
from stn_core.errors import UsageError
from stn_core.models import create_model, list_models, model_info
from stn_core.session.budgets import get_budget
from tests.models.parts import layers_of

IN_SHAPE = (2, 1, 1)
CLASSES = 8 * 8
NAMES = ["coordinates_coordconv", "coordinates_deconv"]

both = pytest.mark.parametrize("name", NAMES)


def make(name: str, classes: int = CLASSES, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return create_model(name, IN_SHAPE, classes)


def pairs(batch: int = 6) -> Tensor:
    return torch.randn(batch, *IN_SHAPE, generator=torch.Generator().manual_seed(1))


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@st.composite
def drawn_pairs(draw: st.DrawFn) -> Tensor:
    numbers = st.floats(-2, 2, allow_subnormal=False)
    batch = draw(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3))
    return torch.tensor(batch, dtype=torch.float64)


@given(pairs=drawn_pairs(), side=st.integers(1, 6))
def test_coordconv_asks_the_same_of_every_pixel(pairs: Tensor, side: int) -> None:
    model = make("coordinates_coordconv", side**2).double()
    # From -1 to 1 along each axis, 0 where the canvas is one pixel; rows first.
    axis = torch.linspace(-1, 1, side, dtype=torch.float64) if side > 1 else torch.zeros(1).double()
    places = torch.cartesian_prod(axis, axis)
    # To each pixel what it is told, the pair and its own place, (B, pixels, 4).
    hidden = torch.cat(
        [pairs[:, None].expand(-1, side**2, 2), places.expand(len(pairs), -1, 2)], dim=2
    )
    for number, conv in enumerate(layers_of(model, nn.Conv2d)):
        hidden = (hidden.relu() if number else hidden) @ conv.weight.flatten(1).T + conv.bias
    # Sums of up to 64 terms of the order of 1, in another order: some ulp of float64.
    torch.testing.assert_close(
        model(pairs[:, :, None, None]), hidden[:, :, 0], rtol=1e-10, atol=1e-10
    )


def test_coordconv_is_as_small_on_any_canvas() -> None:
    for classes in (64 * 64, 5 * 5):
        assert parameters(make("coordinates_coordconv", classes)) == 7_553


@pytest.mark.parametrize(("doublings", "widths"), [(1, [1]), (2, [32, 1]), (3, [32, 32, 1])])
def test_small_deconvolutions_lose_their_first_layers(doublings: int, widths: list[int]) -> None:
    model = make("coordinates_deconv", 4**doublings)
    assert [layer.out_channels for layer in layers_of(model, nn.ConvTranspose2d)] == widths


def test_the_deconvolution_of_the_paper() -> None:
    widths = [2, 64, 64, 64, 32, 32, 1]
    weights = 9 * sum(math.prod(pair) for pair in itertools.pairwise(widths))
    normalised = 2 * sum(widths[1:-1])
    model = make("coordinates_deconv", 64 * 64)
    assert parameters(model) == weights + normalised + 1
    sides, canvas = [], torch.zeros(1, 2, 1, 1)
    for layer in layers_of(model, nn.ConvTranspose2d):
        canvas = layer(canvas)
        sides.append(tuple(canvas.shape[2:]))
    assert sides == [(2**k, 2**k) for k in range(1, 7)]


@both
def test_one_logit_a_class(name: str) -> None:
    for classes in (64 * 64, 16):
        assert make(name, classes)(pairs(2)).shape == (2, classes)


@both
@pytest.mark.parametrize("classes", [10, 4095])
def test_classes_that_fill_no_square_are_refused(name: str, classes: int) -> None:
    with pytest.raises(UsageError, match=rf"^model '{name}': .* is a square, not {classes}$"):
        make(name, classes)


@both
@pytest.mark.parametrize("in_shape", [(1, 28, 28), (2, 1, 3), (2, 3, 1)])
def test_images_are_refused(name: str, in_shape: tuple[int, int, int]) -> None:
    _, height, width = in_shape
    with pytest.raises(UsageError, match=f"model '{name}': .* 1x1, not {height}x{width}$"):
        create_model(name, in_shape, CLASSES)


@pytest.mark.parametrize(("classes", "side"), [(1, 1), (9, 3), (144, 12)])
def test_a_canvas_that_doubling_never_reaches_is_refused(classes: int, side: int) -> None:
    with pytest.raises(UsageError, match=f"canvas of {side}x{side}, which doubling 1x1 never"):
        make("coordinates_deconv", classes)


@both
def test_they_fit_coordinates_and_nothing_else(name: str) -> None:
    suited = {dataset for dataset in list_datasets() if model_info(name).suits(dataset)}
    assert suited == {"coordinates_uniform", "coordinates_quadrant"}


def test_no_other_model_fits_coordinates() -> None:
    for dataset in ("coordinates_uniform", "coordinates_quadrant"):
        assert [name for name in list_models() if model_info(name).suits(dataset)] == NAMES


def test_the_smoke_budget_trains_them_if_they_are_named() -> None:
    smoke = get_budget("smoke")
    for dataset in ("coordinates_uniform", "coordinates_quadrant"):
        assert dataset not in smoke.datasets
        for name in NAMES:
            recipe = smoke.recipe_for(dataset, model_info(name).family)
            assert recipe != smoke.recipe
