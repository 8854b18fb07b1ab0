"""Published claims as contrasts of measured cells: read from a file, judged from what is stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.errors import UsageError, printable, unknown_name
from stn_core.gate.contrasts import Direction, Expectation
from stn_core.session.toml_files import read_toml

METRICS = {
    "accuracy": "points",
    "loss": "%",
    "parameters": "%",
    "train_time": "%",
    "train_loss": "%",
    "epochs": "epochs",
    "invariance": "points",
    "misplaced_pixels": "pixels",
}
"""What can be claimed of a model, and the unit of a difference."""

FROM_RECORDS = ("epochs", "train_loss", "train_time")
"""Metrics that only complete records have: learning curves, and times with the machine's load."""

ON_REQUEST = ("invariance", "misplaced_pixels")
"""Registered metrics: a run has them only if they were requested."""

WAYS = {"published": "as published", "trained": "with our recipes"}
"""How a claim can be tested, by the field that names the budget."""


@dataclass(frozen=True)
class Contrast:
    """One of the differences that a claim is about.

    Args:
        dataset: what both sides are trained on.
        metric: one of `METRICS`.
        model: what the claim is about.
        than: the models that it is compared with; () if it is compared with `value`.
        value: a published number, in the metric's own unit (accuracy in per cent).
        expectation: of each difference, the model's value less the other's.
        target: with "epochs", the validation accuracy to reach, in per cent.

    Raises:
        UsageError: it names a model twice.
    """

    dataset: str
    metric: str
    model: str
    than: tuple[str, ...]
    value: float | None
    expectation: Expectation
    target: float = 0.0

    def __post_init__(self) -> None:
        if len(set(self.models)) < len(self.models):
            raise UsageError(f"a model is compared with itself: {', '.join(self.models)}")

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that it names."""
        return (self.model, *self.than)


@dataclass(frozen=True)
class Claim:
    """One sentence that somebody published, and how it is tested.

    Args:
        id: its name.
        source: who published it, and where.
        sentence: what is claimed.
        budgets: the budget of each way of testing (`WAYS`), at least one.
        contrasts: its parts; it holds if all of them do.
        note: where the test differs from the source.
    """

    id: str
    source: str
    sentence: str
    budgets: Mapping[str, str]
    contrasts: tuple[Contrast, ...]
    note: str = ""

    @property
    def cells(self) -> list[tuple[str, str, str]]:
        """Budget, dataset and model of every cell that it needs."""
        return [
            (budget, contrast.dataset, model)
            for budget in self.budgets.values()
            for contrast in self.contrasts
            for model in contrast.models
        ]


@dataclass(frozen=True)
class Claims:
    """The claims of a file, and its entries that cannot be judged.

    Args:
        claims: in the order of the file.
        refused: of each wrong entry its name, and a message that says what is wrong.
    """

    claims: tuple[Claim, ...]
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def complaints(self) -> list[str]:
        """The messages on wrong entries."""
        return [message for _, message in self.refused]


_OF_CLAIM = {"id", "source", "sentence", *WAYS, "note", "contrasts"}
_TEXTS = ("id", "source", "sentence", "note", *WAYS, "dataset", "metric", "model", "expected")
_NUMBERS = ("value", "size", "margin", "target")
_OF_CONTRAST = {"dataset", "metric", "model", "than", "expected", *_NUMBERS}


def read_claims(path: Path) -> Claims:
    """The claims of a TOML file; an entry that is wrong does not cost the others.

    Raises:
        UsageError: there is no such file, it is not TOML, or it holds no claim.
    """
    content = read_toml(path)
    entries = content.get("claim")
    if not isinstance(entries, list) or not entries or len(content) > 1:
        raise UsageError(f"{path} holds something other than [[claim]] entries, or no claim")
    claims: dict[str, Claim] = {}
    refused = []
    for number, entry in enumerate(entries, start=1):
        name = entry.get("id", f"claim {number}") if isinstance(entry, dict) else f"claim {number}"
        try:
            claim = _claim(entry)
            if claim.id in claims:
                raise UsageError("another claim has the same id")
            claims[claim.id] = claim
        except UsageError as error:
            name = printable(str(name))
            refused.append((name, f"{path}: {name}: {error}"))
    return Claims(tuple(claims.values()), tuple(refused))


def _claim(entry: Any) -> Claim:
    if not isinstance(entry, dict):
        raise UsageError("expected a table of fields")
    _check_fields(entry, _OF_CLAIM | _OF_CONTRAST)
    for name in ("id", "source", "sentence"):
        if not entry.get(name):
            raise UsageError(f"{name} is missing")
    budgets = {way: entry[way] for way in WAYS if entry.get(way)}
    if not budgets:
        raise UsageError(f"name a budget: {' or '.join(WAYS)}")
    listed = entry.get("contrasts", [{}])
    if not isinstance(listed, list) or not listed or not all(isinstance(c, dict) for c in listed):
        raise UsageError("contrasts must be a list of tables")
    shared = {name: entry[name] for name in _OF_CONTRAST if name in entry}
    return Claim(
        id=entry["id"],
        source=entry["source"],
        sentence=entry["sentence"],
        budgets=budgets,
        contrasts=tuple(_contrast({**shared, **own}) for own in listed),
        note=entry.get("note", ""),
    )


def _contrast(values: Mapping[str, Any]) -> Contrast:
    _check_fields(values, _OF_CONTRAST)
    for name in ("dataset", "metric", "model", "expected"):
        if not values.get(name):
            raise UsageError(f"{name} is missing")
    if values["metric"] not in METRICS:
        raise unknown_name("metric", values["metric"], METRICS)
    than = values.get("than", [])
    if bool(than) == ("value" in values):
        raise UsageError("name either the models (than) or the number (value) to compare with")
    _check_percentages(values)
    return Contrast(
        dataset=values["dataset"],
        metric=values["metric"],
        model=values["model"],
        than=tuple(than),
        value=values.get("value"),
        expectation=_expectation(values),
        target=values.get("target", 0.0),
    )


def _check_percentages(values: Mapping[str, Any]) -> None:
    """The target of a claim about epochs, and the published number, are accuracies in per cent."""
    if values["metric"] == "epochs" and "target" not in values:
        raise UsageError("target is missing: the validation accuracy to reach, in per cent")
    if values["metric"] != "epochs" and "target" in values:
        raise UsageError("target is only for metric = 'epochs'")
    if values["metric"] != "accuracy" and "value" in values:
        raise UsageError(f"only accuracy can be compared with a number, not {values['metric']}")
    for name in ("target", "value"):
        if name in values and not 0 <= values[name] <= 100:
            raise UsageError(f"{name} must be an accuracy in per cent, not {values[name]}")
    if values.get("target") == 0:
        raise UsageError("target must be above 0: every run reaches it in its first epoch")


def _expectation(values: Mapping[str, Any]) -> Expectation:
    if values["expected"] not in list(Direction):
        raise unknown_name("expected", values["expected"], list(Direction))
    direction = Direction(values["expected"])
    size, margin = float(values.get("size", 0.0)), float(values.get("margin", 0.0))
    if (direction is Direction.EQUAL) != (margin > 0):
        raise UsageError("a margin above 0 goes with expected = 'equal', and only with it")
    if size < 0 or (size and direction is Direction.EQUAL):
        raise UsageError("size must be 0 or more, and goes with 'higher' or 'lower'")
    return Expectation(direction, size, margin)


def _check_fields(values: Mapping[str, Any], known: Collection[str]) -> None:
    for name, value in values.items():
        if name not in known:
            raise unknown_name("field", name, known)
        if name in _TEXTS and not isinstance(value, str):
            raise UsageError(f"{name} must be text, not {value!r}")
        if name in _TEXTS and printable(value) != value:
            raise UsageError(f"{name} must be one line of printable text, not {value!r}")
        if name in _NUMBERS and type(value) not in (int, float):
            raise UsageError(f"{name} must be a number, not {value!r}")
        if name in _NUMBERS and not math.isfinite(value):
            raise UsageError(f"{name} must be finite, not {value}")
        is_list = isinstance(value, list) and all(isinstance(model, str) for model in value)
        if name == "than" and not is_list:
            raise UsageError(f"than must be a list of models, not {value!r}")


def check_names(
    claims: Iterable[Claim],
    models: Sequence[str],
    datasets: Sequence[str],
    budgets: Sequence[str],
    suits: Callable[[str, str], bool] = lambda model, dataset: True,
) -> list[str]:
    """A message for every claim that names something that does not exist.

    Args:
        claims: to check.
        models, datasets, budgets: the names that exist.
        suits: whether a model can be trained on a dataset, both of which exist.
    """
    wrong = []
    for claim in claims:
        for cell in claim.cells:
            unknown = [
                f"{claim.id}: {unknown_name(kind, name, known)}"
                for kind, name, known in zip(
                    ("budget", "dataset", "model"), cell, (budgets, datasets, models), strict=True
                )
                if name not in known
            ]
            _, dataset, model = cell
            if not unknown and not suits(model, dataset):
                unknown = [f"{claim.id}: there is no cell of {model} on {dataset}"]
            wrong += unknown
    return list(dict.fromkeys(wrong))
