"""A session: what is planned, what came back, and the verdicts that follow from both."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stn_core.atomic_files import remove_unfinished
from stn_core.errors import UsageError, needs_extra
from stn_core.gate.baselines import (
    Baselines,
    baseline_of,
    read_baselines,
    write_baselines,
)
from stn_core.gate.groups import Groups
from stn_core.gate.judge import Judge
from stn_core.gate.rules import Rules
from stn_core.gate.verdict import Judgement, SeedsNeeded, Verdict
from stn_core.report.sources import commit_name, several_commits
from stn_core.schema import checked, json_object
from stn_core.session.answers import Question, answering_records
from stn_core.session.cells import Cell
from stn_core.session.file_names import PLAN_FILE, lock_of
from stn_core.session.plan import read_plan_file, write_plan_file
from stn_core.session.records import RunRecord
from stn_core.suite.session_options import SuiteOptions

with needs_extra("suite"):
    from filelock import FileLock


@dataclass(frozen=True)
class Plan:
    """What a session set out to do.

    Args:
        cells: selected ones.
        rules: by what they are judged.
        device: the type of device that the cells run on, "cpu" or "cuda".
        code: version, commit and dirty flag of the code, None where records of any code are judged.
        data_hashes: by dataset; "" where nobody looked.
        vanished: why cells that have a baseline no longer exist, by key.
        notes: how a user's own files became datasets, and which models were left out of the matrix.
        groups: cells of the whole matrix that are also judged together, by the group's name.
        against, against_commit: the commit that is compared with, as the user named it and in 40
            digits; "" where baselines judge.
        lacking: why that commit has none of a cell, by key.
    """

    cells: tuple[Cell, ...]
    rules: Rules
    device: str
    code: tuple[str, str | None, bool | None] | None
    data_hashes: Mapping[str, str]
    vanished: Mapping[str, str]
    notes: tuple[str, ...] = ()
    groups: Groups = field(default_factory=dict)
    against: str = ""
    against_commit: str = ""
    lacking: Mapping[str, str] = field(default_factory=dict)

    @property
    def budget(self) -> str:
        """The budget of every cell."""
        return self.cells[0].budget


def check_folder(folder: Path) -> None:
    """See that the folder of an earlier session can be written to.

    Raises:
        UsageError: it cannot.
    """
    try:
        (folder / PLAN_FILE).open("a").close()  # a plan that stands there keeps its time
    except OSError as error:
        raise UsageError(f"cannot write results to {folder}: {error.strerror}") from None


def check_resumed(folder: Path, options: SuiteOptions, device: str) -> None:
    """See that an earlier session was asked for what is asked now, as far as its plan says.

    More seeds, other cells of the same matrix and a share of them may be asked of it.

    Args:
        folder: of the earlier session.
        options: of this one.
        device: the type of device that this one trains on.

    Raises:
        UsageError: budget, datasets, recipe or device are others.
    """
    asked = {
        "budget": options.budget,
        "datasets": sorted(options.datasets),
        "recipe_name": options.recipe_name,
        "overrides": options.overrides,
        "against": options.against,
        "device": device,
    }
    earlier = _plan_content(folder)
    if "datasets" in earlier:
        earlier["datasets"] = sorted(earlier["datasets"])
    others = [
        f"its {name.removesuffix('_name')} {'are' if name.endswith('s') else 'is'}"
        f" {_in_words(earlier[name])}, not {_in_words(value)}"
        for name, value in asked.items()
        if name in earlier and earlier[name] != json.loads(json.dumps(value, default=str))
    ]
    if others:
        raise UsageError(
            f"--resume: {folder}: {'; '.join(others)}; give the same options again, or start anew"
        )


def _plan_content(folder: Path) -> dict[str, Any]:
    """What a session's plan holds, options included; nothing where it cannot be read."""
    try:
        content = read_plan_file(folder) or {}
        return {**json_object(content.get("options", {}), ""), **content}
    except UsageError:
        return {}


def _in_words(value: Any) -> str:
    """A name, names, or settings, as the command line has them."""
    if isinstance(value, dict):
        value = [f"{name}={setting}" for name, setting in value.items()]
    return value if isinstance(value, str) else ",".join(map(str, value)) or "none"


def write_plan(folder: Path, plan: Plan, options: SuiteOptions, command: Sequence[str]) -> None:
    """Write what was asked for beside what will come back."""
    planned = {**dataclasses.asdict(plan), "cells": [cell.to_dict() for cell in plan.cells]}
    asked = dataclasses.asdict(options)
    write_plan_file(folder, planned, asked, command, resumes=options.resumes)


def read_plan(folder: Path) -> Plan | None:
    """The plan of a session's folder, None where no cell was planned.

    Raises:
        UsageError: it is damaged; the line names the field.
    """
    content = read_plan_file(folder)
    if content is None:
        return None
    names = [entry.name for entry in dataclasses.fields(Plan)]
    planned = {name: content[name] for name in names if name in content}
    return checked(Plan, planned, f"{folder / PLAN_FILE}: ")


def describe_records(
    records: Sequence[RunRecord], complaints: Sequence[str], options: SuiteOptions
) -> tuple[str, dict[str, str]]:
    """Where records were made and of which data, for a session that has neither.

    Args:
        records: that could be read.
        complaints: of those that could not.
        options: the session's.

    Returns:
        The type of device, and a hash by dataset, "" for one that no record is of.

    Raises:
        UsageError: there is no record of the budget, or they are of several types of device or
            several data of one name.
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
    """The records that answer a plan's cells, by cell, and sentences on those that do not fit.

    Args:
        plan: what is asked.
        judge: which seeds a cell may spend.
        records: in the order in which they were written.
    """
    questions = [
        Question(cell, judge.seeds(cell), plan.device, plan.data_hashes[cell.dataset], plan.code)
        for cell in plan.cells
    ]
    return answering_records(questions, records)


def code_doubts(by_key: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Sentences on cells whose runs several states of the code made, or one that no commit holds.

    Args:
        by_key: the records of each cell, of whatever code.
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
        crashed: why no verdict came back for a cell, by key: its worker died, say.
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


def judge_vanished(plan: Plan) -> list[Judgement]:
    """A verdict for every baseline whose cell no longer exists."""
    return [Judgement(key, Verdict.MISSING, why) for key, why in plan.vanished.items()]


def judge_untrained(plan: Plan, judge: Judge) -> list[Judgement]:
    """The failures that are known before anything trains: a stale baseline, a vanished cell."""
    answers = [judge.judge(cell, [], plan.data_hashes[cell.dataset]) for cell in plan.cells]
    known = [answer for answer in answers if isinstance(answer, Judgement)]
    return [one for one in known + judge_vanished(plan) if not one.verdict.passes]


def update_baselines(path: Path, judgements: Sequence[Judgement]) -> str:
    """Write the cells whose runs all came back well into the baselines file, and say so in a line.

    Every other cell stays. The file is read again: another session may have written it meanwhile.

    Args:
        path: the file.
        judgements: of a session that was judged without baselines, so that a good cell is NEW.

    Raises:
        UsageError: a run is not fit to be a baseline; nothing is written then.
    """
    good = [judgement for judgement in judgements if judgement.verdict is Verdict.NEW]
    measured = {judgement.key: baseline_of(judgement.records) for judgement in good}
    records = [record for judgement in good for record in judgement.records]
    with FileLock(lock_of(path)):
        remove_unfinished(path)
        stored = read_baselines(path) if path.exists() else Baselines({}, {})
        write_baselines(path, stored.updated(measured, records))
    return f"{len(measured)} of {len(judgements)} cells written to {path}"


def drop_baselines(path: Path, keys: Iterable[str]) -> str:
    """Take cells out of the baselines file, and say so in a line."""
    gone = sorted(keys)
    if not gone:
        return f"nothing to drop from {path}"
    with FileLock(lock_of(path)):
        remove_unfinished(path)
        write_baselines(path, read_baselines(path).without(gone))
    return f"dropped from {path}: {', '.join(gone)}"
