"""The optimisers against their papers, written out."""

import pytest
import torch
from torch import nn

from stn_core.layers.spatial_transformer import SpatialTransformer
from stn_core.models import create_model, model_info
from stn_core.session.budgets import Budget, get_budget, list_budgets, register_budget
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.optimization import create_optimizer
from stn_core.training.run_cell import RunSettings, run_cell, run_seed
from tests.models.parts import layers_of

STEPS = 4


def gradients():
    """A gradient (2, 3) a step, the same in every call."""
    return torch.randn(STEPS, 2, 3, generator=torch.Generator().manual_seed(3))


def stepped(recipe):
    """A weight (2, 3) of ones after the recipe's optimiser took those gradients."""
    layer = nn.Linear(3, 2, bias=False)
    nn.init.ones_(layer.weight)
    optimizer = create_optimizer(layer, recipe)
    for gradient in gradients():
        layer.weight.grad = gradient.clone()
        optimizer.step()
    return layer.weight.detach().double()


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_adamw_is_that_of_its_paper(weight_decay):
    """Loshchilov & Hutter 2019, algorithm 2, with the decay rates 0.9 and 0.999 and eps 1e-8."""
    rate, beta1, beta2 = 0.01, 0.9, 0.999
    weight = torch.ones(2, 3, dtype=torch.float64)
    mean, square = torch.zeros_like(weight), torch.zeros_like(weight)
    for step, gradient in enumerate(gradients().double(), start=1):
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        corrected = mean / (1 - beta1**step), square / (1 - beta2**step)
        update = corrected[0] / (corrected[1].sqrt() + 1e-8)
        weight = weight - rate * update - rate * weight_decay * weight
    recipe = Recipe(optimizer="adamw", learning_rate=rate, weight_decay=weight_decay)
    # Four steps in float32.
    torch.testing.assert_close(stepped(recipe), weight, rtol=1e-5, atol=0)


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_sgd_adds_its_weight_decay_to_the_gradient(weight_decay):
    rate, momentum = 0.1, 0.8
    weight = torch.ones(2, 3, dtype=torch.float64)
    velocity = torch.zeros_like(weight)
    for gradient in gradients().double():
        velocity = momentum * velocity + gradient + weight_decay * weight
        weight = weight - rate * velocity
    recipe = Recipe(
        optimizer="sgd", learning_rate=rate, momentum=momentum, weight_decay=weight_decay
    )
    torch.testing.assert_close(stepped(recipe), weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("budget", [name for name in list_budgets() if name != "predecessor"])
@pytest.mark.parametrize("name", ["ic_stn", "resnext_stn"])
def test_a_slow_localisation_rate_applies_to_all_of_that_network_and_nothing_else(budget, name):
    small = {"blocks": (1, 1, 1, 1)} if name == "resnext_stn" else {}
    model = create_model(name, (3, 56, 56), num_classes=10, **small)
    (transformer,) = layers_of(model, SpatialTransformer)
    recipe = get_budget(budget).recipe_for("cifar10", model_info(name).family)
    groups = create_optimizer(model, recipe).param_groups
    (slow,) = (group for group in groups if group["lr"] < recipe.learning_rate / 5)
    assert {id(p) for p in slow["params"]} == {id(p) for p in transformer.localisation.parameters()}


BATCH = Recipe(epochs=1, batch_size=200)


def scaled(*patterns):
    """A recipe whose scales, of 1, change nothing."""
    return BATCH.replace({"learning_rate_scales": [[pattern, 1] for pattern in patterns]})


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("budget", ["smoke", "unknown_budget"])
def test_a_run_notes_the_scales_that_no_parameter_takes(budget, caplog):
    cell = Cell("cnn", "few_digits", budget, scaled("transformer.*", "*bias", "*.no_such"))
    said = (
        "no parameter has a learning rate scaled by 'transformer.*', '*.no_such' of"
        " learning_rate_scales"
    )
    assert run_seed(cell, 0, RunSettings()).notes == (said,)
    run_cell(cell, [1])
    assert caplog.messages == [f"few_digits-cnn: {said}"]  # once, not for each seed


@pytest.mark.usefixtures("few_digits")
def test_a_run_does_not_note_the_scales_of_its_budget():
    scales = {"learning_rate_scales": (("transformer.*", 1),)}
    register_budget(Budget("mine", ("few_digits",), (1, 2), 2, BATCH, by_family={"*": scales}))
    notes = {}
    for patterns in (("*",), ("transformer.*",), ("transformer.*", "typo.*")):
        cell = Cell("cnn", "few_digits", "mine", scaled(*patterns))
        notes[patterns[-1]] = run_seed(cell, 0, RunSettings()).notes
    assert notes["*"] == notes["transformer.*"] == ()
    assert notes["typo.*"] == (
        "no parameter has a learning rate scaled by 'typo.*' of learning_rate_scales",
    )
