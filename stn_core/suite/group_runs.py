"""The last part of a session: groups of cells are judged, and trained further if one leans."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from stn_core.errors import UsageError
from stn_core.gate.groups import GroupJudgement, judge_groups
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import Judgement
from stn_core.gate.speed_change import speed_change
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord
from stn_core.suite.plan import Plan

Records = Mapping[str, Sequence[RunRecord]]
Runs = Sequence[tuple[Cell, int]]
Train = Callable[[Runs, Runs], None]


def settle_groups(
    plan: Plan,
    judge: Judge,
    judgements: Sequence[Judgement],
    records: Records,
    read_records: Callable[[], Records],
    train: Train,
    why_not: str = "",
) -> tuple[list[GroupJudgement], list[str]]:
    """Judge the plan's groups, after training what their members still need.

    Args:
        plan: of the session.
        judge: of its rules.
        judgements: of its cells, which do not change.
        records: the ones the cells were judged by, by cell.
        read_records: reads them again after more have been trained.
        train: trains more seeds, some of them with the code of the commit to compare with. If it
            cannot train all of them, it raises.
        why_not: why nothing may be trained, "" if it may.

    Returns:
        The verdicts, and sentences about groups that more seeds would settle.
    """
    cells = {cell.key: cell for cell in plan.cells}
    asked_before: set[tuple[str, int, bool]] = set()
    why = why_not
    while True:
        groups = judge_groups(judge, plan.groups, plan.cells, judgements, records)
        # A seed that was asked for and failed would fail again.
        new = [task for task in _missing_runs(groups) if task not in asked_before]
        if not new or why:
            break
        asked_before.update(new)
        own, others = (
            [(cells[key], seed) for key, seed, is_reference in new if is_reference is side]
            for side in (False, True)
        )
        try:
            try:
                train(own, others)
            finally:
                records = read_records()
        except (OSError, UsageError) as error:
            why = str(error)
    unsettled = [
        group.name for group in groups if group.seeds_needed or group.reference_seeds_needed
    ]
    remark = f"more seeds would settle these groups of cells: {', '.join(unsettled)}"
    reasons = list(filter(None, [why, *_failures(asked_before, records)]))
    remark += f" ({'; '.join(reasons)})" if reasons else ""
    return groups, [remark] if unsettled else []


def judge_speed(
    plan: Plan, by_key: Records, references: Records
) -> tuple[list[str], list[GroupJudgement]]:
    """How long training takes compared with the other commit, and a verdict if that fails.

    If speed should be judged and cannot be, a sentence says so.

    Args:
        plan: of a session that compares with a commit.
        by_key, references: the runs of both sides by cell.
    """
    change = speed_change(by_key, references)
    if change is None:
        note = (
            "not judged by speed: fewer than two cells were timed on both sides, and runs from a"
            " cache have no times"
        )
        return [note] if plan.rules.gates_speed else [], []
    fails = plan.rules.gates_speed and change.is_slower
    said = [f"{change.line} of {plan.against}"]
    return said, [change.failure(plan.against)] if fails else []


def _failures(asked: Collection[tuple[str, int, bool]], records: Records) -> list[str]:
    """Which of the runs that groups asked for failed with the session's own code, and why."""
    return [
        f"{run.key}: seed {run.seed} {run.status}: {run.message}"
        for key in sorted({key for key, *_ in asked})
        for run in records.get(key, ())
        if run.status != "ok" and (key, run.seed, False) in asked
    ]


def _missing_runs(groups: Sequence[GroupJudgement]) -> list[tuple[str, int, bool]]:
    """Cells' seeds, and whether the other commit trains them; the low seeds of all cells first."""
    runs = {
        (key, seed, is_reference)
        for group in groups
        for needed, is_reference in (
            (group.seeds_needed, False),
            (group.reference_seeds_needed, True),
        )
        for key, seeds in needed.items()
        for seed in seeds
    }
    return sorted(runs, key=lambda run: (run[1], run[0], run[2]))
