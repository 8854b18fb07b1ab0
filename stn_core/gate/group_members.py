"""The cells of a group: their values, seed by seed, and the change of their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
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
    is_covariance_known,
    least_pooled_deviation,
    pooled_yardstick,
    standardised,
)
from stn_core.gate.rules import Rules
from stn_core.gate.sequential import Decision, decide, limits
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
    """Cells that can be averaged run by run.

    The runs of a member are those of its seeds, in order. Members with the same seeds stay paired
    by seed. Those with others (measured anew with fresh seeds, say) are paired with them by
    position: such runs are independent, among the stored ones as among the new ones, so the spread
    of the means of the stored ones is that of the new ones. If the user named the seeds, all
    members train these, and only the stored runs are paired by position. The new ones then resemble
    each other more than the stored ones do, which `pooled_deviation` takes into account.
    """

    @property
    def members(self) -> tuple[Member, ...]:
        """At least LEAST_MEMBERS."""
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


def largest_group(candidates: Sequence[Member], rules: Rules) -> Group | None:
    """The most candidates that can be averaged run by run; None if they are too few.

    Args:
        candidates: cells of one group.
        rules: of the session.
    """
    trained = tuple(one for one in candidates if one.other)
    stored = _stored_group([one for one in candidates if not one.other], rules)
    if len(trained) > (len(stored.members) if stored else LEAST_MEMBERS - 1):
        return TrainedGroup(trained)
    return stored


def _stored_group(candidates: Sequence[Member], rules: Rules) -> StoredGroup | None:
    """The candidates that can show the smallest drop together; None if they are too few.

    All members use equally many stored seeds. So one that has few would cost the others the degrees
    of freedom of their spread: with it, 18 cells would have 4 instead of 19. No more than half of
    the candidates are left out for that, or the rest would not speak for the group. Which seeds are
    stored decides, and never a value, so the choice raises no false alarm.
    """
    stored = {frozenset(one.stored[Metric.ACCURACY]) for one in candidates}
    counts = {len(one & other) for one, other in combinations_with_replacement(stored, 2)}
    groups = [
        _with_stored_seeds(candidates, count)
        for count in sorted(counts, reverse=True)
        if count >= LEAST_STORED_SEEDS
    ]
    most = max((len(group.members) for group in groups), default=0)
    able = [group for group in groups if len(group.members) >= max(LEAST_MEMBERS, most / 2)]
    return min(able, key=lambda group: group.least_limit(rules), default=None)


def _with_stored_seeds(candidates: Sequence[Member], count: int) -> StoredGroup:
    """The candidates that have this many stored seeds.

    Those of one measurement that train the same seeds share them.
    """
    shared: dict[tuple[int, ...], list[set[int]]] = {}
    members, measurements = [], []
    for one in candidates:
        own = set(one.stored[Metric.ACCURACY])
        if len(own) < count:
            continue
        known = shared.setdefault(one.seeds, [])
        fitting = (number for number, seeds in enumerate(known) if len(seeds & own) >= count)
        number = next(fitting, len(known))
        if number == len(known):
            known.append(own)
        known[number] = known[number] & own
        members.append(one)
        measurements.append(number)
    return StoredGroup(
        members=tuple(members),
        stored_seeds=tuple(
            tuple(sorted(shared[one.seeds][number])[:count])
            for one, number in zip(members, measurements, strict=True)
        ),
        measurements=tuple(measurements),
    )


def _first_seeds(
    members: Sequence[Member], held: Sequence[Sequence[Mapping[int, object]]], look: int | None
) -> list[tuple[int, ...]]:
    """Of each member the first seeds, as many as all of them hold.

    Args:
        members: of a group.
        held: of each member, mappings that must all have the seed.
        look: the largest number of seeds; None for any.
    """
    held_by_all = min(map(_held_by_all, (one.seeds for one in members), held))
    count = held_by_all if look is None else min(look, held_by_all)
    return [one.seeds[:count] for one in members]


def _held_by_all(seeds: Sequence[int], sides: Sequence[Mapping[int, object]]) -> int:
    """How many of the first seeds all of them hold."""
    lacks = (n for n, seed in enumerate(seeds) if any(seed not in one for one in sides))
    return next(lacks, len(seeds))


def _matrix(
    members: Sequence[Mapping[Metric, Mapping[int, float]]],
    metric: Metric,
    seeds: Sequence[Sequence[int]],
) -> FloatArray:
    """Badness, (runs, members).

    Args:
        members: of each one, its values.
        metric: to read.
        seeds: of each member, equally many.
    """
    columns = [[one[metric][seed] for seed in own] for one, own in zip(members, seeds, strict=True)]
    return np.array(columns, dtype=np.float64).T


@dataclass(frozen=True)
class StoredGroup:
    """Cells that are compared with their baselines.

    Args:
        members: two or more.
        stored_seeds: of each member, equally many.
        measurements: of each member, a number. Those that train the same seeds and have the same
            number share their stored seeds; those with another number do not.
    """

    members: tuple[Member, ...]
    stored_seeds: tuple[tuple[int, ...], ...]
    measurements: tuple[int, ...]

    def least_limit(self, rules: Rules) -> float:
        """The limit of the last look if the members are independent, as far as can be known."""
        count = len(self.stored_seeds[0])
        is_known = is_covariance_known(self.measurements)
        bounds = limits(
            least_pooled_deviation(len(self.members)) if is_known else 1.0,
            count - 1,
            count,
            looks=rules.looks,
            level=rules.group_level,
        )
        return float(bounds.rose[-1])

    def _stored(self, metric: Metric) -> FloatArray:
        return _matrix([one.stored for one in self.members], metric, self.stored_seeds)

    def _fresh(self, metric: Metric, look: int | None = None) -> FloatArray:
        seeds = _first_seeds(self.members, [[one.fresh[metric]] for one in self.members], look)
        return _matrix([one.fresh for one in self.members], metric, seeds)

    def _distances(self, metric: Metric, values: FloatArray) -> FloatArray:
        """Badness as standard deviations above each member's baseline."""
        scales = np.array([one.scale[metric] for one in self.members])
        return standardised(values, scales[:, 0], scales[:, 1])

    def decide(self, metric: Metric, rules: Rules) -> Decision:
        """The decision on the change of the members' mean."""
        return decide(
            pooled_yardstick(self._distances(metric, self._stored(metric)), self.measurements),
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
    """Cells that are compared with another commit, run by run.

    Args:
        members: two or more.
    """

    members: tuple[Member, ...]

    def _seeds(self, look: int | None = None) -> list[tuple[int, ...]]:
        """Of each member."""
        return _first_seeds(self.members, [one.sides for one in self.members], look)

    def _distances(self, metric: Metric, look: int) -> tuple[FloatArray, FloatArray]:
        """Both sides as standard deviations above the commit's mean, (seeds, members) each."""
        stored, fresh = self._values(metric, look)
        sticks = [
            one.other.yardstick(metric, [[side[seed] for seed in seeds] for side in one.sides])
            for one, seeds in zip(self.members, self._seeds(look), strict=True)
            if one.other
        ]
        means = np.array([stick.mean for stick in sticks])
        deviations = np.array([stick.deviation for stick in sticks])
        return standardised(stored, means, deviations), standardised(fresh, means, deviations)

    def _values(self, metric: Metric, look: int) -> tuple[FloatArray, FloatArray]:
        seeds = self._seeds(look)
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
            measure, len(self._seeds()[0]), looks=rules.side_looks, level=rules.group_level
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
