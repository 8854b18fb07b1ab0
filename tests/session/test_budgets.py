"""A budget decides the recipe by dataset, by family, then by both."""

import dataclasses

import pytest

from stn_core.errors import UsageError
from stn_core.session.budgets import get_budget, list_budgets, register_budget


@pytest.mark.parametrize("name", list_budgets())
def test_a_budget_changes_a_recipe_by_dataset_then_by_family_then_by_both(name):
    budget = get_budget(name)
    for pattern in (*budget.by_dataset, "unknown"):
        dataset = pattern.replace("*", "x")
        by_dataset = budget.recipe.replace(budget.by_dataset.get(pattern, {}))
        assert budget.recipe_for(dataset, "unknown") == by_dataset
        for families, changes in budget.by_family.items():
            by_both = budget.by_dataset_and_family.get((pattern, families), {})
            expected = by_dataset.replace(changes).replace(by_both)
            assert budget.recipe_for(dataset, families.replace("*", "")) == expected


def test_a_family_may_have_a_recipe_of_its_own():
    smoke = get_budget("smoke")
    assert smoke.recipe_for("digits", "vit") != smoke.recipe_for("digits", "stn")
    assert smoke.recipe_for("digits", "cnn") == smoke.recipe_for("digits", "stn")


def test_every_pattern_that_matches_counts_and_the_last_overrules():
    budget = dataclasses.replace(
        get_budget("smoke"),
        by_dataset={
            "a_*": {"epochs": 3, "batch_size": 7},
            "b": {"epochs": 9},
            "*_x": {"epochs": 5},
        },
        by_family={"*vit": {"learning_rate": 0.3, "momentum": 0.5}, "big_*": {"momentum": 0.1}},
        by_dataset_and_family={
            ("*_y", "vit"): {"epochs": 4},
            ("a_*", "*vit"): {"batch_size": 2, "weight_decay": 0.7},
            ("a_*", "big_*"): {"weight_decay": 0.6},
        },
    )
    recipe = budget.recipe_for("a_x", "unknown")
    assert (recipe.epochs, recipe.batch_size) == (5, 7)
    recipe = budget.recipe_for("a_y", "vit")
    assert (recipe.epochs, recipe.batch_size) == (4, 2)
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.3, 0.5, 0.7)
    recipe = budget.recipe_for("a_y", "big_vit")
    assert (recipe.epochs, recipe.batch_size) == (3, 2)
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.3, 0.1, 0.6)
    assert budget.recipe_for("a", "unknown") == budget.recipe


def test_distorted_sets_train_longer_than_the_plain_one():
    quick = get_budget("quick")
    assert quick.recipe_for("fashion_mnist", "stn") == quick.recipe_for("mnist", "stn")
    assert quick.recipe_for("mnist_rts", "stn").epochs > quick.recipe_for("mnist", "stn").epochs
    assert quick.recipe_for("fashion_mnist_e", "stn") == quick.recipe_for("mnist_e", "stn")


def test_a_models_own_fields_come_last():
    budget = dataclasses.replace(
        get_budget("smoke"),
        by_family={"cnn": {"epochs": 3, "batch_size": 7}},
        by_model={"cnn_small*": {"epochs": 5}, "cnn[hidden=9]": {"epochs": 4}},
    )
    assert budget.recipe_for("digits", "cnn", "cnn").epochs == 3
    assert budget.recipe_for("digits", "cnn", "cnn_small").epochs == 5
    assert budget.recipe_for("digits", "cnn", "cnn_small").batch_size == 7
    assert budget.recipe_for("digits", "cnn", "cnn[hidden=9]").epochs == 4


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"datasets": ()}, "needs a name and one or more datasets"),
        ({"datasets": "digits"}, r"datasets are a tuple of names, such as \('digits',\)"),
        ({"name": ""}, "needs a name and one or more datasets"),
        ({"looks": ()}, "needs looks of rising seed counts"),
        ({"looks": (6, 3)}, "needs looks of rising seed counts"),
        ({"looks": (0, 3)}, "needs looks of rising seed counts"),
        ({"baseline_seeds": 1}, "needs baseline_seeds of 2 or more"),
    ],
)
def test_a_budget_that_could_judge_nothing_is_refused(changes, complaint):
    with pytest.raises(UsageError, match=complaint):
        dataclasses.replace(get_budget("smoke"), **changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": 3}, "name must be text, not 3"),
        ({"datasets": 3}, "datasets must be a list, not 3"),
        ({"looks": 3}, "looks must be a list, not 3"),
        ({"looks": ("a",)}, r"looks\[0\] must be a whole number, not 'a'"),
        ({"baseline_seeds": "20"}, "baseline_seeds must be a whole number, not '20'"),
        ({"recipe": None}, "recipe must be an object, not None"),
        ({"min_drops": 0.3}, "min_drops must be an object, not 0.3"),
        ({"min_drops": {"*": "0.3"}}, "each value of min_drops must be a number"),
        ({"by_dataset": {"digits": 3}}, "each value of by_dataset must be an object"),
        ({"by_dataset_and_family": {"a": {}}}, "each key of by_dataset_and_family must be a list"),
        ({"by_model": {"x": {"epoch": 3}}}, "by_model of 'x': .*did you mean epochs"),
        ({"by_family": {"x": {"epochs": "3"}}}, "by_family of 'x': .*epochs must be a whole"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(changes, complaint):
    with pytest.raises(UsageError, match=f"^the budget .*: {complaint}"):
        dataclasses.replace(get_budget("smoke"), **changes)


def test_a_budget_is_registered_once():
    with pytest.raises(UsageError, match="the budget 'smoke' is registered already"):
        register_budget(get_budget("smoke"))
