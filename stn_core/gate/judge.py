"""The judge of a session: the rules and stored baselines give a verdict, or the seeds it needs.

Judging is a replay. It goes through a cell's records look by look, in the order of the seeds, and
ends with a verdict or with the seeds that must run next. So a worker, the end of the session and a
later ``--from-records`` cannot disagree.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stn_core.gate.baselines import Baselines, CellBaseline, baseline_run
from stn_core.gate.digests import Digests
from stn_core.gate.judgement import (
    LARGEST_DROP_POINTS,
    NO_BASELINE,
    Judgement,
    SeedsNeeded,
    Verdict,
    early_answer,
)
from stn_core.gate.metrics import AnyMetric, Metric
from stn_core.gate.reasons import advice, not_judged, reasons, stale_reason
from stn_core.gate.rules import Rules
from stn_core.gate.sequential import Decision, Outcome, decide, smallest_detectable_rise
from stn_core.gate.sides import OtherSide
from stn_core.gate.statistics import Yardstick, yardsticks
from stn_core.session.cells import Cell, split_key
from stn_core.session.records import RunRecord


@dataclass(eq=False)
class Judge:
    """Judges the cells of one budget on one type of device.

    Args:
        rules: the session's.
        baselines: everything stored; the cells' variances are moderated together.
        budget: whose cells are judged.
        device: the type of device, "cpu" or "cuda".
        digests: of runs that count as stored although they are in no baseline.
    """

    rules: Rules
    baselines: Baselines
    budget: str
    device: str
    digests: Digests = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rules.gates_speed:
            self.rules = self.rules.with_least_runs()
        self._stored = {
            key: part
            for key, cell in self.baselines.cells.items()
            if split_key(key).budget == self.budget and (part := cell.on(self.device))
        }

    def seeds(self, cell: Cell) -> tuple[int, ...]:
        """The seeds that a cell may train, in order; those of its baseline come first.

        So the first run has a stored run to repeat, whatever seeds the baseline was measured with.
        If the model has changed, these runs are paired with the stored ones: they share the initial
        weights and the order of the data. If pairs correlate with r, the variance of the difference
        of the means, s^2 (1 / n + 1 / m), is smaller by 2 r s^2 / m. Pairs make false alarms rarer
        (0.55 % of sessions without pairs, 0.28 % with r = 0.2, none with r = 1; n = 20,000 each,
        18 real cells, 2026-11-21) and introduce no bias.
        """
        baseline = self.baseline(cell)
        if baseline is None or self.rules.are_named:
            return self.rules.seeds
        stored = sorted(run.seed for run in baseline.runs)
        return tuple(dict.fromkeys([*stored, *self.rules.seeds]))[: self.rules.looks[-1]]

    def judge(
        self, cell: Cell, records: Sequence[RunRecord], data_hash: str
    ) -> Judgement | SeedsNeeded:
        """The verdict on a cell, or the seeds that must run before there is one.

        Args:
            cell: the cell.
            records: of the cell's seeds so far, in any order.
            data_hash: of the present dataset, "" if unknown.
        """
        baseline = self.baseline(cell)
        seeds = self.seeds(cell)
        by_seed = {record.seed: record for record in records}
        runs = tuple(by_seed[seed] for seed in seeds if seed in by_seed)
        blank = Judgement(cell.key, Verdict.MISSING, records=runs, baseline=baseline)
        stale = stale_reason(cell, data_hash, baseline)
        if stale:
            return replace(blank, verdict=Verdict.STALE, message=stale)
        if baseline is None:
            message = "the recipe is overridden" if cell.is_search else NO_BASELINE
            return early_answer(blank, seeds[: self.rules.runs_without_baseline]) or replace(
                blank, verdict=Verdict.NEW, message=message
            )
        settling = self.rules.seeds_to_settle if self.rules.settles_identical else 0
        early = early_answer(blank, seeds[:settling])
        if early:
            return early
        if settling and self._repeats(cell.key, baseline, runs[:settling]):
            settled = replace(blank, records=runs[:settling])
            return self._judge_speed(replace(settled, message=self._not_judged(cell, settled)))
        return self._judge_values(cell, blank)

    def seeds_left(self, cell: Cell, records: Sequence[RunRecord]) -> tuple[int, int]:
        """The fewest and the most seeds that must still train before there is a verdict.

        Args:
            cell: the cell; its data are assumed to be those of the baseline.
            records: of the cell so far, in any order.
        """
        answer = self.judge(cell, records, data_hash="")
        if isinstance(answer, Judgement):
            return 0, 0
        fewest = len(answer.seeds)
        if answer.baseline is None:
            return fewest, fewest
        return fewest, self.rules.looks[-1] - len(answer.records)

    def baseline(self, cell: Cell) -> CellBaseline | None:
        """The stored runs that a cell is compared with, None if there are none."""
        return None if cell.is_search else self._stored.get(cell.key)

    def other_side(self, cell: Cell) -> OtherSide | None:
        """The commit that a cell is compared with, None if it is compared with a baseline."""
        return None

    def yardstick(self, metric: AnyMetric, key: str) -> Yardstick:
        """The yardstick of a cell that has a baseline."""
        return self._yardsticks[metric][key]

    def _repeats(self, key: str, baseline: CellBaseline, runs: Sequence[RunRecord]) -> bool:
        """Whether the runs equal the stored ones to the last bit.

        No digest covers further metrics. Those that are judged must equal the stored values too: a
        model can change on images that it is not evaluated on. A cache has no values of them, so
        its digest is not enough if such a metric is judged.
        """
        stored = {(run.seed, run.environment): run.metrics for run in baseline.runs}
        judged = [metric.value for metric in self.rules.judged if metric.is_known(baseline.runs)]

        def is_known(run: RunRecord) -> bool:
            place = run.environment.key()
            cached = self.digests.get((place, key, baseline.fingerprint, run.seed))
            known = {baseline.digest(run.seed, place), cached.digest if cached else None} - {None}
            if run.digest not in known:
                return False
            before, now = stored.get((run.seed, place), {}), baseline_run(run).metrics
            return all(before.get(name) == now[name] for name in judged if name in now)

        return all(is_known(run) for run in runs)

    def _judge_speed(self, judgement: Judgement) -> Judgement:
        """The verdict on runs that repeat the stored ones: only their speed can fail."""
        judgement = replace(
            judgement,
            verdict=Verdict.IDENTICAL,
            detectable_points=self._detectable_points(judgement.key),
        )
        judgement = replace(judgement, slowdown=self._slowdown(judgement))
        if judgement.slowdown is None or not self.rules.gates_speed:
            return judgement
        message = Metric.SPEED.in_words(math.log(judgement.slowdown))
        return replace(judgement, verdict=Verdict.REGRESSED, message=message)

    def _judge_values(self, cell: Cell, judgement: Judgement) -> Judgement | SeedsNeeded:
        """Statistics decide, look by look; runs after the deciding look do not count."""
        seeds = self.seeds(cell)
        for look in self.rules.looks:
            early = early_answer(judgement, seeds[:look])
            if early:
                return early
            least = self._least_seeds(look)
            seen = replace(judgement, records=judgement.records[:look])
            seen = replace(seen, detectable_points=self._detectable_points(seen.key, least))
            decisions = self._decisions(seen, least)
            if self._is_settled(seen, decisions):
                break
        seen = replace(seen, slowdown=self._slowdown(seen))
        return self._or_blind(self._conclude(cell, seen, decisions))

    def _least_seeds(self, look: int) -> int:
        """How many seeds a test that this look may end needs to end as steady.

        If a drop must be detected, earlier looks would not have shown it, or the cell would have
        been settled: what they saw does not end a test.
        """
        return 1 if self.rules.must_detect_points is None else look

    def _is_settled(self, judgement: Judgement, decisions: Mapping[AnyMetric, Decision]) -> bool:
        """Whether a cell needs no more seeds than it has."""
        outcomes = {decision.outcome for decision in decisions.values()}
        is_clear = Outcome.UNCLEAR not in outcomes and not self._is_blind(judgement)
        return Outcome.ROSE in outcomes or is_clear

    def _is_blind(self, judgement: Judgement) -> bool:
        """Whether a cell could not have shown the drop that it must."""
        must, shown = self.rules.must_detect_points, judgement.detectable_points
        return must is not None and shown is not None and shown > must

    def _or_blind(self, judgement: Judgement) -> Judgement:
        """BLIND instead of PASS if a cell could not have shown the drop that it must."""
        if judgement.verdict is not Verdict.PASS or not self._is_blind(judgement):
            return judgement
        seeds = len(judgement.records)
        is_stored = judgement.baseline is not None and judgement.baseline.is_stored
        advice = "measure more baseline seeds, or train longer" if is_stored else "train longer"
        shown = judgement.detectable_points
        drop = (
            "any drop, however large"
            if shown == LARGEST_DROP_POINTS
            else f"a drop of {self.rules.must_detect_points:g} points; the smallest is {shown:.1f}"
        )
        message = f"{seeds} seed{'s' * (seeds != 1)} would not have shown {drop}; {advice}"
        return replace(judgement, verdict=Verdict.BLIND, message=message)

    def _decisions(self, judgement: Judgement, least_seeds: int) -> dict[AnyMetric, Decision]:
        """The decision on each metric that can fail a cell."""
        runs = [baseline_run(record) for record in judgement.records]
        decisions = {
            metric: self._decide(metric, judgement, least_seeds)
            for metric in self.rules.judged
            if judgement.key in self._yardsticks[metric] and metric.is_known(runs)
        }
        speed = self._speed(judgement, self.rules.looks) if self.rules.gates_speed else None
        return {**decisions, Metric.SPEED: speed} if speed else decisions

    def _slowdown(self, judgement: Judgement) -> float | None:
        """Training time divided by the stored one, None unless it is significantly longer."""
        speed = self._speed(judgement, (len(judgement.records),))
        return math.exp(speed.rise) if speed and speed.outcome is Outcome.ROSE else None

    def _conclude(
        self, cell: Cell, judgement: Judgement, decisions: Mapping[AnyMetric, Decision]
    ) -> Judgement:
        """The verdict that follows from the decisions on each metric."""
        worse = {
            m: decision for m, decision in decisions.items() if decision.outcome is Outcome.ROSE
        }
        if worse:
            regressed = replace(judgement, verdict=Verdict.REGRESSED)
            return replace(regressed, message=reasons(regressed, worse))
        improved = replace(judgement, verdict=Verdict.IMPROVED)
        gained = improved.difference_points or 0.0
        better: dict[AnyMetric, Decision] = {
            metric: decisions[metric]
            for metric in decisions
            if metric is not Metric.SPEED
            and decisions[metric].outcome is Outcome.FELL
            # The floor of a rise in points is a little less than that of a fall.
            and (metric is not Metric.ACCURACY or gained >= self.rules.min_drop(judgement.key))
        }
        if not better:
            note = self._not_judged(cell, judgement)
            return replace(judgement, verdict=Verdict.PASS, message=note)
        parts = filter(None, [reasons(improved, better), self._advise(cell, improved, better)])
        return replace(improved, message="; ".join(parts))

    def _not_judged(self, cell: Cell, judgement: Judgement) -> str:
        """Which metrics could not fail a cell, and why; "" if all could."""
        assert judgement.baseline
        notes = [not_judged(self.rules.judged, judgement.baseline, judgement.records)]
        # Against a commit, the speed of all cells together is judged.
        if self.rules.gates_speed and self.other_side(cell) is None:
            timed = self._speed(judgement, self.rules.looks)
            notes += [] if timed else ["not judged by speed: no times of one device on both sides"]
        return "; ".join(filter(None, notes))

    def _advise(
        self, cell: Cell, judgement: Judgement, better: Mapping[AnyMetric, Decision]
    ) -> str:
        """What to do about an improvement, "" if there is nothing to do."""
        return advice(cell, judgement, better)

    def _decide(self, metric: AnyMetric, judgement: Judgement, least_seeds: int) -> Decision:
        assert judgement.baseline
        runs = [baseline_run(record) for record in judgement.records]
        yardstick = self._yardsticks[metric][judgement.key]
        return decide(
            yardstick,
            metric.badness(runs, judgement.baseline.test_images),
            looks=self.rules.looks,
            level=self.rules.level,
            floor=metric.least_rise(yardstick.mean, self.rules.min_drop(judgement.key)),
            least_seeds=least_seeds,
        )

    def _speed(self, judgement: Judgement, looks: Sequence[int]) -> Decision | None:
        """How training time compares, None if nothing was measured on such a device."""
        places = {(r.environment.device_name, r.environment.threads) for r in judgement.records}
        if len(places) > 1:
            return None
        yardstick = self._speed_yardsticks(*places.pop()).get(judgement.key)
        if yardstick is None:
            return None
        runs = [baseline_run(record) for record in judgement.records]
        return decide(
            yardstick,
            Metric.SPEED.badness(runs, 1),
            looks=looks,
            level=self.rules.level,
            floor=Metric.SPEED.least_rise(yardstick.mean, self.rules.min_drop(judgement.key)),
        )

    def _detectable_points(self, key: str, least_seeds: int = 1) -> float:
        """The smallest drop that the session's looks detect with 95 % power."""
        yardstick = self._yardsticks[Metric.ACCURACY][key]
        rise = smallest_detectable_rise(
            yardstick,
            looks=self.rules.looks,
            level=self.rules.level,
            floor=Metric.ACCURACY.least_rise(yardstick.mean, self.rules.min_drop(key)),
            least_seeds=least_seeds,
        )
        return drop_in_points(yardstick.mean, rise, self._stored[key].accuracies)

    @functools.cached_property
    def _yardsticks(self) -> dict[AnyMetric, dict[str, Yardstick]]:
        return {
            metric: _measure(
                metric, {k: cell for k, cell in self._stored.items() if metric.is_known(cell.runs)}
            )
            for metric in self.rules.judged
        }

    @functools.lru_cache(maxsize=8)  # noqa: B019  a judge lives as long as its session
    def _speed_yardsticks(self, device_name: str, threads: int) -> dict[str, Yardstick]:
        """Of cells that were measured at least twice on this device with as many threads."""
        same = {
            key
            for key, place in self.baselines.environments.items()
            if (place.get("device_name"), place.get("threads")) == (device_name, threads)
        }
        parts = {
            key: replace(cell, runs=tuple(run for run in cell.runs if run.environment in same))
            for key, cell in self._stored.items()
        }
        return _measure(
            Metric.SPEED, {key: cell for key, cell in parts.items() if len(cell.runs) > 1}
        )


def drop_in_points(mean: float, rise: float, accuracies: Sequence[float]) -> float:
    """A rise of log error above a mean, in points of accuracy.

    LARGEST_DROP_POINTS if the accuracy cannot fall so far: the runs are too few, say, or nearly all
    of their images are wrong already.

    Args:
        mean: of the log errors that it rises from.
        rise: of the log error.
        accuracies: that it rises from, in [0, 1].
    """
    points = 100 * math.exp(mean) * math.expm1(min(rise, 30.0))
    return points if points < 100 * float(np.mean(accuracies)) else LARGEST_DROP_POINTS


def _measure(metric: AnyMetric, cells: Mapping[str, CellBaseline]) -> dict[str, Yardstick]:
    return yardsticks(
        {key: metric.badness(cell.runs, cell.test_images) for key, cell in cells.items()},
        {key: metric.least_deviation(cell.runs, cell.test_images) for key, cell in cells.items()},
    )
