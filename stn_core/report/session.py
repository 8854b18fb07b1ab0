"""A session read back from its folder: records, verdicts, what was asked, what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.artifacts import Artifacts, artifacts_path, read_artifacts
from stn_core.errors import UsageError
from stn_core.files import ARTIFACTS_FOLDER, JUDGEMENTS_FILE, PLAN_FILE, RECORDS_FILE
from stn_core.gate.judgements import read_judgements
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.records import RunRecord, read_records

NOT_JUDGED = "not judged: the session did not end"


@dataclass(frozen=True)
class Shown:
    """The run of a cell that pictures are drawn of.

    Args:
        record: the first good one with arrays that can be read.
        artifacts: these.
    """

    record: RunRecord
    artifacts: Artifacts


@dataclass(frozen=True)
class Session:
    """What a folder of results holds.

    Args:
        folder: of the session.
        name: what it is called on a page: the folder's own name, the date and time.
        judgements: a cell each, with its records.
        shown: runs to draw pictures of, by key; a cell may have none.
        plan: what was asked, as written; empty where that is missing.
        complaints: a sentence for everything that could not be read.
    """

    folder: Path
    name: str
    judgements: tuple[Judgement, ...]
    shown: Mapping[str, Shown]
    plan: Mapping[str, Any]
    complaints: tuple[str, ...]


def session_folders(results: Path) -> list[Path]:
    """The folders of sessions in a folder of results, the newest first: by their last run.

    Args:
        results: where the dated folders lie; it need not exist.
    """
    times: dict[Path, float] = {}
    for name in (PLAN_FILE, RECORDS_FILE):
        for file in results.glob(f"*/{name}"):
            times[file.parent] = max(times.get(file.parent, 0.0), file.stat().st_mtime)
    return sorted(times, key=lambda folder: (times[folder], folder), reverse=True)


def read_session(folder: Path) -> Session:
    """Read what a session left, as far as it can be read.

    Args:
        folder: a results folder; what --from-records named is read too.

    Raises:
        UsageError: there is no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no results folder {folder}")
    plan, complaints = _read_plan(folder / PLAN_FILE)
    records: list[RunRecord] = []
    files = _record_files(folder, plan)
    for file in files:
        found, torn = read_records(file)
        records += found
        complaints += torn
    if not records:
        why = f": {complaints[0]}" if complaints else f": no {RECORDS_FILE} with a record in it"
        raise UsageError(f"{folder} holds no results{why}")
    judgements: Sequence[Judgement] = []
    try:
        judgements = read_judgements(folder / JUDGEMENTS_FILE, records)
    except UsageError as error:
        complaints.append(f"no verdicts: {error}")
    judgements = [*judgements, *_unjudged(records, judgements)]
    shown, unseen = _readable_runs(judgements, [file.parent / ARTIFACTS_FOLDER for file in files])
    complaints += unseen
    name = folder.resolve().name
    return Session(folder, name, tuple(judgements), shown, plan, tuple(complaints))


def _record_files(folder: Path, plan: Mapping[str, Any]) -> list[Path]:
    """The session's own records, and those it was given."""
    options = plan.get("options", {})
    given = options.get("from_records", ()) if isinstance(options, Mapping) else ()
    return [folder / RECORDS_FILE, *map(Path, given)]


def _read_plan(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}, [f"{path} is missing: what was asked for is not known"]
    except ValueError:
        plan = None
    if not isinstance(plan, dict):
        return {}, [f"{path} is damaged: what was asked for is not known"]
    return plan, []


def _unjudged(records: Sequence[RunRecord], judgements: Sequence[Judgement]) -> list[Judgement]:
    """Cells that have records and no verdict, which is what an interrupted session leaves."""
    if judgements:  # other records there belong to cells that this session did not ask for
        return []
    last = {(record.key, record.seed): record for record in records}
    cells = dict.fromkeys(record.key for record in records)
    return [
        Judgement(
            key,
            Verdict.NEW,
            NOT_JUDGED,
            records=tuple(record for (cell, _), record in last.items() if cell == key),
        )
        for key in cells
    ]


def _readable_runs(
    judgements: Iterable[Judgement], folders: Sequence[Path]
) -> tuple[dict[str, Shown], list[str]]:
    """The run of each cell that can be shown, and a sentence for each cell without one.

    Args:
        judgements: of the cells.
        folders: where the arrays may lie: beside the records that they belong to.
    """
    shown: dict[str, Shown] = {}
    complaints = []
    for judgement in judgements:
        reasons = []
        for record in judgement.records:
            if record.status != "ok" or judgement.key in shown:
                continue
            try:
                shown[judgement.key] = Shown(record, _read_artifacts(folders, record.run_name))
            except UsageError as error:
                reasons.append(f"no pictures of {record.key}: {error}")
        if judgement.key not in shown:
            complaints += reasons[:1]
    return shown, complaints


def _read_artifacts(folders: Sequence[Path], run_name: str) -> Artifacts:
    paths = [artifacts_path(folder, run_name) for folder in folders]
    return read_artifacts(next((path for path in paths if path.exists()), paths[0]))
