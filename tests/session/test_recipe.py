"""Recipes, budgets and cells are plain data that cannot be misread."""

import dataclasses
import json

import pytest

from stn_core.errors import UsageError
from stn_core.session.recipe import Cell, Recipe, get_budget, list_budgets, parse_setting

OTHER = {
    "optimizer": "sgd",
    "learning_rate": 0.02,
    "weight_decay": 0.5,
    "momentum": 0.9,
    "schedule": "constant",
    "warmup_fraction": 0.5,
    "batch_size": 7,
    "epochs": 9,
    "precision": "bfloat16",
    "max_shift_pixels": 2,
    "horizontal_flip": True,
    "label_smoothing": 0.1,
    "patience": 4,
    "min_delta": 0.01,
    "learning_rate_scales": (("*.localisation.*", 0.1),),
}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Recipe)])
def test_every_field_changes_the_hash(name):
    assert Recipe().replace({name: OTHER[name]}).hash() != Recipe().hash()


def test_recipe_survives_json():
    recipe = Recipe().replace(OTHER)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_an_integer_is_a_float_where_a_float_is_meant():
    assert Recipe().replace({"learning_rate": 1}).hash() == Recipe(learning_rate=1.0).hash()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"epoch": 3}, "did you mean epochs"),
        ({"epochs": "3"}, "epochs must be int"),
        ({"epochs": True}, "epochs must be int"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"optimizer": "adam"}, "did you mean adamw"),
        ({"patience": 0}, "patience"),
        ({"learning_rate_scales": [["a"]]}, "pairs"),
        ({"learning_rate_scales": ["a1"]}, "pairs"),
        ({"learning_rate_scales": {"a1": 1}}, "pairs"),
        ({"learning_rate_scales": [["a", -1]]}, "learning_rate_scales"),
    ],
)
def test_a_bad_field_is_named(changes, complaint):
    with pytest.raises(UsageError, match=complaint):
        Recipe().replace(changes)


def test_from_dict_misses_nothing():
    values = Recipe().to_dict()
    del values["momentum"]
    with pytest.raises(UsageError, match="momentum missing"):
        Recipe.from_dict(values)


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("epochs=5", ("epochs", 5)),
        ("learning_rate=1e-3", ("learning_rate", 1e-3)),
        ("learning_rate=.01", ("learning_rate", 0.01)),
        ("optimizer=sgd", ("optimizer", "sgd")),
        ("patience=null", ("patience", None)),
        ("horizontal_flip=true", ("horizontal_flip", True)),
        ('learning_rate_scales=[["*", 2]]', ("learning_rate_scales", (("*", 2.0),))),
    ],
)
def test_a_setting_of_the_command_line(text, setting):
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["epochs", "epochs=five", "horizontal_flip=1", "=3"])
def test_a_bad_setting_is_refused(text):
    with pytest.raises(UsageError):
        parse_setting(text)


def test_the_first_matching_group_scales_the_learning_rate():
    recipe = Recipe(learning_rate_scales=(("*bias", 2.0), ("head.*", 0.5)))
    assert recipe.learning_rate_scale("head.bias") == 2.0
    assert recipe.learning_rate_scale("head.weight") == 0.5
    assert recipe.learning_rate_scale("body.weight") == 1.0


@pytest.mark.parametrize("name", list_budgets())
def test_a_budget_changes_a_recipe_by_dataset_then_by_family_then_by_both(name):
    budget = get_budget(name)
    for pattern in (*budget.by_dataset, "of one's own"):
        dataset = pattern.replace("*", "x")
        by_dataset = budget.recipe.replace(budget.by_dataset.get(pattern, {}))
        assert budget.recipe_for(dataset, "of one's own") == by_dataset
        for families, changes in budget.by_family.items():
            by_both = budget.by_dataset_and_family.get((pattern, families), {})
            expected = by_dataset.replace(changes).replace(by_both)
            assert budget.recipe_for(dataset, families.replace("*", "")) == expected


def test_a_family_may_have_a_recipe_of_its_own():
    smoke = get_budget("smoke")
    assert smoke.recipe_for("digits", "vit") != smoke.recipe_for("digits", "stn")
    assert smoke.recipe_for("digits", "cnn") == smoke.recipe_for("digits", "stn")


def test_a_cell_survives_json():
    cell = Cell("stn", "mnist", "quick", Recipe().replace(OTHER), is_search=True)
    assert Cell.from_dict(json.loads(json.dumps(cell.to_dict()))) == cell
    assert (cell.key, cell.id) == ("quick/mnist/stn", "mnist-stn")


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
    recipe = budget.recipe_for("a_x", "of one's own")
    assert (recipe.epochs, recipe.batch_size) == (5, 7)
    recipe = budget.recipe_for("a_y", "vit")
    assert (recipe.epochs, recipe.batch_size) == (4, 2)
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.3, 0.5, 0.7)
    recipe = budget.recipe_for("a_y", "big_vit")
    assert (recipe.epochs, recipe.batch_size) == (3, 2)
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.3, 0.1, 0.6)
    assert budget.recipe_for("a", "of one's own") == budget.recipe


def test_distorted_sets_train_longer_than_the_plain_one():
    quick = get_budget("quick")
    assert quick.recipe_for("fashion_mnist", "stn") == quick.recipe_for("mnist", "stn")
    assert quick.recipe_for("mnist_rts", "stn").epochs > quick.recipe_for("mnist", "stn").epochs
    assert quick.recipe_for("fashion_mnist_e", "stn") == quick.recipe_for("mnist_e", "stn")
