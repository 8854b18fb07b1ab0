"""The difference of two cells by each metric that a claim can be about, with its interval."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from stn_core.gate.contrasts import Finding, seeds_to_decide
from stn_core.gate.intervals import Difference, Spread, margin, margin_of_mean
from stn_core.gate.metrics import LEAST_JITTER, Metric
from stn_core.gate.statistics import FloatArray, sampling_deviation
from stn_core.report.claims import METRICS, ON_REQUEST, Contrast
from stn_core.report.stored_cells import FEWEST_SEEDS, StoredCell
from stn_core.session.records import Machine, RunRecord

EPOCH_DEVIATION = 1 / math.sqrt(12)
"""The least standard deviation of a number of epochs: that of rounding to whole ones."""

MISPLACED_DEVIATION = 0.025
"""The least standard deviation of misplaced pixels: a quarter of the metric's ``floor``."""

SHORTEST = 0.01
"""Shorter training times, in seconds, count as this one: logarithms are compared."""

TRAIN_LOSS_DEVIATION = 0.02
"""The least standard deviation of the logarithm of a training loss."""


@dataclass(frozen=True)
class JudgedDifference:
    """One difference of a claim.

    Args:
        contrast: the one that it belongs to.
        other: the model that is compared with, or the published number as text.
        finding: what the values say.
        difference: with its interval, in the metric's unit; None if nothing is known.
        seeds: how many runs each side has; (n, 0) against a number.
        seeds_needed: on each side to decide an open one, None if unknown.
        reason: why nothing is known.
        values: of both sides, in the metric's own unit, for pictures.
    """

    contrast: Contrast
    other: str
    finding: Finding
    difference: Difference | None = None
    seeds: tuple[int, int] = (0, 0)
    seeds_needed: int | None = None
    reason: str = ""
    values: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())


def unknown(contrast: Contrast, other: str, reason: str) -> JudgedDifference:
    """A difference that is open, and why nothing is known of it."""
    return JudgedDifference(contrast, other, Finding.OPEN, reason=reason)


def _measured(
    contrast: Contrast,
    other: str,
    samples: tuple[Sequence[float] | FloatArray, Sequence[float] | FloatArray],
    spreads: tuple[Spread | None, Spread | None],
    level: float,
    unit: Callable[[float], float] = float,
    shown: Callable[[float], float] = float,
) -> JudgedDifference:
    """The difference of two samples, on a scale that `unit` brings to the contrast's unit."""
    ours, theirs = samples
    values = tuple(tuple(shown(float(value)) for value in sample) for sample in samples)
    seeds = (len(ours), len(theirs))
    estimate = float(np.mean(ours) - np.mean(theirs))
    own, others = spreads
    if own is None or others is None:
        return JudgedDifference(
            contrast,
            other,
            Finding.OPEN,
            Difference(estimate, math.nan, math.nan).mapped(unit),
            seeds,
            reason="a model with one run has no interval",
            values=(values[0], values[1]),
        )
    half = float(margin(others, own, level))
    difference = Difference(estimate, estimate - half, estimate + half).mapped(unit)
    finding = contrast.expectation.finding(difference)
    seeds_needed = None
    if finding is Finding.OPEN:
        expected = contrast.expectation
        seeds_needed = seeds_to_decide(estimate, (others, own), expected, level, unit)
    return JudgedDifference(
        contrast, other, finding, difference, seeds, seeds_needed, values=(values[0], values[1])
    )


def against_number(contrast: Contrast, side: StoredCell, level: float) -> JudgedDifference:
    """The mean accuracy of a cell against a published number, with Student's interval."""
    assert contrast.value is not None
    other = f"{contrast.value:g}"
    sample, spread = side.percent, side.points
    if spread is None:
        return unknown(contrast, other, "a model with one run has no interval")
    estimate = float(np.mean(sample)) - contrast.value
    half = float(margin_of_mean(spread, level))
    possible = functools.partial(_within, low=0.0 - contrast.value, high=100.0 - contrast.value)
    difference = Difference(estimate, estimate - half, estimate + half).mapped(possible)
    finding = contrast.expectation.finding(difference)
    seeds_needed = None
    if finding is Finding.OPEN:
        seeds_needed = seeds_to_decide(estimate, (spread,), contrast.expectation, level, possible)
    seeds, values = (len(sample), 0), (tuple(sample), ())
    return JudgedDifference(
        contrast, other, finding, difference, seeds, seeds_needed, values=values
    )


def _within(value: float, low: float, high: float) -> float:
    """The value, or the end that is nearest to it: no accuracy is below 0 or above 100 %."""
    return min(max(value, low), high)


def _accuracy(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    ours, theirs = sides
    samples, spreads = (ours.percent, theirs.percent), (ours.points, theirs.points)
    return _measured(contrast, other, samples, spreads, level)


def _percent(logarithm: float) -> float:
    return 100 * math.expm1(min(logarithm, 30.0))


def _loss(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    ours, theirs = (Metric.LOSS.badness(side.runs, side.test_images) for side in sides)
    spreads = (sides[0].log_loss, sides[1].log_loss)
    return _measured(contrast, other, (ours, theirs), spreads, level, _percent, math.exp)


def _train_time(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    """Of runs on a quiet machine, of the kind that has most of them.

    ``--train`` trains the two models in turn, seed by seed, so what makes a machine slower for a
    while widens both spreads and does not favour one model.
    """
    ours, theirs = _timed_alike(sides)
    if not ours or not theirs:
        reason = "no training times from a quiet machine of one kind are stored for both models"
        return unknown(contrast, other, reason)
    spreads = (_spread(ours, LEAST_JITTER), _spread(theirs, LEAST_JITTER))
    return _measured(contrast, other, (ours, theirs), spreads, level, _percent, math.exp)


def _timed_alike(sides: Sequence[StoredCell]) -> tuple[list[float], list[float]]:
    """The logarithms of both sides' training times, in seconds, on machines of one kind."""
    first, second = sides

    def times(side: StoredCell, machine: Machine) -> list[float]:
        return [
            math.log(max(record.train_seconds, SHORTEST))
            for record in side.timed
            if record.environment.machine == machine
        ]

    machines = dict.fromkeys(record.environment.machine for record in first.timed)
    found = [(times(first, machine), times(second, machine)) for machine in machines]
    return max(found, key=lambda both: min(map(len, both)), default=([], []))


def _parameters(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    if not all(side.parameters for side in sides):
        return unknown(contrast, other, "no complete record gives their numbers of parameters")
    ours, theirs = (float(side.parameters) for side in sides)
    exact = 100 * (ours / theirs - 1)
    difference = Difference(exact, exact, exact)
    return JudgedDifference(
        contrast,
        other,
        contrast.expectation.finding(difference),
        difference,
        (len(sides[0].runs), len(sides[1].runs)),
        values=((ours,), (theirs,)),
    )


def _epochs(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    """A run that never reaches the target counts as one epoch more than its recipe allows.

    Not than it had: a run that stopped early would seem to have reached the target soon. How many
    it would need is not known, so the interval has no end on that side.
    """
    samples = [[_epochs_to(run, contrast.target) for run in side.records] for side in sides]
    found = _of_curves(contrast, other, samples, EPOCH_DEVIATION, level)
    ours, theirs = ([not _reaches(run, contrast.target) for run in s.records] for s in sides)
    if not any(ours + theirs) or not found.difference:
        return found
    difference = replace(
        found.difference,
        low=-math.inf if any(theirs) else found.difference.low,
        high=math.inf if any(ours) else found.difference.high,
    )
    reason = " and ".join(
        f"{sum(missed)} of {len(missed)} runs of {name}"
        for name, missed in ((contrast.model, ours), (other, theirs))
        if any(missed)
    )
    return replace(
        found,
        difference=difference,
        finding=contrast.expectation.finding(difference),
        seeds_needed=None,
        reason=f"{reason} never reached {contrast.target:g} %",
    )


def _train_loss(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    """The mean loss of the epoch whose weights were kept, on the training images."""
    samples = [[_log_train_loss(run) for run in side.records] for side in sides]
    return _of_curves(contrast, other, samples, TRAIN_LOSS_DEVIATION, level, _percent, math.exp)


def _log_train_loss(record: RunRecord) -> float:
    return math.log(max(record.validation[record.kept_epoch - 1]["train_loss"], 1e-6))


def _of_curves(
    contrast: Contrast,
    other: str,
    samples: Sequence[Sequence[float]],
    least: float,
    level: float,
    unit: Callable[[float], float] = float,
    shown: Callable[[float], float] = float,
) -> JudgedDifference:
    """The difference of what learning curves say, with deviations of at least `least`."""
    ours, theirs = samples
    if not ours or not theirs:
        return unknown(contrast, other, "no learning curves are stored")
    spreads = (_spread(ours, least), _spread(theirs, least))
    return _measured(contrast, other, (ours, theirs), spreads, level, unit, shown)


def _spread(values: Sequence[float], least: float) -> Spread | None:
    """The spread of one cell, not below ``least``; None if there are too few values."""
    if len(values) < FEWEST_SEEDS:
        return None
    return Spread(float(np.var(values, ddof=1)), len(values), least)


def _epochs_to(record: RunRecord, target: float) -> float:
    reached = [entry["epoch"] for entry in record.validation if 100 * entry["accuracy"] >= target]
    return float(min(reached, default=record.recipe["epochs"] + 1))


def _reaches(record: RunRecord, target: float) -> bool:
    return _epochs_to(record, target) <= float(record.recipe["epochs"])


def _on_request(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    """A registered metric, of those runs that were measured by it."""
    name, is_share = contrast.metric, METRICS[contrast.metric] == "points"
    factor = 100.0 if is_share else 1.0
    samples = [[factor * run.metrics[name] for run in s.runs if name in run.metrics] for s in sides]
    if not all(samples):
        return unknown(contrast, other, f"no stored runs of both models have {name}")
    ours, theirs = samples
    least = [
        100 * sampling_deviation(float(np.mean(values)) / 100, side.test_images)
        if is_share
        else MISPLACED_DEVIATION
        for values, side in zip(samples, sides, strict=True)
    ]
    spreads = (_spread(ours, least[0]), _spread(theirs, least[1]))
    return _measured(contrast, other, (ours, theirs), spreads, level)


Measure: TypeAlias = Callable[[Contrast, str, Sequence[StoredCell], float], JudgedDifference]

MEASURES: Mapping[str, Measure] = {
    "accuracy": _accuracy,
    "loss": _loss,
    "parameters": _parameters,
    "train_time": _train_time,
    "epochs": _epochs,
    "train_loss": _train_loss,
    **dict.fromkeys(ON_REQUEST, _on_request),
}
