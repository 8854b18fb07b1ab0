"""Recipes are plain data that cannot be misread."""

import dataclasses
import json

import numpy as np
import pytest

from stn_core.errors import UsageError
from stn_core.session.recipe import Recipe, parse_setting

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
        ({"epochs": "3"}, "epochs must be a whole number, not '3'"),
        ({"epochs": True}, "epochs must be a whole number, not True"),
        ({"epochs": 10**400}, "epochs is out of range"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"optimizer": "adam"}, "did you mean adamw"),
        ({"patience": 0}, "patience"),
        ({"learning_rate_scales": [["a"]]}, "learning_rate_scales"),
        ({"learning_rate_scales": ["a1"]}, "learning_rate_scales"),
        ({"learning_rate_scales": {"a1": 1}}, "learning_rate_scales"),
        ({"learning_rate_scales": [["a", -1]]}, "learning_rate_scales"),
    ],
)
def test_a_bad_field_is_named(changes, complaint):
    with pytest.raises(UsageError, match=complaint):
        Recipe().replace(changes)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"epochs": "3"}, "epochs must be a whole number, not '3'"),
        ({"epochs": 2.5}, "epochs must be a whole number, not 2.5"),
        ({"epochs": True}, "epochs must be a whole number, not True"),
        ({"learning_rate": None}, "learning_rate must be a number, not None"),
        ({"learning_rate": 10**400}, "learning_rate is out of range"),
        ({"optimizer": ["sgd"]}, "optimizer must be text"),
        ({"horizontal_flip": "no"}, "horizontal_flip must be true or false, not 'no'"),
        ({"patience": "3"}, "patience must be a whole number or null"),
        ({"learning_rate_scales": (("a", 1, 2),)}, "learning_rate_scales"),
        ({"learning_rate_scales": "a1"}, "learning_rate_scales must be a list, not 'a1'"),
    ],
)
def test_a_constructed_recipe_names_a_bad_field_too(fields, complaint):
    with pytest.raises(UsageError, match=complaint):
        Recipe(**fields)


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"learning_rate": 1}, {"learning_rate": 1.0}),
        ({"learning_rate": np.float32(0.5)}, {"learning_rate": 0.5}),
        ({"epochs": np.int64(3)}, {"epochs": 3}),
        ({"learning_rate_scales": [["a", 1]]}, {"learning_rate_scales": (("a", 1.0),)}),
    ],
)
def test_equal_recipes_have_one_hash_however_they_were_written(fields, same):
    assert hash(Recipe(**fields)) == hash(Recipe(**same))
    assert Recipe(**fields).hash() == Recipe(**same).hash()


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


@pytest.mark.parametrize(
    "text", ["epochs", "epochs=five", "horizontal_flip=1", "=3", "epochs=" + "[" * 99_999]
)
def test_a_bad_setting_is_refused(text):
    with pytest.raises(UsageError):
        parse_setting(text)


def test_the_first_matching_group_scales_the_learning_rate():
    recipe = Recipe(learning_rate_scales=(("*bias", 2.0), ("head.*", 0.5)))
    assert recipe.learning_rate_scale("head.bias") == 2.0
    assert recipe.learning_rate_scale("head.weight") == 0.5
    assert recipe.learning_rate_scale("body.weight") == 1.0


def test_a_pattern_is_idle_if_another_decides_on_all_that_it_matches():
    recipe = Recipe(learning_rate_scales=(("*bias", 2.0), ("head.*", 0.5), ("neck.*", 0.1)))
    assert recipe.idle_patterns(["head.weight", "head.bias"]) == ["neck.*"]
    assert recipe.idle_patterns(["head.bias", "neck.weight"]) == ["head.*"]
    assert recipe.idle_patterns([]) == ["*bias", "head.*", "neck.*"]
    assert Recipe().idle_patterns([]) == []
