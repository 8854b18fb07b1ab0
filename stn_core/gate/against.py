"""The judge of a session that compares with another commit, trained in the same session."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stn_core.gate.baselines import CellBaseline, baseline_run
from stn_core.gate.difference import (
    decide_difference,
    smallest_detectable_difference,
    spread_of,
)
from stn_core.gate.judge import Judge, drop_in_points
from stn_core.gate.judgement import (
    LARGEST_DROP_POINTS,
    Judgement,
    SeedsNeeded,
    Verdict,
    early_answer,
)
from stn_core.gate.metrics import AnyMetric, Metric
from stn_core.gate.reasons import stale_reason
from stn_core.gate.sequential import Decision
from stn_core.gate.sides import OtherSide, StoredSpreads
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord


@dataclass(eq=False, kw_only=True)
class AgainstJudge(Judge):
    """Compares cells with another commit that trains the same seeds in this session.

    If the commit's first run repeats a stored one, the stored values count as the commit's, unless
    they are too few to show any drop.

    Args:
        rules, baselines, budget, device, digests: as for `Judge`.
        revision: the commit, as the user named it.
        references: the commit's runs by cell; the session may add more while it runs.
        lacking: by cell, why the commit does not have it; likewise.
    """

    revision: str
    references: Mapping[str, Sequence[RunRecord]]
    lacking: Mapping[str, str]

    def judge(
        self, cell: Cell, records: Sequence[RunRecord], data_hash: str
    ) -> Judgement | SeedsNeeded:
        """The verdict on a cell, or the seeds of each side that must run before there is one."""
        seeds = self.seeds(cell)
        fresh = _by_seed(records)
        blank = Judgement(cell.key, Verdict.MISSING, records=_runs(fresh, seeds))
        if cell.key in self.lacking:
            return early_answer(blank, seeds[: self.rules.runs_without_baseline]) or replace(
                blank, verdict=Verdict.NEW, message=self.lacking[cell.key]
            )
        reference = self._first(cell)
        if reference is None:
            return self._needed(cell, blank, 1)
        if doubt := self._doubt(reference, data_hash):
            return replace(blank, verdict=Verdict.STALE, message=doubt)
        if self._is_stored(cell, reference):
            return super().judge(cell, records, data_hash)
        return self._judge_sides(cell, blank)

    def seeds_left(self, cell: Cell, records: Sequence[RunRecord]) -> tuple[int, int]:
        """The fewest and the most seeds of this side that must still train."""
        answer = self.judge(cell, records, data_hash="")
        if isinstance(answer, Judgement):
            return 0, 0
        return len(answer.seeds), max(self.rules.side_looks[-1] - len(answer.records), 0)

    def other_side(self, cell: Cell) -> OtherSide | None:
        """The commit's runs; None if the stored ones count as its own."""
        reference = self._first(cell)
        if reference is None or self._is_stored(cell, reference):
            return None
        return self._trained_side(cell)

    def _trained_side(self, cell: Cell) -> OtherSide:
        runs = self._reference_runs(cell)
        spreads = self._stored_spreads
        # With another recipe or other data, the cell's values may spread differently.
        if stale_reason(cell, runs[0].data_hash if runs else "", self.baseline(cell)):
            spreads = {
                metric: {key: spread for key, spread in found.items() if key != cell.key}
                for metric, found in spreads.items()
            }
        return OtherSide(cell.key, runs, spreads)

    @functools.cached_property
    def _stored_spreads(self) -> StoredSpreads:
        return {
            metric: {
                key: spread_of(metric.badness(cell.runs, cell.test_images))
                for key, cell in self._stored.items()
                if len(cell.runs) > 1 and metric.is_known(cell.runs)
            }
            for metric in self.rules.judged
        }

    def _judge_sides(self, cell: Cell, judgement: Judgement) -> Judgement | SeedsNeeded:
        other = self._trained_side(cell)
        references = other.runs
        early = self._early_answer(cell, judgement, 1)
        if early:
            return early
        if self.rules.settles_identical and self._same(judgement.records[0], references[0]):
            same = replace(
                judgement,
                verdict=Verdict.IDENTICAL,
                records=judgement.records[:1],
                baseline=_baseline(references[:1]),
            )
            return self._with_recipe_note(
                replace(same, message=self._not_judged(cell, same)), cell, references[0]
            )
        for look in self.rules.side_looks:
            early = self._early_answer(cell, judgement, look)
            if isinstance(early, Judgement):
                return early
            if early or len(references) < look:
                return self._needed(cell, judgement, look)
            sides = references[:look], judgement.records[:look]
            least = self._least_seeds(look)
            seen = replace(
                judgement,
                records=sides[1],
                baseline=_baseline(sides[0]),
                detectable_points=self._detectable_sides(other, sides, least),
            )
            both = [baseline_run(run) for side in sides for run in side]
            decisions = {
                metric: self._decide_sides(metric, other, sides, least)
                for metric in self.rules.judged
                if metric.is_known(both)
            }
            if self._is_settled(seen, decisions):
                break
        concluded = self._or_blind(self._conclude(cell, seen, decisions))
        return self._with_recipe_note(concluded, cell, references[0])

    def _decide_sides(
        self,
        metric: AnyMetric,
        other: OtherSide,
        sides: tuple[Sequence[RunRecord], Sequence[RunRecord]],
        least_seeds: int,
    ) -> Decision:
        images = sides[0][0].test_images
        values = [metric.badness([baseline_run(run) for run in side], images) for side in sides]
        mean = float(np.mean(values[0]))

        def measure(look: int) -> tuple[float, float, float]:
            stick = other.yardstick(metric, [side[:look] for side in sides])
            return float(np.mean(values[1][:look])) - stick.mean, stick.deviation, stick.degrees

        decision = decide_difference(
            measure,
            len(sides[0]),
            looks=self.rules.side_looks,
            level=self.rules.level,
            floor=metric.least_rise(mean, self.rules.min_drop(other.key)),
            least_seeds=least_seeds,
        )
        return replace(decision, stored_mean=mean)

    def _detectable_sides(
        self,
        other: OtherSide,
        sides: tuple[Sequence[RunRecord], Sequence[RunRecord]],
        least_seeds: int,
    ) -> float:
        """The smallest drop, in points, that the looks at both sides detect with 95 % power."""
        metric = Metric.ACCURACY
        stick = other.yardstick(metric, sides)
        rise = smallest_detectable_difference(
            stick.deviation,
            stick.degrees,
            looks=self.rules.side_looks,
            level=self.rules.level,
            floor=metric.least_rise(stick.mean, self.rules.min_drop(other.key)),
            least_seeds=least_seeds,
        )
        return drop_in_points(stick.mean, rise, _baseline(sides[0]).accuracies)

    def _advise(
        self, cell: Cell, judgement: Judgement, better: Mapping[AnyMetric, Decision]
    ) -> str:
        return ""

    def _first(self, cell: Cell) -> RunRecord | None:
        """The commit's run of the first seed."""
        return _by_seed(self.references.get(cell.key, ())).get(self.seeds(cell)[0])

    def _reference_runs(self, cell: Cell) -> tuple[RunRecord, ...]:
        """The commit's good runs of the first seeds, up to the first gap."""
        return _runs(_by_seed(self.references.get(cell.key, ())), self.seeds(cell), good=True)

    def _needed(self, cell: Cell, judgement: Judgement, look: int) -> SeedsNeeded:
        seeds = self.seeds(cell)[:look]
        ran = {run.seed for run in judgement.records}
        there = {run.seed for run in self.references.get(cell.key, ())}
        return SeedsNeeded(
            cell.key,
            tuple(seed for seed in seeds if seed not in ran),
            look,
            judgement.records,
            reference_seeds=tuple(seed for seed in seeds if seed not in there),
        )

    def _same(self, fresh: RunRecord, reference: RunRecord) -> bool:
        """Whether both runs are equal to the last bit, on a device where runs can repeat.

        No digest covers further metrics: those that are judged must be equal too.
        """
        here, there = baseline_run(fresh).metrics, baseline_run(reference).metrics
        return (
            fresh.digest == reference.digest
            and not fresh.environment.nondeterministic
            and all(
                here[metric.value] == there[metric.value]
                for metric in self.rules.judged
                if metric.value in here.keys() & there.keys()
            )
        )

    def _early_answer(
        self, cell: Cell, judgement: Judgement, look: int
    ) -> Judgement | SeedsNeeded | None:
        """`early_answer`, but NEW if the commit fails at a seed at which, or before which, we do.

        What fails on both sides did not get worse.
        """
        seeds = self.seeds(cell)[:look]
        answer = early_answer(judgement, seeds)
        failed = self._first_failure(cell, look)
        if failed is None:
            return answer
        until = early_answer(judgement, seeds[: seeds.index(failed.seed)])
        if isinstance(until, Judgement):
            return until
        if isinstance(answer, SeedsNeeded) and failed.seed == seeds[0]:
            return answer  # so that the cell has a value of its own
        reason = f"{self.revision}: seed {failed.seed} {failed.status}: {failed.message}"
        here = f"; here {answer.message}" if isinstance(answer, Judgement) else ""
        return replace(judgement, verdict=Verdict.NEW, message=reason + here)

    def _first_failure(self, cell: Cell, look: int) -> RunRecord | None:
        """The first of the commit's runs that cannot be compared with."""
        runs = _by_seed(self.references.get(cell.key, ()))
        ran = (runs[seed] for seed in self.seeds(cell)[:look] if seed in runs)
        return next((run for run in ran if run.status != "ok"), None)

    def _doubt(self, reference: RunRecord, data_hash: str) -> str:
        if data_hash and reference.data_hash != data_hash:
            return f"the data differ from those of {self.revision}: nothing can be compared"
        return ""

    def _is_stored(self, cell: Cell, reference: RunRecord) -> bool:
        """Whether the commit's first run repeats the stored one of the same recipe.

        Stored values so few that they could not show any drop are not used: new runs could.
        """
        baseline = self.baseline(cell)
        return (
            baseline is not None
            and self.rules.settles_identical
            and baseline.recipe_hash == cell.recipe.hash() == reference.recipe_hash
            and self._repeats(cell.key, baseline, [reference])
            and self._detectable_points(cell.key) < LARGEST_DROP_POINTS
        )

    def _with_recipe_note(
        self, judgement: Judgement, cell: Cell, reference: RunRecord
    ) -> Judgement:
        """A judgement whose message also says how the recipe differs from the commit's."""
        notes = filter(None, [judgement.message, self._recipe_note(cell, reference)])
        return replace(judgement, message="; ".join(notes))

    def _recipe_note(self, cell: Cell, reference: RunRecord) -> str:
        """How the shipped recipe differs from the commit's, "" if it does not."""
        own, other = cell.recipe.to_dict(), reference.recipe
        differ = [
            f"{name} {other.get(name)} there, {value} here"
            for name, value in own.items()
            if other.get(name) != value and (name in other or value is not None)
        ]
        if reference.recipe_hash == cell.recipe.hash() or not differ:
            return ""
        return f"the recipe differs from that of {self.revision}: {', '.join(differ)}"


def _by_seed(records: Sequence[RunRecord]) -> dict[int, RunRecord]:
    return {record.seed: record for record in records}


def _runs(
    by_seed: Mapping[int, RunRecord], seeds: Sequence[int], *, good: bool = False
) -> tuple[RunRecord, ...]:
    """Runs in the order of the seeds; with only good ones, up to the first gap."""
    if not good:
        return tuple(by_seed[seed] for seed in seeds if seed in by_seed)
    runs = []
    for seed in seeds:
        if seed not in by_seed or by_seed[seed].status != "ok":
            break
        runs.append(by_seed[seed])
    return tuple(runs)


def _baseline(references: Sequence[RunRecord]) -> CellBaseline:
    """The commit's runs as a baseline."""
    first = references[0]
    return CellBaseline(
        recipe_hash=first.recipe_hash,
        data_hash=first.data_hash,
        test_images=first.test_images,
        date="",
        commit=first.environment.commit or "",
        runs=tuple(baseline_run(record) for record in references),
    )
