"""What a saved model says of itself comes back as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stn_core.errors import printable
from stn_core.models import register_model, registry
from stn_core.models.saved_models import (
    ModelConfiguration,
    SavedModel,
    read_saved_model,
    save_model,
)
from tests.models.test_saved_models import CONFIGURATION, Tied


@pytest.fixture(scope="module", autouse=True)
def own_model() -> Iterator[None]:
    """A user's model, registered for this module only."""
    register_model(name="tied")(Tied)
    yield
    registry._MODELS._entries.pop("tied", None)


@given(values=st.lists(st.integers(0, 255), min_size=2, max_size=30))
def test_pixels_undo_normalisation(values: list[int]) -> None:
    rows = torch.tensor(values, dtype=torch.uint8).expand(3, 2, 1, -1)
    saved = SavedModel(nn.Identity(), CONFIGURATION)
    assert torch.equal(saved.pixels(saved.normalise(rows)), rows)
    dark, bright = torch.tensor([-1e9, 1e9]).reshape(2, 1, 1, 1).expand(2, 2, 1, 1)
    assert not saved.pixels(dark).any()
    assert (saved.pixels(bright) == 255).all()


def numbers(count: int) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * count)


@st.composite
def configurations(draw: st.DrawFn) -> ModelConfiguration:
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)))
    texts = {"dataset": st.text(), "data_hash": st.text(), "budget": st.text()}
    texts |= {"recipe_hash": st.text(), "stn_core": st.text()}
    return ModelConfiguration(
        model="tied",
        in_shape=shape,
        class_names=draw(st.lists(st.text().map(printable), min_size=1, max_size=4).map(tuple)),
        background=draw(numbers(shape[0])),
        mean=draw(numbers(shape[0])),
        std=draw(st.tuples(*[st.floats(0, 1, exclude_min=True)] * shape[0])),
        seed=draw(st.integers(0, 2**53)),
        kept_epoch=draw(st.integers(1, 2**53)),
        test_accuracy=draw(st.none() | st.floats(0, 1)),
        imports=draw(st.lists(st.text(), max_size=3).map(tuple)),
        **{name: draw(text) for name, text in texts.items()},
    )


@given(configuration=configurations())
@settings(max_examples=50)
def test_a_configuration_comes_back_as_it_was(configuration: ModelConfiguration) -> None:
    model = Tied(configuration.in_shape, configuration.num_classes)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder, "a"), model, configuration)
        assert read_saved_model(Path(folder, "a")).configuration == configuration
