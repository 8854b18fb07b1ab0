"""What to run, as plain data: how to train (recipe), how much (budget), and what (cell)."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stn_core.errors import UsageError, unknown_name
from stn_core.registry import Registry

_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("one_cycle", "constant"),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class Recipe:
    """All that can change the result of a training, except the model, the data and the seed.

    Args:
        optimizer: "adamw" or "sgd".
        learning_rate: the peak of the schedule, > 0.
        weight_decay: decoupled for AdamW, an L2 term for SGD; >= 0.
        momentum: SGD's; in [0, 1). AdamW ignores it.
        schedule: "one_cycle" (a rise to the peak, then a cosine to nothing; Smith & Topin 2018) or
            "constant".
        warmup_fraction: the share of the steps in which one_cycle rises; in (0, 1).
        batch_size: images a step. The last, smaller batch of an epoch is left out.
        epochs: passes over the training images; the most, where early stopping is on.
        precision: "float32", or "bfloat16" for autocast.
        max_shift_pixels: augmentation: each image moved by up to so many whole pixels on both axes.
        horizontal_flip: augmentation: half of the images mirrored left to right.
        label_smoothing: in [0, 1).
        patience: epochs without improvement of the validation loss after which training stops and
            the best epoch's weights are kept; None trains to the end and keeps the last.
        min_delta: the smallest fall of the validation loss that counts as an improvement.
        learning_rate_scales: parameter groups: (shell pattern of parameter names, factor on the
            learning rate) pairs; the first pattern that matches counts.

    Raises:
        UsageError: a value is out of range; the line names the field.
    """

    optimizer: str = "adamw"
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    momentum: float = 0.0
    schedule: str = "one_cycle"
    warmup_fraction: float = 0.3
    batch_size: int = 128
    epochs: int = 2
    precision: str = "float32"
    max_shift_pixels: int = 0
    horizontal_flip: bool = False
    label_smoothing: float = 0.0
    patience: int | None = None
    min_delta: float = 0.0
    learning_rate_scales: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise unknown_name(f"value for {name}", str(getattr(self, name)), choices)
        wrong = [
            sentence
            for holds, sentence in (
                (_positive(self.learning_rate), "learning_rate must be above 0"),
                (_at_least_0(self.weight_decay), "weight_decay must be 0 or more"),
                (0 <= self.momentum < 1, "momentum must be in [0, 1)"),
                (0 < self.warmup_fraction < 1, "warmup_fraction must be between 0 and 1"),
                (self.batch_size >= 1, "batch_size must be 1 or more"),
                (self.epochs >= 1, "epochs must be 1 or more"),
                (self.max_shift_pixels >= 0, "max_shift_pixels must be 0 or more"),
                (0 <= self.label_smoothing < 1, "label_smoothing must be in [0, 1)"),
                (self.patience is None or self.patience >= 1, "patience must be 1 or more"),
                (_at_least_0(self.min_delta), "min_delta must be 0 or more"),
                (
                    all(_at_least_0(scale) for _, scale in self.learning_rate_scales),
                    "learning_rate_scales must be 0 or more",
                ),
            )
            if not holds
        ]
        if wrong:
            raise UsageError(f"bad recipe: {'; '.join(wrong)}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe of a JSON object: every field named, nothing else, each of its type.

        Raises:
            UsageError: a field is unknown, missing, of the wrong type or out of range.
        """
        missing = sorted(set(_FIELD_TYPES) - set(values))
        if missing:
            raise UsageError(f"bad recipe: {', '.join(missing)} missing")
        return cls().replace(values)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as a JSON object."""
        values = dataclasses.asdict(self)
        values["learning_rate_scales"] = [list(pair) for pair in self.learning_rate_scales]
        return values

    def replace(self, changes: Mapping[str, Any]) -> Recipe:
        """This recipe with some fields changed; types are checked as in `from_dict`."""
        return dataclasses.replace(
            self, **{name: _checked(name, value) for name, value in changes.items()}
        )

    def hash(self) -> str:
        """Twelve hexadecimal digits that differ as soon as any field does."""
        canonical = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def learning_rate_scale(self, parameter_name: str) -> float:
        """The factor on the learning rate for a parameter, 1 where no group names it."""
        for pattern, scale in self.learning_rate_scales:
            if fnmatch.fnmatchcase(parameter_name, pattern):
                return scale
        return 1.0


_FIELD_TYPES = {entry.name: str(entry.type) for entry in dataclasses.fields(Recipe)}


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _at_least_0(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _checked(name: str, value: Any) -> Any:
    if name not in _FIELD_TYPES:
        raise unknown_name("recipe field", name, _FIELD_TYPES)
    kind = _FIELD_TYPES[name]
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind.startswith("tuple"):
        return _checked_scales(value)
    accepted: tuple[type, ...] = {
        "str": (str,),
        "float": (float,),
        "int": (int,),
        "bool": (bool,),
        "int | None": (int, type(None)),
    }[kind]
    if isinstance(value, accepted) and not (isinstance(value, bool) and bool not in accepted):
        return value
    raise UsageError(f"bad recipe: {name} must be {kind}, not {value!r}")


def _checked_scales(value: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, list | tuple) or not all(_is_scale(pair) for pair in value):
        raise UsageError(
            f"bad recipe: learning_rate_scales must be [pattern, factor] pairs, not {value!r}"
        )
    return tuple((pattern, float(scale)) for pattern, scale in value)


def _is_scale(pair: Any) -> bool:
    is_pair = isinstance(pair, list | tuple) and len(pair) == 2
    return is_pair and isinstance(pair[0], str) and type(pair[1]) in (int, float)


def parse_setting(text: str) -> tuple[str, Any]:
    """A recipe override from the command line, ``"epochs=5"``, as (field, value).

    The value is read as JSON where it is JSON (numbers, true, null, lists), as a number where
    Python takes it for one (.01), else as text.

    Raises:
        UsageError: no "=", an unknown field or a value of the wrong type.
    """
    name, separator, written = text.partition("=")
    if not separator:
        raise UsageError(f"--set takes field=value, not {text!r}")
    return name, _checked(name, _read_value(written))


def _read_value(written: str) -> Any:
    for read in (json.loads, float):
        with contextlib.suppress(ValueError):
            return read(written)
    return written


PREDECESSOR = Recipe(
    optimizer="sgd",
    learning_rate=0.01,
    weight_decay=0.0,
    schedule="constant",
    batch_size=64,
    epochs=20,
)
"""What the predecessors of this project trained with, for comparison like with like."""


@dataclass(frozen=True)
class Budget:
    """How much training a session may spend, and the recipe that this buys.

    Args:
        name: what ``--budget`` takes.
        datasets: what it runs on when nobody names a dataset.
        looks: after how many seeds a cell is looked at, rising; where the answer is clear the rest
            is spared.
        baseline_seeds: runs a cell when a baseline is measured.
        recipe: the recipe where nothing below says otherwise.
        by_dataset: fields that a dataset changes, by shell patterns of its name; a later pattern
            that matches overrules an earlier one.
        by_family: fields that a family of models changes, after the dataset's; by patterns of its
            name in the same way.
        by_dataset_and_family: fields that a family changes on some datasets, last; by pairs of both
            patterns.
    """

    name: str
    datasets: tuple[str, ...]
    looks: tuple[int, ...]
    baseline_seeds: int
    recipe: Recipe
    by_dataset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    by_family: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    by_dataset_and_family: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)

    def recipe_for(self, dataset: str, family: str) -> Recipe:
        """The shipped recipe of a dataset and a model family."""
        changes: dict[str, Any] = {}
        for pattern, of_dataset in self.by_dataset.items():
            if fnmatch.fnmatchcase(dataset, pattern):
                changes |= of_dataset
        for pattern, of_family in self.by_family.items():
            if fnmatch.fnmatchcase(family, pattern):
                changes |= of_family
        for patterns, of_both in self.by_dataset_and_family.items():
            if all(map(fnmatch.fnmatchcase, (dataset, family), patterns)):
                changes |= of_both
        return self.recipe.replace(changes)


# The learning rate goes with batches as small as these.
_BIRDS = {"batch_size": 32, "learning_rate": 0.005, "horizontal_flip": True}
_COORDINATES = {"batch_size": 8, "learning_rate": 0.005, "epochs": 10}
_FAMILIES: dict[str, dict[str, Any]] = {
    # At the full rate 4 of 20 runs on digits_rts lost their images out of the frame for good
    # (smoke, 2026-11-21); the authors train this network at a hundredth of the STN's rate.
    "ic_stn": {"learning_rate_scales": (("transformer.localisation.*", 0.1),)},
    # Trained on two quadrants, seeds 0 to 2 told all of a third one with this weight decay, and
    # 63, 73 and 100 % of it with a tenth (2026-11-28).
    "coordconv": {"weight_decay": 1.0},
    "deconv": {"learning_rate": 0.02, "batch_size": 32, "epochs": 30},
    "resnext": {
        "learning_rate": 0.001,
        "weight_decay": 0.05,
        # The paper's is 1e-4 of the rest, for a network that knew photographs before.
        "learning_rate_scales": (("transformer.localisation.*", 0.1),),
    },
}

_BUDGETS: Registry[Budget] = Registry("budget")
for _budget in (
    Budget(
        name="smoke",
        datasets=("digits", "digits_rts"),
        looks=(3, 6, 10),
        baseline_seeds=20,
        recipe=Recipe(batch_size=64, epochs=10),
        by_dataset={
            "digits_rts": {"epochs": 40},
            "coordinates_*": _COORDINATES,
            "birds*": _BIRDS,
        },
        by_family={
            **_FAMILIES,
            "*vit": {"learning_rate": 0.002, "weight_decay": 0.05, "epochs": 20},
        },
        # Trained for less, these vary so much over seeds that a gate could not see 5 points.
        by_dataset_and_family={
            ("digits_rts", "cnn"): {"epochs": 60},
            ("digits_rts", "*vit"): {"epochs": 40},
            # In validation 88.9 and 89.4 % (seeds 0 and 1), at twice the rate 87.9 and 86.4.
            ("digits_rts", "spinal_vit"): {"epochs": 80},
        },
    ),
    Budget(
        name="quick",
        datasets=("mnist", "fashion_mnist", "mnist_rts"),
        looks=(3, 6, 10),
        baseline_seeds=5,
        recipe=Recipe(epochs=2),
        by_dataset={
            "mnist_*": {"epochs": 5},
            "fashion_mnist_*": {"epochs": 5},
            "cifar10": {"epochs": 5, "horizontal_flip": True},
            "birds*": {"epochs": 10, **_BIRDS},
            "coordinates_*": _COORDINATES,
        },
        by_family={**_FAMILIES, "*vit": {"learning_rate": 0.002, "weight_decay": 0.05}},
    ),
    Budget(
        name="full",
        datasets=("mnist", "fashion_mnist"),
        looks=(3, 5),
        # Against 5 stored runs a cell of MNIST shows a drop of 0.8 points, against 20 one of 0.4.
        baseline_seeds=20,
        # Chosen on MNIST's validation images: stn 99.2 %, at twice the rate 99.0, with images moved
        # about 99.0 (1 or 2 seeds each, 2026-11-28). Large batches because a step is short.
        recipe=Recipe(learning_rate=0.01, batch_size=512, epochs=20),
        by_dataset={
            "fashion_mnist": {"epochs": 30},
            "mnist_*": {"epochs": 60},
            "fashion_mnist_*": {"epochs": 60},
            "cifar10": {"epochs": 50, "horizontal_flip": True},
            "birds*": {"epochs": 60, **_BIRDS},
            "coordinates_*": _COORDINATES,
        },
        by_family={
            **_FAMILIES,
            # In validation a ViT gains by images that are moved about, 0.6 points on MNIST, 0.8 on
            # Fashion-MNIST. Mirroring costs cnn and stn 1.2 there (1 seed each, as above).
            "*vit": {"learning_rate": 0.003, "weight_decay": 0.05, "max_shift_pixels": 2},
            "paper": {"learning_rate": 0.002, "batch_size": 256},
        },
        by_dataset_and_family={
            ("fashion_mnist", "*vit"): {"horizontal_flip": True},
            ("birds*", "paper"): {"batch_size": 32},
        },
    ),
    # As four earlier experiments trained, so that what they published can be tested as published.
    Budget(
        name="predecessor",
        datasets=("mnist", "fashion_mnist"),
        looks=(5, 10),
        baseline_seeds=5,
        recipe=PREDECESSOR,
        by_dataset={"fashion_mnist": {"epochs": 30}, "cifar10": {"epochs": 50, "batch_size": 32}},
    ),
):
    _BUDGETS.add(_budget.name, _budget)


def get_budget(name: str) -> Budget:
    """The budget of that name: smoke (minutes, no data needed), quick, full or predecessor.

    Raises:
        UsageError: there is none; the line names the nearest.
    """
    return _BUDGETS[name]


def list_budgets() -> list[str]:
    """The names of the budgets."""
    return _BUDGETS.names()


@dataclass(frozen=True)
class Cell:
    """One place of the matrix: a model on a dataset within a budget, and the recipe that follows.

    Args:
        model: a name from `list_models()`.
        dataset: a name that `load_dataset` takes.
        budget: a name from `list_budgets()`.
        recipe: how it is trained.
        is_search: the recipe was overridden: no baseline judges it, and the test set stays closed
            unless it is asked for.
    """

    model: str
    dataset: str
    budget: str
    recipe: Recipe
    is_search: bool = False

    @property
    def key(self) -> str:
        """``budget/dataset/model``: its name in baselines.json."""
        return f"{self.budget}/{self.dataset}/{self.model}"

    @property
    def id(self) -> str:
        """``dataset-model``: its name as a pytest parameter."""
        return f"{self.dataset}-{self.model}"

    def to_dict(self) -> dict[str, Any]:
        """The cell as a JSON object."""
        return {**dataclasses.asdict(self), "recipe": self.recipe.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cell:
        """The cell of a JSON object that `to_dict` made."""
        return cls(**{**values, "recipe": Recipe.from_dict(values["recipe"])})
