"""Claims judged from stored values: baselines, and the records of an evidence file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stn_core.errors import needs_extra
from stn_core.gate.contrasts import (
    Finding,
    joint_finding,
    seeds_to_decide,
)
from stn_core.gate.intervals import Difference, Spread, margin
from stn_core.gate.metrics import LEAST_JITTER, Metric
from stn_core.gate.statistics import FloatArray, sampling_deviation
from stn_core.report.claims import METRICS, ON_REQUEST, WAYS, Claim, Contrast
from stn_core.report.stored_cells import FEWEST_SEEDS, Stored, StoredCell
from stn_core.session.cells import CellKey
from stn_core.session.records import Environment, RunRecord

with needs_extra("suite"):
    import scipy

CONFIDENCE = 0.95
"""The probability that all intervals of a page contain their true differences."""

EPOCH_DEVIATION = 1 / math.sqrt(12)
"""The least standard deviation of a number of epochs: that of rounding to whole ones."""

MISPLACED_DEVIATION = 0.025
"""The same for misplaced pixels: a quarter of the smallest change that can fail the gate."""

SHORTEST = 0.01
"""The least training time, in seconds, whose logarithm is taken."""

TRAIN_LOSS_DEVIATION = 0.02
"""The least standard deviation of the logarithm of a training loss."""


@dataclass(frozen=True)
class JudgedDifference:
    """One difference of a claim.

    Args:
        contrast: that it belongs to.
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


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and what was found, by the way of testing.

    Args:
        claim: it.
        ways: by the field of the claim that names the budget, the differences.
    """

    claim: Claim
    ways: Mapping[str, tuple[JudgedDifference, ...]]

    def finding(self, way: str) -> Finding | None:
        """What was found in one way, None if the claim is not tested so."""
        if way not in self.ways:
            return None
        return joint_finding([one.finding for one in self.ways[way]])


def judge_claims(claims: Sequence[Claim], stored: Stored) -> list[JudgedClaim]:
    """Judge all the claims of a page.

    The intervals are simultaneous over all that the page can have (Bonferroni): every difference of
    every claim counts, measured or not, so that a verdict does not change as others come in.
    """
    count = sum(
        max(len(contrast.than), 1) * len(claim.budgets)
        for claim in claims
        for contrast in claim.contrasts
    )
    level = (1 - CONFIDENCE) / max(count, 1)
    return [
        JudgedClaim(
            claim,
            {
                way: tuple(_differences(claim.contrasts, budget, stored, level))
                for way, budget in claim.budgets.items()
                if way in WAYS
            },
        )
        for claim in claims
    ]


def _differences(
    contrasts: Iterable[Contrast], budget: str, stored: Stored, level: float
) -> Iterable[JudgedDifference]:
    for contrast in contrasts:
        if contrast.value is not None:
            yield _against_number(contrast, budget, stored, level)
        for other in contrast.than:
            yield _against_model(contrast, other, budget, stored, level)


def _against_model(
    contrast: Contrast, other: str, budget: str, stored: Stored, level: float
) -> JudgedDifference:
    names = (contrast.model, other)
    sides = _on_one_device([str(CellKey(budget, contrast.dataset, name)) for name in names], stored)
    if sides is None:
        return _unknown(
            contrast, other, f"not measured yet for both models on one device ({budget})"
        )
    for name, side in zip(names, sides, strict=True):
        if side.is_outdated:
            return _unknown(contrast, other, _outdated(name, budget))
    if sides[0].hashes[1] != sides[1].hashes[1]:
        return _unknown(contrast, other, "their runs used different data")
    return _MEASURES[contrast.metric](contrast, other, sides, level)


def _outdated(model: str, budget: str) -> str:
    return f"the runs of {model} have another recipe than {budget} has now"


def _unknown(contrast: Contrast, other: str, reason: str) -> JudgedDifference:
    return JudgedDifference(contrast, other, Finding.OPEN, reason=reason)


def _on_one_device(keys: Sequence[str], stored: Stored) -> tuple[StoredCell, ...] | None:
    """The cells on the type of device that has all of them, and the most seeds if several do."""
    found = []
    for device in sorted({device for _, device in stored}):
        cells = [stored.get((key, device)) for key in keys]
        if all(cells):
            found.append(tuple(cell for cell in cells if cell))
    return max(found, key=lambda cells: min(len(cell.runs) for cell in cells), default=None)


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
        return _unknown(contrast, other, "no training times from a quiet machine are stored")
    spreads = (_spread(ours, LEAST_JITTER), _spread(theirs, LEAST_JITTER))
    return _measured(contrast, other, (ours, theirs), spreads, level, _percent, math.exp)


def _timed_alike(sides: Sequence[StoredCell]) -> tuple[list[float], list[float]]:
    """The logarithms of both sides' training times, in seconds, on machines of one kind."""
    first, second = sides

    def times(side: StoredCell, machine: Environment) -> list[float]:
        return [
            math.log(max(record.train_seconds, SHORTEST))
            for record in side.timed
            if record.environment.is_like(machine)
        ]

    machines = [record.environment for record in first.timed]
    found = [(times(first, machine), times(second, machine)) for machine in machines]
    return max(found, key=lambda both: min(map(len, both)), default=([], []))


def _parameters(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    if not all(side.parameters for side in sides):
        return _unknown(contrast, other, "no complete record gives their numbers of parameters")
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
    """A run that never reaches the target counts as one epoch more than it had."""
    if not all(side.records for side in sides):
        return _unknown(contrast, other, "no learning curves are stored")
    ours, theirs = (
        [_epochs_to(record, contrast.target) for record in side.records] for side in sides
    )
    spreads = (_spread(ours, EPOCH_DEVIATION), _spread(theirs, EPOCH_DEVIATION))
    return _measured(contrast, other, (ours, theirs), spreads, level)


def _train_loss(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    """The mean loss of the epoch whose weights were kept, on the training images."""
    if not all(side.records for side in sides):
        return _unknown(contrast, other, "no learning curves are stored")
    ours, theirs = (
        [math.log(max(_kept_train_loss(record), 1e-6)) for record in side.records] for side in sides
    )
    spreads = (_spread(ours, TRAIN_LOSS_DEVIATION), _spread(theirs, TRAIN_LOSS_DEVIATION))
    return _measured(contrast, other, (ours, theirs), spreads, level, _percent, math.exp)


def _kept_train_loss(record: RunRecord) -> float:
    return record.validation[record.kept_epoch - 1]["train_loss"]


def _spread(values: Sequence[float], least: float) -> Spread | None:
    """The spread of one cell, not below ``least``; None if there are too few values."""
    if len(values) < FEWEST_SEEDS:
        return None
    return Spread(float(np.var(values, ddof=1)), len(values), least)


def _epochs_to(record: RunRecord, target: float) -> float:
    reached = [entry["epoch"] for entry in record.validation if 100 * entry["accuracy"] >= target]
    return float(min(reached, default=len(record.validation) + 1))


def _on_request(
    contrast: Contrast, other: str, sides: Sequence[StoredCell], level: float
) -> JudgedDifference:
    """A registered metric, of those runs that were measured by it."""
    name, is_share = contrast.metric, METRICS[contrast.metric] == "points"
    factor = 100.0 if is_share else 1.0
    samples = [[factor * run.metrics[name] for run in s.runs if name in run.metrics] for s in sides]
    if not all(samples):
        return _unknown(contrast, other, f"no stored runs of both models have {name}")
    ours, theirs = samples
    least = [
        100 * sampling_deviation(float(np.mean(values)) / 100, side.test_images)
        if is_share
        else MISPLACED_DEVIATION
        for values, side in zip(samples, sides, strict=True)
    ]
    spreads = (_spread(ours, least[0]), _spread(theirs, least[1]))
    return _measured(contrast, other, (ours, theirs), spreads, level)


_MEASURES = {
    "accuracy": _accuracy,
    "loss": _loss,
    "parameters": _parameters,
    "train_time": _train_time,
    "epochs": _epochs,
    "train_loss": _train_loss,
    **dict.fromkeys(ON_REQUEST, _on_request),
}


def _against_number(
    contrast: Contrast, budget: str, stored: Stored, level: float
) -> JudgedDifference:
    """The mean of a cell against a published number, with Student's interval of the mean."""
    assert contrast.value is not None
    other = f"{contrast.value:g}"
    sides = _on_one_device([str(CellKey(budget, contrast.dataset, contrast.model))], stored)
    if sides is None:
        return _unknown(contrast, other, f"not measured yet ({budget})")
    (side,) = sides
    if side.is_outdated:
        return _unknown(contrast, other, _outdated(contrast.model, budget))
    sample, spread = side.percent, side.points
    if spread is None:
        return _unknown(contrast, other, "a model with one run has no interval")
    error = math.sqrt(float(spread.credible) / len(sample))
    half = float(scipy.stats.t.isf(level / 2, spread.degrees)) * error
    estimate = float(np.mean(sample)) - contrast.value
    difference = Difference(estimate, estimate - half, estimate + half)
    finding = contrast.expectation.finding(difference)
    return JudgedDifference(
        contrast, other, finding, difference, (len(sample), 0), values=(tuple(sample), ())
    )
