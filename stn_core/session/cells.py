"""What to run: a cell of the matrix, and the one place where its key is joined and split."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from stn_core.errors import UsageError
from stn_core.session.recipe import Recipe


class Place(NamedTuple):
    """What the models that are compared with each other share, written ``budget/dataset``."""

    budget: str
    dataset: str

    def __str__(self) -> str:
        return "/".join(self)


class CellKey(NamedTuple):
    """The names that identify a cell in a file, written ``budget/dataset/model``."""

    budget: str
    dataset: str
    model: str

    def __str__(self) -> str:
        return "/".join(self)

    @property
    def place(self) -> Place:
        """Where it competes with other models."""
        return Place(self.budget, self.dataset)

    @property
    def id(self) -> str:
        """``dataset-model``: the cell's name as a pytest parameter, and what ``--draw`` takes."""
        return f"{self.dataset}-{self.model}"


def split_key(key: str) -> CellKey:
    """The names that a key joins.

    Raises:
        UsageError: the text is not a key.
    """
    parts = key.split("/")
    if len(parts) != 3 or not all(parts):
        raise UsageError(f"{key!r} is not budget/dataset/model")
    return CellKey(*parts)


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
        return str(self._names)

    @property
    def id(self) -> str:
        """``dataset-model``: its name as a pytest parameter."""
        return self._names.id

    @property
    def _names(self) -> CellKey:
        return CellKey(self.budget, self.dataset, self.model)

    def to_dict(self) -> dict[str, Any]:
        """The cell as a JSON object."""
        return {**dataclasses.asdict(self), "recipe": self.recipe.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cell:
        """The cell of a JSON object that `to_dict` made."""
        return cls(**{**values, "recipe": Recipe.from_dict(values["recipe"])})
