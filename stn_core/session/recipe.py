"""How to train, as plain data: all that can change a result, beside the model, data and seed."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stn_core.errors import UsageError, unknown_name
from stn_core.schema import Number, Whole, checked, json_object
from stn_core.session.plain_fields import check_fields

_BAD = "bad recipe: "
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
        epochs: passes over the training images; the most, if early stopping is on.
        precision: "float32", or "bfloat16" for autocast.
        max_shift_pixels: augmentation: each image moved by up to this many whole pixels on both
            axes.
        horizontal_flip: augmentation: half of the images mirrored left to right.
        label_smoothing: in [0, 1).
        patience: epochs without improvement of the validation loss after which training stops and
            the best epoch's weights are kept; None trains to the end and keeps the last.
        min_delta: the smallest fall of the validation loss that counts as an improvement.
        learning_rate_scales: parameter groups: (shell pattern of parameter names, factor on the
            learning rate) pairs; the first pattern that matches counts.

    Raises:
        UsageError: a value is of the wrong type or out of range; the line names the field.
    """

    optimizer: str = "adamw"
    learning_rate: Number = 0.005
    weight_decay: Number = 0.01
    momentum: Number = 0.0
    schedule: str = "one_cycle"
    warmup_fraction: Number = 0.3
    batch_size: Whole = 128
    epochs: Whole = 2
    precision: str = "float32"
    max_shift_pixels: Whole = 0
    horizontal_flip: bool = False
    label_smoothing: Number = 0.0
    patience: Whole | None = None
    min_delta: Number = 0.0
    learning_rate_scales: tuple[tuple[str, Number], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise unknown_name(f"value for {name}", getattr(self, name), choices)
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
            raise UsageError("; ".join(wrong))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe of a JSON object: every field named, nothing else, each of its type.

        Raises:
            UsageError: a field is unknown, missing, of the wrong type or out of range.
        """
        values = json_object(values, _BAD)
        missing = sorted(set(_FIELDS) - set(values))
        if missing:
            raise UsageError(f"{_BAD}{', '.join(missing)} missing")
        return cls().replace(values)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as a JSON object."""
        values = dataclasses.asdict(self)
        values["learning_rate_scales"] = [list(pair) for pair in self.learning_rate_scales]
        return values

    def replace(self, changes: Mapping[str, Any]) -> Recipe:
        """This recipe with some fields changed; types are checked as in `from_dict`."""
        for name in changes:
            if name not in _FIELDS:
                raise unknown_name("recipe field", name, _FIELDS)
        values = {name: getattr(self, name) for name in _FIELDS}
        return checked(Recipe, {**values, **changes}, _BAD)

    def hash(self) -> str:
        """Twelve hexadecimal digits that differ as soon as any field does."""
        return self._hash

    @functools.cached_property
    def _hash(self) -> str:
        canonical = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def learning_rate_scale(self, parameter_name: str) -> float:
        """The factor on the learning rate for a parameter, 1 if no group names it."""
        group = self._learning_rate_group(parameter_name)
        return group[1] if group else 1.0

    def idle_patterns(self, parameter_names: Iterable[str]) -> list[str]:
        """The patterns of learning_rate_scales that decide on none of these parameters."""
        used = {self._learning_rate_group(name) for name in parameter_names}
        return [group[0] for group in self.learning_rate_scales if group not in used]

    def _learning_rate_group(self, parameter_name: str) -> tuple[str, Number] | None:
        """The first of learning_rate_scales that matches."""
        groups = self.learning_rate_scales
        return next((each for each in groups if fnmatch.fnmatchcase(parameter_name, each[0])), None)


_FIELDS = tuple(entry.name for entry in dataclasses.fields(Recipe))


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _at_least_0(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def parse_setting(text: str) -> tuple[str, Any]:
    """A recipe override from the command line, ``"epochs=5"``, as (field, value).

    The value is read as JSON if it is JSON (numbers, true, null, lists), as a number if Python
    reads it as one (.01), else as text.

    Raises:
        UsageError: no "=", an unknown field, or a value of the wrong type or out of range.
    """
    name, separator, written = text.partition("=")
    if not separator:
        raise UsageError(f"--set takes field=value, not {text!r}")
    return name, getattr(Recipe().replace({name: _read_value(written)}), name)


def _read_value(written: str) -> Any:
    for read in (json.loads, float):
        with contextlib.suppress(ValueError, RecursionError):
            return read(written)
    return written
