"""The summary of a model against what it is."""

from __future__ import annotations

import pytest
import torch

from stn_core.errors import UsageError
from stn_core.models import create_model, summarize_model


def test_it_counts_every_parameter_and_names_every_layer() -> None:
    model = create_model("stn_coordboth", (3, 32, 40), num_classes=7)
    summary = summarize_model("stn_coordboth", (3, 32, 40), num_classes=7)
    assert summary.total_params == sum(p.numel() for p in model.parameters())
    table = str(summary)
    for layer in ("SpatialTransformer", "CoordConv2d", "MaxPool2d", "Dropout2d", "Linear"):
        assert layer in table
    assert "[1, 7]" in table


def test_a_users_model_is_summarised_and_not_changed() -> None:
    model = create_model("cnn", (1, 28, 28), num_classes=10)
    assert summarize_model(model).total_params == 21_840
    assert model.training


def test_options_reach_the_model() -> None:
    coarse = summarize_model("vit", (1, 28, 28), patch=14)
    assert (
        coarse.total_params
        == summarize_model(create_model("vit", (1, 28, 28), 10, patch=14)).total_params
    )
    with pytest.raises(UsageError, match="no option 'pitch'"):
        summarize_model("vit", pitch=14)
    with pytest.raises(UsageError, match="options go with a model's name, not with a model: patch"):
        summarize_model(create_model("vit", (1, 28, 28), 10), patch=14)


def test_a_model_of_other_images_or_of_another_precision() -> None:
    model = create_model("cnn", (3, 32, 32), 10)
    with pytest.raises(UsageError, match=r"the model does not accept images of \(1, 28, 28\)"):
        summarize_model(model)
    assert summarize_model(model.double(), (3, 32, 32)).total_params == 31_340


def test_the_model_and_the_random_numbers_are_left_as_they_were() -> None:
    model = create_model("cnn", (1, 28, 28), 10)
    frozen = model.get_submodule("features").eval()
    torch.manual_seed(1)
    summarize_model(model)
    drawn = torch.rand(())
    assert (model.training, frozen.training) == (True, False)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(()), drawn)
