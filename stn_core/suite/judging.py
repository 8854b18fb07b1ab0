"""The verdicts of a session, from its plan and its records."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stn_core.errors import UsageError
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import Judgement, SeedsNeeded, Verdict
from stn_core.report.sources import commit_name, several_commits
from stn_core.report.text_table import counted, first_few
from stn_core.session.answers import Question, answering_records
from stn_core.session.records import RunRecord
from stn_core.suite.plan import Plan
from stn_core.suite.session_options import SuiteOptions


def describe_records(
    records: Sequence[RunRecord], complaints: Sequence[str], options: SuiteOptions
) -> tuple[str, dict[str, str]]:
    """The device and the data that records were made with, for a session that has neither.

    Args:
        records: the ones that could be read.
        complaints: about those that could not.
        options: the session's.

    Returns:
        The type of device, and a hash by dataset, "" for a dataset without records.

    Raises:
        UsageError: there is no record of the budget, or the records are of several types of device
            or of different data under one name.
    """
    of_budget = [record for record in records if record.budget == options.budget]
    if not of_budget:
        why = f"; {complaints[0]}" if complaints else ""
        raise UsageError(f"--from-records: no record of the budget {options.budget}{why}")
    devices = sorted({record.environment.device_type for record in of_budget})
    device = options.device.partition(":")[0] if options.device != "auto" else devices[0]
    if device not in devices or (options.device == "auto" and len(devices) > 1):
        raise UsageError(
            f"--from-records: records from {' and '.join(devices)}; choose one with --device"
        )
    hashes = dict.fromkeys(options.datasets, "")
    for record in of_budget:
        if record.environment.device_type != device:
            continue
        if hashes.get(record.dataset, "") not in ("", record.data_hash):
            raise UsageError(
                f"--from-records: the records of {record.dataset} were made with different data:"
                f" data_hash {hashes[record.dataset]} and {record.data_hash}"
            )
        hashes[record.dataset] = record.data_hash
    return device, hashes


def fitting_records(
    plan: Plan, judge: Judge, records: Iterable[RunRecord]
) -> tuple[dict[str, list[RunRecord]], list[str]]:
    """The records that answer a plan's cells, by cell, and sentences about those that do not fit.

    Args:
        plan: what was asked for.
        judge: decides which seeds a cell may use.
        records: in the order in which they were written.
    """
    questions = [
        Question(
            cell.key,
            cell.recipe.hash(),
            cell.is_search,
            plan.device,
            plan.data_hashes[cell.dataset],
            frozenset(judge.seeds(cell)),
            plan.code,
        )
        for cell in plan.cells
    ]
    records = list(records)
    by_key, left_out = answering_records(questions, records)
    budgets = {cell.budget for cell in plan.cells}
    others = collections.Counter(one.budget for one in records if one.budget not in budgets)
    left_out += [
        f"{counted(count, 'record')} of the budget {name} left out"
        for name, count in sorted(others.items())
    ]
    return by_key, left_out


def code_doubts(by_key: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Sentences about cells whose runs come from several commits, or from uncommitted code.

    Args:
        by_key: the records of each cell, from any code.
    """
    cells: dict[str, list[str]] = collections.defaultdict(list)
    for key, runs in sorted(by_key.items()):
        dirty = [commit_name(run.environment) for run in runs if run.environment.dirty]
        if doubt := several_commits(runs) or (f"made at {dirty[0]}" if dirty else ""):
            cells[doubt].append(key)
    return [
        f"{', '.join(keys) if len(keys) <= 3 else f'{len(keys)} cells'}: runs {doubt}"
        for doubt, keys in cells.items()
    ]


def judge_session(
    plan: Plan,
    judge: Judge,
    by_key: Mapping[str, Sequence[RunRecord]],
    crashed: Mapping[str, str],
    skipped: Mapping[str, str],
) -> list[Judgement]:
    """A verdict for every planned cell and every baseline whose cell no longer exists.

    Args:
        plan: the session's.
        judge: of its rules.
        by_key: the records of each cell.
        crashed: why a cell has no verdict, by key; its worker died, for example.
        skipped: why pytest skipped a cell, by key.
    """
    judgements = []
    for cell in plan.cells:
        answer = judge.judge(cell, by_key[cell.key], plan.data_hashes[cell.dataset])
        if cell.key in skipped:
            answer = Judgement(cell.key, Verdict.SKIPPED, skipped[cell.key])
        elif isinstance(answer, SeedsNeeded):
            why = crashed.get(cell.key)
            answer = answer.closed(Verdict.CRASHED, why) if why else answer.closed()
        judgements.append(answer)
    return judgements + judge_vanished(plan)


def with_all_good_runs(
    judgements: Iterable[Judgement], by_key: Mapping[str, Sequence[RunRecord]]
) -> list[Judgement]:
    """The judgements with every good run of their cells, also those that only a group asked for."""
    good = {key: tuple(run for run in runs if run.status == "ok") for key, runs in by_key.items()}
    return [replace(one, records=good.get(one.key, ())) for one in judgements]


def not_reached(judgements: Iterable[Judgement], minutes: float | None) -> list[str]:
    """A sentence about the cells that a session of limited time did not finish, if any."""
    missing = [one.key for one in judgements if one.verdict is Verdict.MISSING]
    if not (minutes and missing):
        return []
    cells = f"{counted(len(missing), 'cell')} not finished in time ({first_few(missing)})"
    return [f"--minutes {minutes:g}: {cells}; --resume last continues"]


def judge_vanished(plan: Plan) -> list[Judgement]:
    """A verdict for every baseline whose cell no longer exists."""
    return [Judgement(key, Verdict.MISSING, why) for key, why in plan.vanished.items()]


def judge_untrained(plan: Plan, judge: Judge) -> list[Judgement]:
    """The failures that are known before training: a stale baseline, a vanished cell."""
    answers = [judge.judge(cell, [], plan.data_hashes[cell.dataset]) for cell in plan.cells]
    known = [answer for answer in answers if isinstance(answer, Judgement)]
    return [one for one in known + judge_vanished(plan) if not one.verdict.passes]
