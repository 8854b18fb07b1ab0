"""Which records answer a cell, and why others do not.

The suite asks about the cells of its plan. A page, a comparison or a claim may have no plan to
read, so the last record of each cell decides which recipe, data and device count.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stn_core.session.records import RunRecord


@dataclass(frozen=True)
class Question:
    """A cell, and what a record must have in common with it to answer it.

    Args:
        key: the cell's, ``budget/dataset/model``.
        recipe_hash: of the cell's recipe.
        is_search: whether that recipe was overridden.
        device: the type of device, "cpu" or "cuda".
        data_hash: the dataset's; "" if it is not known, and then any counts.
        seeds: those that the cell may use; None for any.
        code: version, commit and dirty flag; None for any.
    """

    key: str
    recipe_hash: str
    is_search: bool
    device: str
    data_hash: str
    seeds: frozenset[int] | None = None
    code: tuple[str, str | None, bool | None] | None = None

    @classmethod
    def answered_by(cls, record: RunRecord) -> Question:
        """The question about a record's cell that it answers; any seed and any code count."""
        return cls(
            record.key,
            record.recipe_hash,
            record.is_search,
            record.environment.device_type,
            record.data_hash,
        )


def answering_records(
    questions: Iterable[Question], records: Iterable[RunRecord]
) -> tuple[dict[str, list[RunRecord]], list[str]]:
    """The records that answer cells, by the cells' keys, and messages about those that do not.

    Of several records of one seed the last one counts: a run that failed may have been run again.
    If two ended well and differ, a message says so.

    Args:
        questions: one per cell.
        records: in the order in which they were written; those of other cells are passed over.
    """
    by_key = {question.key: question for question in questions}
    found: dict[str, dict[int, RunRecord]] = {key: {} for key in by_key}
    misfits: collections.Counter[str] = collections.Counter()
    not_asked: dict[str, list[int]] = collections.defaultdict(list)
    contradicted: dict[str, list[int]] = collections.defaultdict(list)
    for record in records:
        question = by_key.get(record.key)
        if question is None:
            continue
        if question.seeds is not None and record.seed not in question.seeds:
            not_asked[question.key].append(record.seed)
        elif reason := _misfit(question, record):
            misfits[f"{question.key}: {reason}"] += 1
        else:
            runs = found[question.key]
            # Removed first, or the new one would take the place of the old one.
            earlier = runs.pop(record.seed, None)
            if earlier and _contradict(earlier, record):
                contradicted[question.key].append(record.seed)
            runs[record.seed] = record
    left_out = [f"{reason}; {_records(count)} left out" for reason, count in misfits.items()]
    left_out += [
        f"{key}: {_records(len(others))} of other seeds ({_seeds_text(others)}) left out"
        for key, others in not_asked.items()
    ]
    left_out += [
        f"{key}: several records of one seed ({_seeds_text(seeds)}) differ; the last one counts"
        for key, seeds in contradicted.items()
    ]
    return {key: list(runs.values()) for key, runs in found.items()}, left_out


def answers_like_the_last(
    records: Iterable[RunRecord], is_preferred: Callable[[RunRecord], bool] = lambda record: True
) -> tuple[dict[str, list[RunRecord]], list[str]]:
    """The records of each cell that answer the same question as its last one; any seed and code.

    Args:
        records: in the order in which they were written.
        is_preferred: the last record that is preferred decides, and any other only if none is.

    Returns:
        As `answering_records`.
    """
    records = list(records)
    last = {record.key: record for record in sorted(records, key=is_preferred)}
    return answering_records(map(Question.answered_by, last.values()), records)


def _misfit(question: Question, record: RunRecord) -> str:
    """Why a record is no answer, "" if it is one."""
    environment = record.environment
    if environment.device_type != question.device:
        return f"device is {environment.device_type!r}, not {question.device!r}"
    for name in ("recipe_hash", "is_search", "data_hash"):
        if name == "data_hash" and not question.data_hash:
            continue
        found, expected = getattr(record, name), getattr(question, name)
        if found != expected:
            return f"{name} is {found!r}, not {expected!r}"
    code = (environment.stn_core, environment.commit, environment.dirty)
    if question.code and code != question.code:
        return f"the code was {_code_text(*code)}, and is {_code_text(*question.code)}"
    return ""


def _contradict(one: RunRecord, other: RunRecord) -> bool:
    """Whether two runs ended well, and with different results."""
    if not one.status == other.status == "ok":
        return False
    results = [(run.test_accuracy, run.test_cross_entropy) for run in (one, other)]
    return results[0] != results[1]


def _code_text(version: str, commit: str | None, dirty: bool | None) -> str:
    state = {True: "with uncommitted changes", False: "as committed", None: "in an unknown state"}
    place = f"at {commit[:12]} {state[dirty]}" if commit else "outside a checkout"
    return f"stn_core {version} {place}"


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
