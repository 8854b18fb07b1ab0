"""A session's folder: what was planned, what came back, and the verdicts that follow from both."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stn_core.errors import UsageError
from stn_core.gate.baselines import (
    Baselines,
    baseline_of,
    read_baselines,
    write_baselines,
)
from stn_core.gate.verdict import Judgement, Verdict, judge_cell
from stn_core.recipe import Cell
from stn_core.records import RunRecord, read_records
from stn_core.suite.options import SuiteOptions

PLAN_FILE = "session.json"
RECORDS_FILE = "records.jsonl"


@dataclass(frozen=True)
class Plan:
    """What a session set out to do.

    Args:
        cells: selected ones.
        seeds: of every cell.
        device: the type of device that the cells run on, "cpu" or "cuda".
        data_hashes: by dataset.
        matrix_size: how many cells the budget's whole matrix has.
        vanished: keys of baselines whose model is gone.
    """

    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    device: str
    data_hashes: Mapping[str, str]
    matrix_size: int
    vanished: tuple[str, ...]

    def judge(self, cell: Cell, records: Sequence[RunRecord], baselines: Baselines) -> Judgement:
        """The verdict on one of the cells."""
        return judge_cell(
            cell,
            records,
            baselines.of(cell.key, self.device),
            data_hash=self.data_hashes[cell.dataset],
            seeds=self.seeds,
            cells=self.matrix_size,
        )


def make_folder(folder: Path) -> None:
    """Make a session's folder.

    Raises:
        UsageError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PLAN_FILE).touch()
    except OSError as error:
        raise UsageError(f"cannot write results to {folder}: {error.strerror}") from None


def discard_folder(folder: Path) -> None:
    """Take a folder away that was made for a session in which nothing was selected."""
    with contextlib.suppress(OSError):  # never made, or somebody put something into it
        (folder / PLAN_FILE).unlink()
        folder.rmdir()


def write_plan(folder: Path, plan: Plan, options: SuiteOptions, command: Sequence[str]) -> None:
    """Write what was asked for beside what will come back. Every xdist worker writes the same."""
    asked = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(options).items()
    }
    content = {
        "command": list(command),
        "options": asked,
        "cells": [cell.to_dict() for cell in plan.cells],
        "seeds": plan.seeds,
        "device": plan.device,
        "data_hashes": plan.data_hashes,
        "matrix_size": plan.matrix_size,
        "vanished": plan.vanished,
    }
    (folder / PLAN_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_plan(folder: Path) -> Plan | None:
    """The plan of a session's folder, None where no cell was planned."""
    path = folder / PLAN_FILE
    if not path.exists() or not path.stat().st_size:
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return Plan(
        cells=tuple(Cell.from_dict(values) for values in content["cells"]),
        seeds=tuple(content["seeds"]),
        device=content["device"],
        data_hashes=content["data_hashes"],
        matrix_size=content["matrix_size"],
        vanished=tuple(content["vanished"]),
    )


def judge_session(
    folder: Path, plan: Plan, baselines: Baselines
) -> tuple[list[Judgement], list[str]]:
    """A verdict for every planned cell, and a sentence for every record that could not be read."""
    records, complaints = read_records(folder / RECORDS_FILE)
    by_key: dict[str, list[RunRecord]] = {cell.key: [] for cell in plan.cells}
    for record in records:
        by_key.setdefault(record.key, []).append(record)
    judgements = [plan.judge(cell, by_key[cell.key], baselines) for cell in plan.cells]
    gone = "the baseline's model is gone; --import it, or drop the entry by --update-baselines"
    judgements += [
        Judgement(key, Verdict.MISSING, gone, (), baselines.cells[key])
        for key in plan.vanished
        if key in baselines.cells
    ]
    return judgements, complaints


def update_baselines(path: Path, vanished: Sequence[str], judgements: Sequence[Judgement]) -> str:
    """Write the cells whose runs all came back well into the baselines file, and say so in a line.

    The file is read again: another session may have written it meanwhile.

    Args:
        path: the file.
        vanished: keys to drop.
        judgements: of a session that was judged without baselines, so that a good cell is NEW.

    Raises:
        UsageError: a run is not fit to be a baseline; nothing is written then.
    """
    good = [judgement for judgement in judgements if judgement.verdict is Verdict.NEW]
    measured = {judgement.key: baseline_of(judgement.records) for judgement in good}
    records = [record for judgement in good for record in judgement.records]
    stored = read_baselines(path) if path.exists() else Baselines({}, {})
    write_baselines(path, stored.without(vanished).updated(measured, records))
    return f"{len(measured)} of {len(judgements)} cells written to {path}"
