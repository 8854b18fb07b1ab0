"""A session's verdicts on disk, beside the records that they were passed on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_at_once
from stn_core.errors import UsageError
from stn_core.gate.baselines import BaselineRun, CellBaseline
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.schema import check_fields, json_object
from stn_core.session.cells import split_key
from stn_core.session.records import RunRecord

JUDGEMENTS_VERSION = 2


@dataclass(frozen=True)
class _Run:
    """Which record was judged: a seed may have been run in several places, or again."""

    seed: int
    environment: str
    recipe_hash: str
    digest: str

    @classmethod
    def of(cls, record: RunRecord) -> _Run:
        return cls(record.seed, record.environment.key(), record.recipe_hash, record.digest)


@dataclass(frozen=True)
class _Entry:
    """A verdict in the file."""

    key: str
    verdict: str
    message: str
    detectable_points: float | None
    slowdown: float | None
    runs: list[Any]
    baseline: dict[str, Any] | None


def write_judgements(path: Path, judgements: Sequence[Judgement]) -> None:
    """Write the verdicts; of the records that they speak of, which they were."""
    content = {
        "version": JUDGEMENTS_VERSION,
        "judgements": [dataclasses.asdict(_entry(judgement)) for judgement in judgements],
    }
    write_at_once(path, json.dumps(content, indent=1) + "\n")


def _entry(judgement: Judgement) -> _Entry:
    return _Entry(
        key=judgement.key,
        verdict=str(judgement.verdict),
        message=judgement.message,
        detectable_points=judgement.detectable_points,
        slowdown=judgement.slowdown,
        runs=[_Run.of(record) for record in judgement.records],
        baseline=dataclasses.asdict(judgement.baseline) if judgement.baseline else None,
    )


def read_judgements(path: Path, records: Sequence[RunRecord]) -> list[Judgement]:
    """The verdicts of a session.

    Args:
        path: the file.
        records: of the session, in any order, others too; one that was judged and is not among
            them is left out.

    Raises:
        UsageError: the file is missing, damaged or of another version.
    """
    by_run = {(record.key, _Run.of(record)): record for record in records}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} is damaged: it is no JSON") from None
    content = json_object(content, f"{path} is damaged: ")
    entries = content.get("judgements")
    if content.get("version") != JUDGEMENTS_VERSION or not isinstance(entries, list):
        raise UsageError(f"{path} holds no verdicts of version {JUDGEMENTS_VERSION}")
    return [_judgement(values, by_run, f"{path}, entry {n}: ") for n, values in enumerate(entries)]


def _judgement(values: Any, by_run: Mapping[tuple[str, _Run], RunRecord], where: str) -> Judgement:
    entry: _Entry = _checked(_Entry, values, where)
    try:
        split_key(entry.key)
    except UsageError as error:
        raise UsageError(f"{where}{error}") from None
    if entry.verdict not in list(Verdict):
        raise UsageError(f"{where}{entry.verdict!r} is no verdict")
    runs = [(entry.key, _checked(_Run, run, where)) for run in entry.runs]
    return Judgement(
        key=entry.key,
        verdict=Verdict(entry.verdict),
        message=entry.message,
        records=tuple(by_run[run] for run in runs if run in by_run),
        baseline=_baseline(entry.baseline, where) if entry.baseline else None,
        detectable_points=entry.detectable_points,
        slowdown=entry.slowdown,
    )


def _baseline(values: Mapping[str, Any], where: str) -> CellBaseline:
    stored = values.get("runs")
    if not isinstance(stored, list):
        raise UsageError(f"{where}the baseline has no runs")
    runs = tuple(_checked(BaselineRun, run, where) for run in stored)
    fields = {name: value for name, value in values.items() if name != "runs"}
    check_fields(CellBaseline, {**fields, "runs": []}, where)
    return CellBaseline(**fields, runs=runs)


def _checked(kind: type, values: Any, where: str) -> Any:
    values = json_object(values, where)
    check_fields(kind, values, where)
    return kind(**values)
