"""Which records answer a cell, and why others do not: decided here, for whoever reads a session."""

from __future__ import annotations

import collections
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord

Group = TypeVar("Group", bound=Hashable)


@dataclass(frozen=True)
class Question:
    """A cell, and what a record must be of to answer it.

    Args:
        cell: its recipe too.
        seeds: that it may spend.
        device: the type of device, "cpu" or "cuda".
        data_hash: the dataset's; "" if nobody looked at the data.
        code: version, commit and dirty flag; None if records of any code count.
    """

    cell: Cell
    seeds: tuple[int, ...]
    device: str
    data_hash: str
    code: tuple[str, str | None, bool | None] | None


def answering_records(
    questions: Iterable[Question], records: Iterable[RunRecord]
) -> tuple[dict[str, list[RunRecord]], list[str]]:
    """The records that answer cells, by the cells' keys, and messages about those that do not.

    Of several records of one seed the last one counts: a run that failed may have been run again.

    Args:
        questions: one a cell.
        records: in the order in which they were written; those of other cells are passed over.
    """
    by_key = {question.cell.key: question for question in questions}
    expected = {key: _expected(question) for key, question in by_key.items()}
    seeds = {key: frozenset(question.seeds) for key, question in by_key.items()}
    fitting: list[RunRecord] = []
    misfits: collections.Counter[str] = collections.Counter()
    not_asked: dict[str, list[int]] = collections.defaultdict(list)
    for record in records:
        key = record.key
        if key not in by_key:
            continue
        if record.seed not in seeds[key]:
            not_asked[key].append(record.seed)
        elif reason := _misfit(by_key[key], expected[key], record):
            misfits[f"{key}: {reason}"] += 1
        else:
            fitting.append(record)
    found: dict[str, list[RunRecord]] = {key: [] for key in by_key}
    found |= last_of_each_seed((record.key, record) for record in fitting)
    left_out = [f"{reason}; {_records(count)} left out" for reason, count in misfits.items()]
    left_out += [
        f"{key}: {_records(len(others))} of other seeds ({_seeds_text(others)}) left out"
        for key, others in not_asked.items()
    ]
    return found, left_out


def last_of_each_seed(
    records: Iterable[tuple[Group, RunRecord]],
) -> dict[Group, list[RunRecord]]:
    """Of several records of one seed in a group the last one, in the order of the file.

    Args:
        records: each with the group that it belongs to (its cell's key, say).
    """
    by_group: dict[Group, dict[int, RunRecord]] = {}
    for group, record in records:
        seeds = by_group.setdefault(group, {})
        seeds.pop(record.seed, None)  # or the run that failed would lend its place in the order
        seeds[record.seed] = record
    return {group: list(seeds.values()) for group, seeds in by_group.items()}


def _expected(question: Question) -> dict[str, object]:
    fields: dict[str, object] = {
        "recipe_hash": question.cell.recipe.hash(),
        "is_search": question.cell.is_search,
    }
    if question.data_hash:
        fields["data_hash"] = question.data_hash
    return fields


def _misfit(question: Question, expected: dict[str, object], record: RunRecord) -> str:
    """Why a record is no answer, "" if it is one."""
    environment = record.environment
    if environment.device_type != question.device:
        return f"device is {environment.device_type!r}, not {question.device!r}"
    for name, value in expected.items():
        if getattr(record, name) != value:
            return f"{name} is {getattr(record, name)!r}, not {value!r}"
    code = (environment.stn_core, environment.commit, environment.dirty)
    if question.code and code != question.code:
        return f"version, commit and dirty flag are {code}, not {question.code}"
    return ""


def _records(count: int) -> str:
    return f"{count} record{'s' * (count != 1)}"


def _seeds_text(seeds: Iterable[int]) -> str:
    """Seeds as --seeds takes them: "0, 3-5"."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
