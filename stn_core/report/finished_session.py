"""A session read back from its folder: records, verdicts, what was asked, what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stn_core.errors import UsageError
from stn_core.gate.groups import GroupJudgement
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.gate.judgement_files import read_group_judgements, read_judgements
from stn_core.report.text_table import counted, first_few
from stn_core.session.answers import answers_like_the_last
from stn_core.session.artifacts import Artifacts
from stn_core.session.file_names import JUDGEMENTS_FILE
from stn_core.session.plan import Asked, read_asked
from stn_core.session.records import RunRecord
from stn_core.session.store import SessionStore

NOT_JUDGED = "not judged: the session did not end"


@dataclass(frozen=True)
class Shown:
    """The run of a cell whose pictures are drawn.

    Args:
        record: the first good one whose arrays can be read.
        artifacts: those arrays.
    """

    record: RunRecord
    artifacts: Artifacts


@dataclass(frozen=True)
class Session:
    """The contents of a results folder.

    Args:
        folder: of the session.
        name: as pages show it: that of the folder, a date and time.
        judgements: one per cell, with its records.
        groups: verdicts on groups of cells.
        shown: runs to draw pictures of, by key; a cell may have none.
        asked: what the session was asked to do.
        complaints: a message for everything that could not be read.
    """

    folder: Path
    name: str
    judgements: tuple[Judgement, ...]
    groups: tuple[GroupJudgement, ...]
    shown: Mapping[str, Shown]
    asked: Asked
    complaints: tuple[str, ...]


def read_session(folder: Path) -> Session:
    """Read a session's folder, as far as it can be read.

    Args:
        folder: a results folder; what --from-records named is read too.

    Raises:
        UsageError: there is no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no results folder {folder}")
    asked, complaints = read_asked(folder)
    store = SessionStore(folder, asked.record_files(folder))
    records, unreadable = store.whole_records()
    complaints += unreadable
    groups: list[GroupJudgement] = []
    try:
        judgements, lost = read_judgements(folder / JUDGEMENTS_FILE, records)
        groups = read_group_judgements(folder / JUDGEMENTS_FILE)
        complaints += _without_a_record(lost)
        complaints += _beside_the_verdicts(records, judgements, groups)
    except UsageError as error:
        judgements, left_out = _unjudged(records)
        complaints += [f"no verdicts: {error}", *left_out]
    shown, unseen = _readable_runs(judgements, store)
    complaints += unseen
    name = folder.resolve().name
    return Session(folder, name, tuple(judgements), tuple(groups), shown, asked, tuple(complaints))


def _without_a_record(lost: Sequence[str]) -> list[str]:
    """A message about judged runs whose records are gone: their verdicts are shown all the same.

    Args:
        lost: the cell's key of each.
    """
    if not lost:
        return []
    cells = first_few(list(dict.fromkeys(lost)))
    return [f"not shown: {counted(len(lost), 'judged run')} without a record ({cells})"]


def _beside_the_verdicts(
    records: Iterable[RunRecord],
    judgements: Iterable[Judgement],
    groups: Iterable[GroupJudgement],
) -> list[str]:
    """A message about records without a verdict: those of a session that was resumed and killed.

    Cells of a group may have trained more seeds for the verdict on the group alone.
    """
    judged = {(one.key, record.seed) for one in judgements for record in one.records}
    members = {key for group in groups for key in group.members}
    others = sum(
        (record.key, record.seed) not in judged and record.key not in members for record in records
    )
    return [f"not shown: {counted(others, 'record')} without a verdict"] if others else []


def _unjudged(records: Iterable[RunRecord]) -> tuple[list[Judgement], list[str]]:
    """The cells of an interrupted session, each with the runs of the same kind as its last one.

    Returns:
        A judgement of each cell, NEW and "not judged", and messages about runs that are left out.
    """
    by_key, left_out = answers_like_the_last(records)
    judgements = [
        Judgement(key, Verdict.NEW, NOT_JUDGED, records=tuple(runs)) for key, runs in by_key.items()
    ]
    return judgements, left_out


def _readable_runs(
    judgements: Iterable[Judgement], store: SessionStore
) -> tuple[dict[str, Shown], list[str]]:
    """The run of each cell that can be shown, and a message for each cell without one.

    Args:
        judgements: of the cells.
        store: of the session.
    """
    shown: dict[str, Shown] = {}
    complaints = []
    for judgement in judgements:
        reasons = []
        for record in judgement.records:
            if record.status != "ok" or judgement.key in shown:
                continue
            try:
                shown[judgement.key] = Shown(record, store.artifacts(record))
            except UsageError as error:
                reasons.append(f"no pictures of {record.key}: {error}")
        if judgement.key not in shown:
            complaints += reasons[:1]
    return shown, complaints
