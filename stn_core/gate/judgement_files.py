"""Judgements written to the file of a session, and read back from it with their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stn_core.errors import UsageError
from stn_core.gate.baselines import checked_cell
from stn_core.gate.groups import GroupJudgement
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.session.records import RunRecord
from stn_core.session.stored_judgements import (
    JudgedRun,
    StoredGroup,
    StoredJudgement,
    entry_place,
    read_stored_groups,
    read_stored_judgements,
    write_stored_judgements,
)


def write_judgements(
    path: Path, judgements: Sequence[Judgement], groups: Sequence[GroupJudgement] = ()
) -> None:
    """Write the verdicts, with references to the records that they judge."""
    stored_groups = [
        StoredGroup(one.name, str(one.verdict), one.message, list(one.members), one.seeds)
        for one in groups
    ]
    write_stored_judgements(path, [_stored(judgement) for judgement in judgements], stored_groups)


def read_group_judgements(path: Path) -> list[GroupJudgement]:
    """The verdicts of a session on groups of cells; empty if it had no groups.

    Raises:
        UsageError: the file is missing, damaged or of another version.
    """
    groups = read_stored_groups(path)
    for one in groups:
        if one.verdict not in list(Verdict):
            raise UsageError(f"{path}: {one.verdict!r} is not a verdict")
    return [
        GroupJudgement(one.name, Verdict(one.verdict), one.message, tuple(one.members), one.seeds)
        for one in groups
    ]


def _stored(judgement: Judgement) -> StoredJudgement:
    return StoredJudgement(
        key=judgement.key,
        verdict=str(judgement.verdict),
        message=judgement.message,
        detectable_points=judgement.detectable_points,
        slowdown=judgement.slowdown,
        runs=[JudgedRun.of(record) for record in judgement.records],
        baseline=judgement.baseline.to_dict() if judgement.baseline else None,
    )


def read_judgements(path: Path, records: Sequence[RunRecord]) -> tuple[list[Judgement], list[str]]:
    """The verdicts of a session.

    Args:
        path: the file.
        records: of the session, in any order, possibly with others.

    Returns:
        The judgements, and the cell's key for each judged run that is not among the records and is
        left out.

    Raises:
        UsageError: the file is missing, damaged or of another version.
    """
    by_run = {(record.key, JudgedRun.of(record)): record for record in records}
    judgements = []
    lost = []
    for number, stored in enumerate(read_stored_judgements(path), start=1):
        judgements.append(_judgement(stored, by_run, entry_place(path, number)))
        lost += [stored.key for run in stored.runs if (stored.key, run) not in by_run]
    return judgements, lost


def _judgement(
    stored: StoredJudgement, by_run: Mapping[tuple[str, JudgedRun], RunRecord], where: str
) -> Judgement:
    if stored.verdict not in list(Verdict):
        raise UsageError(f"{where}{stored.verdict!r} is not a verdict")
    runs = [(stored.key, run) for run in stored.runs]
    return Judgement(
        key=stored.key,
        verdict=Verdict(stored.verdict),
        message=stored.message,
        records=tuple(by_run[run] for run in runs if run in by_run),
        baseline=checked_cell(stored.baseline, f"{where}baseline: ") if stored.baseline else None,
        detectable_points=stored.detectable_points,
        slowdown=stored.slowdown,
    )
