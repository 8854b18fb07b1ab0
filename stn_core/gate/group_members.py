"""The cells of a group: their values, seed by seed, and the change of their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stn_core.gate.baselines import BaselineRun, baseline_run
from stn_core.gate.difference import decide_difference
from stn_core.gate.judge import Judge
from stn_core.gate.metrics import VALUES, Metric
from stn_core.gate.pooling import (
    GROUP_FUTILITY,
    GROUP_FUTILITY_OF_GAINS,
    LEAST_STORED_SEEDS,
    least_pooled_deviation,
    pooled_yardstick,
    standardised,
)
from stn_core.gate.rules import Rules
from stn_core.gate.sequential import Decision, decide
from stn_core.gate.sides import OtherSide
from stn_core.gate.statistics import FloatArray
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord

LEAST_MEMBERS = 2
"""How many of a group's cells must have been judged by their values."""


@dataclass(frozen=True)
class Member:
    """A cell of a group, and its runs by seed.

    Args:
        key: the cell's.
        seeds: that it may train, in order.
        other: the commit that it is compared with, None if it is compared with a baseline.
        stored, fresh: badness of each side by metric and seed.
        scale: mean and deviation of its yardstick by metric; empty with a commit.
        sides: with a commit, the runs of each side by seed.
    """

    key: str
    seeds: tuple[int, ...]
    other: OtherSide | None
    stored: Mapping[Metric, Mapping[int, float]]
    fresh: Mapping[Metric, Mapping[int, float]]
    scale: Mapping[Metric, tuple[float, float]]
    sides: tuple[Mapping[int, RunRecord], Mapping[int, RunRecord]]

    @classmethod
    def of(cls, judge: Judge, cell: Cell, records: Sequence[RunRecord]) -> Member:
        """The member for a cell that was judged by its values, now or when it passed before."""
        good = [record for record in records if record.status == "ok"]
        fresh = list(map(baseline_run, good))
        other = judge.other_side(cell)
        baseline = judge.baseline(cell)
        if other:
            images, runs = other.runs[0].test_images, tuple(map(baseline_run, other.runs))
            scale = {}
        else:
            assert baseline
            images, runs = baseline.test_images, baseline.runs
            now = {run.seed for run in good}
            fresh += [run for run in passed_before(judge, cell, records) if run.seed not in now]
            sticks = {metric: judge.yardstick(metric, cell.key) for metric in VALUES}
            scale = {metric: (stick.mean, stick.deviation) for metric, stick in sticks.items()}
        return cls(
            key=cell.key,
            seeds=judge.seeds(cell),
            other=other,
            stored=_values(runs, images),
            fresh=_values(fresh, images),
            scale=scale,
            sides=(
                {run.seed: run for run in other.runs} if other else {},
                {run.seed: run for run in good},
            ),
        )


def passed_before(
    judge: Judge, cell: Cell, records: Sequence[RunRecord]
) -> tuple[BaselineRun, ...]:
    """The remembered runs of a cell that only the digest cache recognises; () for any other.

    Its code is that of these runs, but need not be that of its baseline.

    Args:
        judge: of the session.
        cell: the cell.
        records: of the cell, in any order.
    """
    baseline, seeds = judge.baseline(cell), judge.seeds(cell)
    first = next((record for record in records if record.seed == seeds[0]), None)
    if baseline is None or first is None:
        return ()
    place = first.environment.key()
    remembered = {
        seed: run
        for seed in seeds
        if (run := judge.digests.get((place, cell.key, baseline.fingerprint, seed)))
    }
    is_stored = baseline.digest(first.seed, place) == first.digest
    if is_stored or seeds[0] not in remembered or remembered[seeds[0]].digest != first.digest:
        return ()
    return tuple(
        BaselineRun(
            seed=seed,
            accuracy=run.accuracy,
            cross_entropy=run.cross_entropy,
            train_seconds=0.0,
            environment=place,
            device=judge.device,
            digest=run.digest,
        )
        for seed, run in remembered.items()
    )


def _values(runs: Sequence[BaselineRun], images: int) -> dict[Metric, dict[int, float]]:
    seeds = [run.seed for run in runs]
    return {metric: _by_seed(seeds, metric.badness(runs, images)) for metric in VALUES}


def _by_seed(seeds: Sequence[int], values: FloatArray) -> dict[int, float]:
    """The mean value of each seed, which may have run in several environments."""
    found: dict[int, list[float]] = {}
    for seed, value in zip(seeds, values, strict=True):
        found.setdefault(seed, []).append(float(value))
    return {seed: float(np.mean(several)) for seed, several in found.items()}


class Group(Protocol):
    """Cells that can be averaged seed by seed."""

    @property
    def members(self) -> tuple[Member, ...]:
        """They have the same seeds."""
        ...

    def decide(self, metric: Metric, rules: Rules) -> Decision:
        """The decision on the change of the members' mean."""
        ...

    def change(self, metric: Metric, look: int) -> float:
        """How much worse the members are on average, in points or as a logarithm."""
        ...

    def moves(self, metric: Metric, look: int) -> FloatArray:
        """By how many standard deviations the badness of each member rose, (members,)."""
        ...

    def missing(self, seeds: int) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """By member, which of its first seeds must still run: with this code, with the commit's."""
        ...


def largest_group(candidates: Sequence[Member]) -> Group | None:
    """The most candidates that can be averaged seed by seed; None if they are too few.

    One with fewer than LEAST_STORED_SEEDS stored seeds is left out: with it, the members would not
    share enough of them, and no group that it is in could be judged.
    """
    alike: dict[tuple[tuple[int, ...], bool], list[Member]] = {}
    for one in candidates:
        if one.other or len(one.stored[Metric.ACCURACY]) >= LEAST_STORED_SEEDS:
            alike.setdefault((one.seeds, one.other is not None), []).append(one)
    if not alike:
        return None
    largest = max(alike.values(), key=len)
    chosen = tuple(largest)
    if len(chosen) < LEAST_MEMBERS:
        return None
    if chosen[0].other:
        return TrainedGroup(chosen)
    held = [set(one.stored[Metric.ACCURACY]) for one in chosen]
    stored = tuple(sorted(set.intersection(*held)))
    return StoredGroup(chosen, stored) if len(stored) >= LEAST_STORED_SEEDS else None


def _common_seeds(seeds: Sequence[int], held: Sequence[Mapping[int, object]]) -> tuple[int, ...]:
    """The first seeds, in order, up to one that some member lacks."""
    count = next((n for n, seed in enumerate(seeds) if any(seed not in one for one in held)), None)
    return tuple(seeds[:count])


def _matrix(
    members: Sequence[Mapping[Metric, Mapping[int, float]]], metric: Metric, seeds: Sequence[int]
) -> FloatArray:
    """Badness, (seeds, members)."""
    rows = [[one[metric][seed] for one in members] for seed in seeds]
    return np.array(rows, dtype=np.float64).reshape(len(seeds), len(members))


@dataclass(frozen=True)
class StoredGroup:
    """Cells that are compared with their baselines.

    Args:
        members: they have the same seeds.
        stored_seeds: those that the baselines of all members have.
    """

    members: tuple[Member, ...]
    stored_seeds: tuple[int, ...]

    def _stored(self, metric: Metric) -> FloatArray:
        return _matrix([one.stored for one in self.members], metric, self.stored_seeds)

    def _fresh(self, metric: Metric, look: int | None = None) -> FloatArray:
        held = [one.fresh[metric] for one in self.members]
        seeds = _common_seeds(self.members[0].seeds, held)[:look]
        return _matrix([one.fresh for one in self.members], metric, seeds)

    def _distances(self, metric: Metric, values: FloatArray) -> FloatArray:
        """Badness as standard deviations above each member's baseline."""
        scales = np.array([one.scale[metric] for one in self.members])
        return standardised(values, scales[:, 0], scales[:, 1])

    def decide(self, metric: Metric, rules: Rules) -> Decision:
        """The decision on the change of the members' mean."""
        return decide(
            pooled_yardstick(self._distances(metric, self._stored(metric))),
            np.mean(self._distances(metric, self._fresh(metric)), axis=1),
            looks=rules.looks,
            level=rules.group_level,
            futility=GROUP_FUTILITY,
            futility_of_gains=GROUP_FUTILITY_OF_GAINS,
        )

    def change(self, metric: Metric, look: int) -> float:
        """How much worse the members are on average, in points or as a logarithm."""
        return metric.change(self._stored(metric), self._fresh(metric, look))

    def moves(self, metric: Metric, look: int) -> FloatArray:
        """By how many standard deviations the badness of each member rose, (members,)."""
        fresh = self._distances(metric, self._fresh(metric, look)).mean(axis=0)
        return np.asarray(fresh - self._distances(metric, self._stored(metric)).mean(axis=0))

    def missing(self, seeds: int) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """By member, which of its first seeds must still run."""
        return _missing(
            self.members, [one.fresh[Metric.ACCURACY] for one in self.members], seeds
        ), {}


@dataclass(frozen=True)
class TrainedGroup:
    """Cells that are compared with another commit, seed by seed.

    Args:
        members: they have the same seeds.
    """

    members: tuple[Member, ...]

    @property
    def _seeds(self) -> tuple[int, ...]:
        held = [side for one in self.members for side in one.sides]
        return _common_seeds(self.members[0].seeds, held)

    def _distances(self, metric: Metric, look: int) -> tuple[FloatArray, FloatArray]:
        """Both sides as standard deviations above the commit's mean, (seeds, members) each."""
        seeds = self._seeds[:look]
        stored, fresh = self._values(metric, look)
        sticks = [
            one.other.yardstick(metric, [[side[seed] for seed in seeds] for side in one.sides])
            for one in self.members
            if one.other
        ]
        means = np.array([stick.mean for stick in sticks])
        deviations = np.array([stick.deviation for stick in sticks])
        return standardised(stored, means, deviations), standardised(fresh, means, deviations)

    def _values(self, metric: Metric, look: int) -> tuple[FloatArray, FloatArray]:
        seeds = self._seeds[:look]
        stored = _matrix([one.stored for one in self.members], metric, seeds)
        return stored, _matrix([one.fresh for one in self.members], metric, seeds)

    def decide(self, metric: Metric, rules: Rules) -> Decision:
        """The decision on the change of the members' mean."""

        def measure(look: int) -> tuple[float, float, float]:
            sides = [side.mean(axis=1) for side in self._distances(metric, look)]
            variance = float(np.mean([np.var(side, ddof=1) for side in sides]))
            least = least_pooled_deviation(len(self.members))
            rise = float(np.mean(sides[1]) - np.mean(sides[0]))
            return rise, max(variance**0.5, least), 2.0 * (look - 1)

        return decide_difference(
            measure, len(self._seeds), looks=rules.side_looks, level=rules.group_level
        )

    def change(self, metric: Metric, look: int) -> float:
        """How much worse the members are on average, in points or as a logarithm."""
        return metric.change(*self._values(metric, look))

    def moves(self, metric: Metric, look: int) -> FloatArray:
        """By how many standard deviations the badness of each member rose, (members,)."""
        stored, fresh = self._distances(metric, look)
        return np.asarray(fresh.mean(axis=0) - stored.mean(axis=0))

    def missing(self, seeds: int) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """By member, which of its first seeds must still run: with this code, with the commit's."""
        fresh = _missing(self.members, [one.sides[1] for one in self.members], seeds)
        return fresh, _missing(self.members, [one.sides[0] for one in self.members], seeds)


def _missing(
    members: Sequence[Member], held: Sequence[Mapping[int, object]], seeds: int
) -> dict[str, tuple[int, ...]]:
    missing = {
        one.key: tuple(seed for seed in one.seeds[:seeds] if seed not in there)
        for one, there in zip(members, held, strict=True)
    }
    return {key: asked for key, asked in missing.items() if asked}
