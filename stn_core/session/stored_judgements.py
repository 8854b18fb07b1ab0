"""The file of a session that holds its verdicts: plain data, checked as it is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_at_once
from stn_core.errors import UsageError
from stn_core.schema import Count, Number, checked, read_versioned
from stn_core.session.cells import split_key
from stn_core.session.records import RunRecord

JUDGEMENTS_VERSION = 2


@dataclass(frozen=True)
class JudgedRun:
    """Which record was judged: a seed may have been run in several places, or again."""

    seed: Count
    environment: str
    recipe_hash: str
    digest: str

    @classmethod
    def of(cls, record: RunRecord) -> JudgedRun:
        """The fields that tell a record from the others of its cell."""
        return cls(record.seed, record.environment.key(), record.recipe_hash, record.digest)


@dataclass(frozen=True)
class StoredJudgement:
    """A verdict in the file.

    Args:
        key: ``budget/dataset/model``.
        verdict: in the words of the table.
        message: why.
        detectable_points: the minimum detectable drop; None if the cell was compared with nothing.
        slowdown: training time divided by the baseline's, None unless it is significantly longer.
        runs: the judged ones.
        baseline: what they were compared with, as baselines.json has it; None without one.
    """

    key: str
    verdict: str
    message: str
    detectable_points: Number | None
    slowdown: Number | None
    runs: list[JudgedRun]
    baseline: dict[str, Any] | None


@dataclass(frozen=True)
class StoredGroup:
    """A verdict on cells that were judged together.

    Args:
        name: of the group.
        verdict: in the words of the table.
        message: why; "" if it passes.
        members: keys of the cells.
        seeds: how many seeds of each cell decided the verdict.
    """

    name: str
    verdict: str
    message: str
    members: list[str]
    seeds: Count


@dataclass(frozen=True)
class _Content:
    """The content of the file; sessions from before there were groups have none."""

    version: int
    judgements: list[Any]
    groups: list[Any] = field(default_factory=list)


def write_stored_judgements(
    path: Path, judgements: Sequence[StoredJudgement], groups: Sequence[StoredGroup] = ()
) -> None:
    """Write the verdicts in one piece."""
    content = {
        "version": JUDGEMENTS_VERSION,
        # vars, because asdict copies every run, which takes ten times as long.
        "judgements": [
            {**vars(judgement), "runs": [vars(run) for run in judgement.runs]}
            for judgement in judgements
        ],
        "groups": [vars(group) for group in groups],
    }
    write_at_once(path, json.dumps(content) + "\n")


def read_stored_judgements(path: Path) -> list[StoredJudgement]:
    """The verdicts of a session.

    Raises:
        UsageError: the file is missing, damaged or of another version.
    """
    values = read_versioned(path, JUDGEMENTS_VERSION, "a file of verdicts")
    content = checked(_Content, values, f"{path}: ")
    judgements = []
    for number, entry in enumerate(content.judgements, start=1):
        where = entry_place(path, number)
        judgement = checked(StoredJudgement, entry, where)
        try:
            split_key(judgement.key)
        except UsageError as error:
            raise UsageError(f"{where}{error}") from None
        judgements.append(judgement)
    return judgements


def read_stored_groups(path: Path) -> list[StoredGroup]:
    """The verdicts of a session on groups of cells; errors as of `read_stored_judgements`."""
    values = read_versioned(path, JUDGEMENTS_VERSION, "a file of verdicts")
    content = checked(_Content, values, f"{path}: ")
    return [
        checked(StoredGroup, entry, f"{path}, group {number}: ")
        for number, entry in enumerate(content.groups, start=1)
    ]


def entry_place(path: Path, number: int) -> str:
    """What an error about one of the verdicts begins with; they are counted from 1."""
    return f"{path}, entry {number}: "
