"""A session's verdicts on disk, beside the records that they were passed on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stn_core.errors import UsageError
from stn_core.gate.baselines import BaselineRun, CellBaseline
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.records import RunRecord
from stn_core.writing import write_at_once

JUDGEMENTS_VERSION = 1

_WHOLE = ("records", "baseline", "wanted")
"""Fields that a file does not hold as they are."""


def write_judgements(path: Path, judgements: Sequence[Judgement]) -> None:
    """Write the verdicts; of the records that they speak of, the seeds alone."""
    content = {"version": JUDGEMENTS_VERSION, "judgements": [_to_dict(one) for one in judgements]}
    write_at_once(path, json.dumps(content, indent=1) + "\n")


def _to_dict(judgement: Judgement) -> dict[str, Any]:
    names = [entry.name for entry in dataclasses.fields(Judgement) if entry.name not in _WHOLE]
    baseline = judgement.baseline
    return {
        **{name: getattr(judgement, name) for name in names},
        "seeds": [record.seed for record in judgement.records],
        "baseline": dataclasses.asdict(baseline) if baseline else None,
    }


def read_judgements(path: Path, records: Sequence[RunRecord]) -> list[Judgement]:
    """The verdicts of a session.

    Args:
        path: the file.
        records: of the session, in the order in which they were written; of several of one seed the
            last one was judged. A seed without a record is left out.

    Raises:
        UsageError: the file is missing, damaged or of another version.
    """
    by_run = {(record.key, record.seed): record for record in records}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} is damaged: it is no JSON") from None
    if not isinstance(content, dict) or content.get("version") != JUDGEMENTS_VERSION:
        raise UsageError(f"{path} holds no verdicts of version {JUDGEMENTS_VERSION}")
    try:
        return [_from_dict(values, by_run) for values in content["judgements"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is damaged: {type(error).__name__}: {error}") from None


def _from_dict(values: Mapping[str, Any], by_run: Mapping[tuple[str, int], RunRecord]) -> Judgement:
    values = dict(values)
    runs = [(values["key"], seed) for seed in values.pop("seeds")]
    baseline = values.pop("baseline")
    if baseline:
        stored = tuple(BaselineRun(**run) for run in baseline.pop("runs"))
        baseline = CellBaseline(**baseline, runs=stored)
    return Judgement(
        **{**values, "verdict": Verdict(values["verdict"])},
        records=tuple(by_run[run] for run in runs if run in by_run),
        baseline=baseline,
    )
