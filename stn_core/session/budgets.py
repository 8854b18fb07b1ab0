"""How much to train: the budgets, each with its recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stn_core.errors import UsageError
from stn_core.registry import Registry, fits
from stn_core.session.plain_fields import check_fields
from stn_core.session.recipe import Recipe

PREDECESSOR = Recipe(
    optimizer="sgd",
    learning_rate=0.01,
    weight_decay=0.0,
    schedule="constant",
    batch_size=64,
    epochs=20,
)
"""What the predecessors of this project trained with, for comparison like with like."""


def are_looks(numbers: Sequence[int]) -> bool:
    """Whether these are rising numbers of seeds, one or more."""
    return bool(numbers) and list(numbers) == sorted(set(numbers)) and numbers[0] >= 1


@dataclass(frozen=True)
class Budget:
    """How much a session may train, and with which recipes.

    Args:
        name: what ``--budget`` takes.
        datasets: those that it runs on unless ``--dataset`` names others.
        looks: rising numbers of seeds after which a cell is judged; once the answer is clear, the
            rest is skipped.
        baseline_seeds: runs per cell when a baseline is measured.
        recipe: the recipe unless a field below changes it.
        by_dataset: fields that a dataset changes, by shell patterns of its name; a later pattern
            that matches overrules an earlier one.
        by_family: fields that a family of models changes, after the dataset's; by patterns of its
            name in the same way.
        by_dataset_and_family: fields that a family changes on some datasets, after both; by pairs
            of both patterns.
        by_model: fields that a model changes, last; by patterns of its name. The brackets of a
            variant stand for themselves: "stn[warp=tps]".
        min_drops: the smallest drop, in points, that can fail a cell, by patterns of
            ``dataset/model``; the last match counts.

    Raises:
        UsageError: it names no dataset, no look or too few seeds, a field is of the wrong type, or
            a change is not one of a recipe.
    """

    name: str
    datasets: tuple[str, ...]
    looks: tuple[int, ...]
    baseline_seeds: int
    recipe: Recipe
    by_dataset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    by_family: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    by_dataset_and_family: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    by_model: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    min_drops: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"the budget {self.name!r}"
        datasets: Any = self.datasets
        if not self.name or not datasets:
            raise UsageError(f"{where} needs a name and one or more datasets")
        if isinstance(datasets, str):
            raise UsageError(f"{where}: datasets are a tuple of names, such as ({datasets!r},)")
        check_fields(self, f"{where}: ")
        self._check_changes(f"{where}: ")
        if not are_looks(self.looks):
            raise UsageError(f"{where} needs looks of rising seed counts, such as (3, 6, 10)")
        if self.baseline_seeds < 2:
            raise UsageError(f"{where} needs baseline_seeds of 2 or more")
        for pattern, points in self.min_drops.items():
            if not 0 <= points < 100:
                raise UsageError(
                    f"{where}: min_drops of {pattern!r} is {points:g}, not 0 to 100 points"
                )

    def _check_changes(self, where: str) -> None:
        """Check each change of the recipe, also one that no cell of this session needs."""
        for name in ("by_dataset", "by_family", "by_dataset_and_family", "by_model"):
            for pattern, changes in getattr(self, name).items():
                try:
                    self.recipe.replace(changes)
                except UsageError as error:
                    raise UsageError(f"{where}{name} of {pattern!r}: {error}") from None

    def recipe_for(self, dataset: str, family: str, model: str = "") -> Recipe:
        """The shipped recipe of a model of some family on a dataset."""
        changes: dict[str, Any] = {}
        for pattern, of_dataset in self.by_dataset.items():
            if fits(dataset, pattern):
                changes |= of_dataset
        for pattern, of_family in self.by_family.items():
            if fits(family, pattern):
                changes |= of_family
        for patterns, of_both in self.by_dataset_and_family.items():
            if all(map(fits, (dataset, family), patterns)):
                changes |= of_both
        for pattern, of_model in self.by_model.items():
            if fits(model, pattern):
                changes |= of_model
        return self.recipe.replace(changes)


# The learning rate goes with batches as small as these.
_BIRDS = {"batch_size": 32, "learning_rate": 0.005, "horizontal_flip": True}
_COORDINATES = {"batch_size": 8, "learning_rate": 0.005, "epochs": 10}
_FAMILIES: dict[str, dict[str, Any]] = {
    # At the full rate 4 of 20 runs on digits_rts lost their images out of the frame for good
    # (smoke, 2026-11-21); the authors train this network at a hundredth of the STN's rate.
    "ic_stn": {"learning_rate_scales": (("transformer.localisation.*", 0.1),)},
    # Trained on two quadrants, seeds 0 to 2 predicted all of a third with this weight decay, and
    # 63, 73 and 100 % of it with a tenth (2026-11-28).
    "coordconv": {"weight_decay": 1.0},
    "deconv": {"learning_rate": 0.02, "batch_size": 32, "epochs": 30},
    # Networks of many kinds: a rate that residual and attention networks both bear.
    "timm": {"learning_rate": 0.001, "weight_decay": 0.05},
    "torchvision": {"learning_rate": 0.001, "weight_decay": 0.05},
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
        looks=(1, 2, 4, 8, 14),
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
        looks=(1, 2, 4, 8, 14),
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
        looks=(1, 2, 5),
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


def register_budget(budget: Budget) -> Budget:
    """Register a budget under its name, for ``--budget`` and for baselines.

    Raises:
        UsageError: the name is taken, or has a slash in it.
    """
    _BUDGETS.add(budget.name, budget)
    return budget


def get_budget(name: str) -> Budget:
    """The budget of that name: smoke (minutes, no data needed), quick, full or predecessor.

    Raises:
        UsageError: there is none; the line names the nearest.
    """
    return _BUDGETS[name]


def list_budgets() -> list[str]:
    """The names of the budgets."""
    return _BUDGETS.names()
