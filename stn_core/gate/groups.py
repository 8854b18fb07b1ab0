"""Verdicts on groups of cells: what costs every cell a little, and no cell enough to fail alone."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stn_core.gate.baselines import baseline_run
from stn_core.gate.judge import Judge
from stn_core.gate.metrics import VALUES, Metric
from stn_core.gate.pooling import (
    GROUP_FUTILITY,
    LEAST_STORED_SEEDS,
    pooled_yardstick,
    standardised,
)
from stn_core.gate.statistics import Decision, FloatArray, Outcome, decide
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord

LEAST_MEMBERS = 2
CARRIERS_NAMED = 5
_JUDGED = (Verdict.PASS, Verdict.IMPROVED, Verdict.REGRESSED)
_FAILED = (Verdict.DIVERGED, Verdict.CRASHED, Verdict.MISSING)

Groups = Mapping[str, Sequence[str]]
"""By name, the keys of the cells that make a group; of the whole matrix, whatever is selected."""


@dataclass(frozen=True)
class GroupJudgement:
    """A group's verdict.

    Args:
        name: of the group.
        verdict: PASS, IMPROVED or REGRESSED.
        message: why, in one sentence; "" where it passes.
        members: keys of the cells that were judged together.
        seeds: how many seeds of each of them decided.
        wanted: seeds that must run before there is a verdict, by key.
    """

    name: str
    verdict: Verdict
    message: str = ""
    members: tuple[str, ...] = ()
    seeds: int = 0
    wanted: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        return f"{self.verdict} (group)  {self.name}: {self.message}"


def judge_groups(
    judge: Judge,
    groups: Groups,
    cells: Iterable[Cell],
    judgements: Iterable[Judgement],
    by_key: Mapping[str, Sequence[RunRecord]],
) -> list[GroupJudgement]:
    """The verdicts on the groups of which two cells or more were judged by their values.

    A replay, as for a cell: more records never change what fewer have decided.

    Args:
        judge: of the session.
        groups: of the plan.
        cells: of the session.
        judgements: of these cells.
        by_key: the records of each cell; beyond those that its own verdict took, others may have
            been run for a group's.
    """
    planned = {cell.key: cell for cell in cells}
    verdicts = {judgement.key: judgement.verdict for judgement in judgements}
    judged = []
    for name, keys in groups.items():
        members = [
            _Member.of(judge, planned[key], by_key[key])
            for key in keys
            if key in planned and verdicts.get(key) in _JUDGED
        ]
        group = _Group.of(members)
        if group is not None:
            failed = [key for key in keys if verdicts.get(key) in _FAILED and key in planned]
            judged.append(_judge_group(judge, name, group, failed))
    return judged


@dataclass(frozen=True)
class _Member:
    """A cell of a group, and its runs by seed.

    Args:
        key: the cell's.
        seeds: that it may spend, in order.
        stored, fresh: badness by metric and seed.
        scale: mean and deviation of its yardstick by metric.
    """

    key: str
    seeds: tuple[int, ...]
    stored: Mapping[Metric, Mapping[int, float]]
    fresh: Mapping[Metric, Mapping[int, float]]
    scale: Mapping[Metric, tuple[float, float]]

    @classmethod
    def of(cls, judge: Judge, cell: Cell, records: Sequence[RunRecord]) -> _Member:
        baseline = judge.baseline(cell)
        assert baseline
        good = [baseline_run(record) for record in records if record.status == "ok"]
        stored, fresh = (
            {
                metric: _by_seed(
                    [run.seed for run in runs], metric.badness(runs, baseline.test_images)
                )
                for metric in VALUES
            }
            for runs in (baseline.runs, good)
        )
        sticks = {metric: judge.yardstick(metric, cell.key) for metric in VALUES}
        scale = {metric: (stick.mean, stick.deviation) for metric, stick in sticks.items()}
        return cls(cell.key, judge.seeds(cell), stored, fresh, scale)


def _by_seed(seeds: Sequence[int], values: FloatArray) -> dict[int, float]:
    """The mean of each seed's values: it may have been run in several environments."""
    found: dict[int, list[float]] = {}
    for seed, value in zip(seeds, values, strict=True):
        found.setdefault(seed, []).append(float(value))
    return {seed: float(np.mean(several)) for seed, several in found.items()}


@dataclass(frozen=True)
class _Group:
    """The cells that can be averaged seed by seed.

    Args:
        members: they spend the same seeds.
        stored: seeds that all of them hold a baseline of.
        fresh: seeds that all of them have run, in the order in which they are spent.
    """

    members: tuple[_Member, ...]
    stored: tuple[int, ...]
    fresh: tuple[int, ...]

    @classmethod
    def of(cls, candidates: Sequence[_Member]) -> _Group | None:
        """The largest part of them that spends the same seeds; None where that is too few."""
        if not candidates:
            return None
        ((seeds, count),) = collections.Counter(one.seeds for one in candidates).most_common(1)
        members = tuple(one for one in candidates if one.seeds == seeds)
        held = [set(one.stored[Metric.ACCURACY]) for one in members]
        stored = tuple(sorted(set.intersection(*held)))
        if count < LEAST_MEMBERS or len(stored) < LEAST_STORED_SEEDS:
            return None
        ran = [set(one.fresh[Metric.ACCURACY]) for one in members]
        common = set.intersection(*ran)
        complete = next((n for n, seed in enumerate(seeds) if seed not in common), len(seeds))
        return cls(members, stored, seeds[:complete])

    def values(self, metric: Metric, seeds: Sequence[int], *, stored: bool) -> FloatArray:
        """Badness, (seeds, members)."""
        columns = [(one.stored if stored else one.fresh)[metric] for one in self.members]
        return np.array([[column[seed] for column in columns] for seed in seeds]).reshape(
            len(seeds), len(columns)
        )

    def distances(self, metric: Metric, values: FloatArray) -> FloatArray:
        """Badness as standard deviations above each member's baseline."""
        scales = np.array([one.scale[metric] for one in self.members])
        return standardised(values, scales[:, 0], scales[:, 1])

    def decide(self, metric: Metric, judge: Judge) -> Decision:
        """What the members' mean has done."""
        stored = self.values(metric, self.stored, stored=True)
        fresh = self.values(metric, self.fresh, stored=False)
        return decide(
            pooled_yardstick(self.distances(metric, stored)),
            np.mean(self.distances(metric, fresh), axis=1),
            looks=judge.rules.looks,
            level=judge.rules.group_level,
            futility=GROUP_FUTILITY,
        )

    def change(self, metric: Metric, look: int) -> float:
        """How much worse the members are in the mean, in points or as a logarithm."""
        stored = self.values(metric, self.stored, stored=True)
        fresh = self.values(metric, self.fresh[:look], stored=False)
        return metric.change(stored, fresh)

    def carriers(self, metric: Metric, look: int, sign: int) -> list[str]:
        """The members that moved further than their mean, the furthest first."""
        stored = self.values(metric, self.stored, stored=True)
        fresh = self.values(metric, self.fresh[:look], stored=False)
        moved = self.distances(metric, fresh).mean(axis=0)
        moved = sign * (moved - self.distances(metric, stored).mean(axis=0))
        order = np.argsort(-moved)
        return [self.members[place].key for place in order if moved[place] >= np.mean(moved)]


def _judge_group(judge: Judge, name: str, group: _Group, failed: Sequence[str]) -> GroupJudgement:
    keys = tuple(one.key for one in group.members)
    decisions = {metric: group.decide(metric, judge) for metric in VALUES}
    blank = GroupJudgement(name, Verdict.PASS, members=keys)
    for outcome, verdict in ((Outcome.ROSE, Verdict.REGRESSED), (Outcome.FELL, Verdict.IMPROVED)):
        moved = {
            metric: decision
            for metric, decision in decisions.items()
            if decision.outcome is outcome and _matters(judge, group, metric, decision)
        }
        unclear = any(one.outcome is Outcome.UNCLEAR for one in decisions.values())
        if moved and (verdict is Verdict.REGRESSED or not unclear):
            message = _message(group, moved, failed)
            seeds = max(decision.looked_at for decision in moved.values())
            return GroupJudgement(name, verdict, message, keys, seeds)
    asked = max(decision.seeds_wanted for decision in decisions.values())
    wanted = {
        one.key: tuple(seed for seed in one.seeds[:asked] if seed not in one.fresh[Metric.ACCURACY])
        for one in group.members
    }
    wanted = {key: seeds for key, seeds in wanted.items() if seeds}
    looked_at = max(decision.looked_at for decision in decisions.values())
    return GroupJudgement(name, blank.verdict, "", keys, looked_at, wanted)


def _matters(judge: Judge, group: _Group, metric: Metric, decision: Decision) -> bool:
    """Whether a mean change is large enough to be one in practice."""
    change = group.change(metric, decision.looked_at)
    return abs(change) >= metric.least_group_change(judge.rules.min_drop_points)


def _message(group: _Group, decisions: Mapping[Metric, Decision], failed: Sequence[str]) -> str:
    reasons = []
    for metric, decision in decisions.items():
        change = group.change(metric, decision.looked_at)
        chance = max(min(decision.p_value, 1 - decision.p_value), 1e-99)
        reasons.append(
            f"{metric.in_words(change)} on average (p = {chance:.0e}, {decision.looked_at}"
            f" seed{'s' * (decision.looked_at != 1)})"
        )
    metric, decision = next(iter(decisions.items()))
    sign = 1 if decision.rise > 0 else -1
    carriers = group.carriers(metric, decision.looked_at, sign)
    more = len(carriers) - CARRIERS_NAMED
    named = ", ".join(carriers[:CARRIERS_NAMED]) + (f" and {more} more" if more > 0 else "")
    text = f"{', '.join(reasons)} over {len(group.members)} cells, most in {named}"
    return f"{text}; left out, as they failed: {', '.join(failed)}" if failed else text
