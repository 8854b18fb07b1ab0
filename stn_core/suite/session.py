"""A session's folder: what was planned, what came back, and the verdicts that follow from both."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.atomic_files import remove_unfinished, write_at_once
from stn_core.errors import UsageError, needs_extra
from stn_core.gate.baselines import (
    Baselines,
    baseline_of,
    read_baselines,
    write_baselines,
)
from stn_core.gate.judge import Judge, Rules
from stn_core.gate.verdict import Judgement, SeedsNeeded, Verdict
from stn_core.report.folder import Asked, read_asked
from stn_core.report.sources import commit_name, several_commits
from stn_core.schema import json_object
from stn_core.session.cells import Cell
from stn_core.session.file_names import PLAN_FILE, lock_of
from stn_core.session.records import RunRecord, read_records
from stn_core.suite.options import SuiteOptions

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
    """

    cells: tuple[Cell, ...]
    rules: Rules
    device: str
    code: tuple[str, str | None, bool | None] | None
    data_hashes: Mapping[str, str]
    vanished: Mapping[str, str]

    @property
    def budget(self) -> str:
        """The budget of every cell."""
        return self.cells[0].budget


def claim_folder(folder: Path) -> Path:
    """Make a session's folder, under a name that no other session has.

    Args:
        folder: its name, where that is free; else it gets a number: "_2", "_3" …

    Raises:
        UsageError: it cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for claimed in _names(folder):
            with contextlib.suppress(FileExistsError):  # who makes it has it, whoever looked first
                claimed.mkdir(parents=True)
                break
    except OSError as error:
        raise UsageError(f"cannot write results to {folder}: {error.strerror}") from None
    return claimed


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
        text = (folder / PLAN_FILE).read_text(encoding="utf-8")
        content = json_object(json.loads(text), "")
        return {**json_object(content.get("options", {}), ""), **content}
    except (OSError, ValueError):
        return {}


def _in_words(value: Any) -> str:
    """A name, names, or settings, as the command line has them."""
    if isinstance(value, dict):
        value = [f"{name}={setting}" for name, setting in value.items()]
    return value if isinstance(value, str) else ",".join(map(str, value)) or "none"


def _names(folder: Path) -> Iterator[Path]:
    yield folder
    yield from (folder.with_name(f"{folder.name}_{number}") for number in itertools.count(2))


def discard_folder(folder: Path, *, with_parent: bool) -> None:
    """Take a folder away that was made for a session in which nothing was selected.

    Args:
        folder: of the session.
        with_parent: the folder of all sessions goes too.
    """
    with contextlib.suppress(OSError):  # somebody put something into it
        folder.rmdir()
        if with_parent:
            folder.parent.rmdir()


def written_at(folder: Path) -> int:
    """When the plan in a folder was written, in ns; 0 where there is none."""
    path = folder / PLAN_FILE
    return path.stat().st_mtime_ns if path.exists() else 0


def write_plan(folder: Path, plan: Plan, options: SuiteOptions, command: Sequence[str]) -> None:
    """Write what was asked for beside what will come back. Every xdist worker writes the same.

    A session that is taken up again keeps the command that began it.
    """
    earlier, _ = read_asked(folder) if options.resumes else (Asked(), [])
    variables = {name: value for name, value in os.environ.items() if name.startswith("STN_")}
    content = {
        "command": earlier.command or list(command),
        "environment": earlier.environment if earlier.command else variables,
        "options": dataclasses.asdict(options),
        **dataclasses.asdict(plan),
        "cells": [cell.to_dict() for cell in plan.cells],
    }
    text = json.dumps(content, indent=1, default=str)
    write_at_once(folder / PLAN_FILE, text + "\n")


def read_plan(folder: Path) -> Plan | None:
    """The plan of a session's folder, None where no cell was planned."""
    path = folder / PLAN_FILE
    if not path.exists() or not path.stat().st_size:
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    rules = content["rules"]
    return Plan(
        cells=tuple(Cell.from_dict(values) for values in content["cells"]),
        rules=Rules(**{**rules, "seeds": tuple(rules["seeds"]), "looks": tuple(rules["looks"])}),
        device=content["device"],
        code=tuple(content["code"]) if content["code"] else None,
        data_hashes=content["data_hashes"],
        vanished=content["vanished"],
    )


def read_all(files: Iterable[Path]) -> tuple[list[RunRecord], list[str]]:
    """The records of several files, in their order, and a sentence for every line that is none.

    They are read for judging, without details: there may be tens of thousands.
    """
    records, complaints = [], []
    for file in files:
        found, torn = read_records(file, with_details=False)
        records += found
        complaints += torn
    return records, complaints


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
            f"--from-records: records of {' and '.join(devices)}; choose one with --device"
        )
    hashes = dict.fromkeys(options.datasets, "")
    for record in of_budget:
        if record.environment.device_type != device:
            continue
        if hashes.get(record.dataset, "") not in ("", record.data_hash):
            raise UsageError(
                f"--from-records: records of two {record.dataset}: data_hash"
                f" {hashes[record.dataset]} and {record.data_hash}"
            )
        hashes[record.dataset] = record.data_hash
    return device, hashes


def fitting_records(
    plan: Plan, judge: Judge, records: Iterable[RunRecord]
) -> tuple[dict[str, list[RunRecord]], list[str]]:
    """The records that answer a plan's cells, by cell, and sentences on those that do not fit.

    Of several records of one seed the last one counts: a run that failed may have been run again.

    Args:
        plan: what is asked.
        judge: which seeds a cell may spend.
        records: in the order in which they were written.
    """
    cells = {cell.key: cell for cell in plan.cells}
    seeds = {cell.key: judge.seeds(cell) for cell in plan.cells}
    fitting: dict[str, dict[int, RunRecord]] = {key: {} for key in cells}
    misfits: collections.Counter[str] = collections.Counter()
    not_asked: dict[str, list[int]] = collections.defaultdict(list)
    for record in records:
        cell = cells.get(record.key)
        if cell is None:
            continue
        if record.seed not in seeds[cell.key]:
            not_asked[cell.key].append(record.seed)
        elif reason := _misfit(plan, cell, record):
            misfits[f"{record.key}: {reason}"] += 1
        else:
            fitting[record.key][record.seed] = record
    by_key = {key: list(runs.values()) for key, runs in fitting.items()}
    left_out = [f"{reason}; {count} records left out" for reason, count in misfits.items()]
    left_out += [
        f"{key}: {len(others)} records of other seeds ({_seeds_text(others)}) left out"
        for key, others in not_asked.items()
    ]
    return by_key, left_out


def _seeds_text(seeds: Iterable[int]) -> str:
    """Seeds as --seeds takes them: "0, 3-5"."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _misfit(plan: Plan, cell: Cell, record: RunRecord) -> str:
    """Why a record is no answer to a cell, "" where it is one."""
    environment = record.environment
    if environment.device_type != plan.device:
        return f"device is {environment.device_type!r}, asked is {plan.device!r}"
    asked: dict[str, object] = {
        "recipe_hash": cell.recipe.hash(),
        "is_search": cell.is_search,
    }
    if plan.data_hashes[cell.dataset]:  # else nobody looked at the data
        asked["data_hash"] = plan.data_hashes[cell.dataset]
    for name, value in asked.items():
        if getattr(record, name) != value:
            return f"{name} is {getattr(record, name)!r}, asked is {value!r}"
    code = (environment.stn_core, environment.commit, environment.dirty)
    if plan.code and code != plan.code:
        return f"version, commit and dirty are {code}, asked are {plan.code}"
    return ""


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
    plan: Plan, judge: Judge, by_key: Mapping[str, Sequence[RunRecord]], dead: Mapping[str, str]
) -> list[Judgement]:
    """A verdict for every planned cell and every baseline whose cell no longer exists.

    Args:
        plan: the session's.
        judge: of its rules.
        by_key: the records of each cell.
        dead: why no verdict came back for a cell, by key: its worker died, say.
    """
    judgements = []
    for cell in plan.cells:
        answer = judge.judge(cell, by_key[cell.key], plan.data_hashes[cell.dataset])
        if isinstance(answer, SeedsNeeded):
            why = dead.get(cell.key)
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
