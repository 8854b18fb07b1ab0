"""A prepared model fits its dataset, and every parameter of it is trained at the recipe's rate."""

from __future__ import annotations

import collections
import dataclasses
import fnmatch

import pytest
import torch

from stn_core.datasets import load_dataset
from stn_core.models import create_model, list_models, model_info
from stn_core.session.budgets import get_budget, list_budgets
from stn_core.training.optimization import create_optimizer
from stn_core.training.run_cell import prepare_model
from tests.backgrounds import backgrounds_of

LOOKS_OUTSIDE = (
    *("stn", "stn_coordcls", "stn_tps", "stn_cpab", "stn_shared", "ic_stn", "polar"),
    *("deform_cnn", "st_cnn_affine", "resnext_stn", "spinal_stn_coordcls"),
)
"""Models of every family that reads an image beyond its edge."""


@pytest.mark.parametrize("name", LOOKS_OUTSIDE)
def test_every_transformer_shows_the_datasets_background(name: str) -> None:
    digits = load_dataset("digits")
    dataset = dataclasses.replace(digits, background=(37.0,))
    expected = (37 / 255 - digits.mean[0]) / digits.std[0]
    found = backgrounds_of(prepare_model(name, dataset, torch.device("cpu")))
    assert found
    for background in found:
        torch.testing.assert_close(background, torch.tensor([expected]))


def cells() -> list[tuple[str, str, str]]:
    """Each model with one dataset of every budget that it is trained on."""
    return [
        (budget, get_budget(budget).datasets[0], name)
        for budget in list_budgets()
        for name in list_models()
        if model_info(name).suits(get_budget(budget).datasets[0])
    ]


@pytest.mark.parametrize(("budget", "dataset", "name"), cells())
def test_each_parameter_is_in_one_group_at_its_own_rate(
    budget: str, dataset: str, name: str
) -> None:
    recipe = get_budget(budget).recipe_for(dataset, model_info(name).family)
    with torch.device("meta"):
        model = create_model(name, (1, 42, 42), 10)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates: dict[str, list[float]] = collections.defaultdict(list)
    for group in create_optimizer(model, recipe).param_groups:
        for parameter in group["params"]:
            rates[names[id(parameter)]].append(group["lr"])
    assert rates.keys() == dict(model.named_parameters()).keys()
    for parameter_name, found in rates.items():
        factors = [
            factor
            for pattern, factor in recipe.learning_rate_scales
            if fnmatch.fnmatchcase(parameter_name, pattern)
        ]
        scale = factors[0] if factors else 1.0
        assert found == [pytest.approx(recipe.learning_rate * scale, rel=1e-12)], parameter_name
