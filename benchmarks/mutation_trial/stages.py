"""The two stages of a trial, on a copy with the bug: the property tests, and the smoke gate."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.mutation_trial.findings import Finding
from benchmarks.mutation_trial.mean_change import mean_change
from benchmarks.mutation_trial.mutants import LIST, Mutant
from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines, read_baselines
from stn_core.gate.groups import GroupJudgement
from stn_core.gate.judgement_files import read_group_judgements
from stn_core.session.cells import CellKey, split_key
from stn_core.session.file_names import JUDGEMENTS_FILE
from stn_core.session.records import RunRecord, read_records

ROOT = LIST.parents[1]

NOT_LAWS = (
    "tests/datasets/test_assembly.py::test_the_hash_sees_every_change_of_the_distortion",
    "tests/datasets/test_dataset_laws.py::test_it_is_the_dataset_of_every_earlier_version",
    "tests/datasets/sources/test_digits.py::test_hashes_are_those_of_every_earlier_version",
    "tests/datasets/test_splits.py::test_the_split_is_that_of_every_earlier_version",
    "tests/datasets/sources/test_torchvision_sets.py::test_the_real_files_are_the_published_ones",
    "tests/suite/test_mutation_trial.py",
    "tests/datasets/test_keyed_random.py::test_the_bits_are_those_of_every_earlier_version",
)
"""Tests that compare stored hashes or bits, or that speak of the mutants themselves."""

CAUGHT = ("REGRESSED", "DIVERGED", "CRASHED")
"""The verdicts that say that a cell's values are wrong."""

MOST_SECONDS = 3 * 3600
"""A stage that takes longer hangs."""


@contextlib.contextmanager
def planted(mutant: Mutant, commit: str) -> Iterator[Path]:
    """A copy of a commit with the mistake in it, for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        archive = subprocess.run(
            ["git", "-C", ROOT, "archive", commit], capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        mutant.plant(Path(folder))
        yield Path(folder)


def run_python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter on the copy's library, and on no setting of the user's.

    Raises:
        UsageError: it does not come to an end.
    """
    environment = {name: value for name, value in os.environ.items() if name[:4] != "STN_"}
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=copy,
            env={**environment, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"no answer within {MOST_SECONDS} seconds") from None


PROBE = """
import json
import stn_core
from stn_core.datasets import load_dataset
from stn_core.models import list_models, model_info
from stn_core.session.budgets import get_budget
from stn_core.session.cells import CellKey

smoke = get_budget("smoke")
print(json.dumps({
    "library": stn_core.__file__,
    "cells": {
        str(CellKey(smoke.name, dataset, model)): {
            "recipe_hash": smoke.recipe_for(dataset, model_info(model).family).hash(),
            "data_hash": data_hash,
        }
        for dataset, data_hash in ((name, load_dataset(name).hash) for name in smoke.datasets)
        for model in list_models()
        if model_info(model).core
    },
}))
"""


class DoesNotLoadError(UsageError):
    """The copy's library, models or data fail before anything trains."""


def probe(copy: Path) -> dict[str, dict[str, str]]:
    """The hashes that the copy's library gives to recipe and data, by key of core smoke cell.

    Raises:
        DoesNotLoadError: it fails to.
        UsageError: another library than the copy's was imported.
    """
    answer = run_python(copy, "-c", PROBE)
    if answer.returncode:
        raise DoesNotLoadError(last_line(answer))
    content = json.loads(answer.stdout)
    if not Path(content["library"]).resolve().is_relative_to(copy.resolve()):
        raise UsageError(f"{content['library']} was imported instead of the copy in {copy}")
    cells: dict[str, dict[str, str]] = content["cells"]
    return cells


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    """The last thing that a process said."""
    lines = (process.stdout + process.stderr).strip().splitlines()
    return lines[-1] if lines else f"exit status {process.returncode}"


def accept_hashes(path: Path, cells: Mapping[str, Mapping[str, str]]) -> None:
    """Give baselines the hashes of now, so that values judge a cell and STALE does not."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for key, hashes in cells.items():
        if key in content["cells"]:
            content["cells"][key].update(hashes)
    path.write_text(json.dumps(content), encoding="utf-8")


def ask_laws(mutant: Mutant, copy: Path) -> dict[str, Any]:
    """The first law that fails: among the likely ones, then among all."""
    likely = first_failure(copy, mutant.laws) if mutant.laws else None
    failure = likely or first_failure(copy, ("tests",), "-n", "2")
    return {"outcome": "caught", "by": failure} if failure else {"outcome": "survived"}


def first_failure(copy: Path, tests: Sequence[str], *options: str) -> str | None:
    """The id of the first of the copy's tests that fails, None where all pass.

    Raises:
        UsageError: pytest ends otherwise than by passing or failing tests.
    """
    report = copy / "laws.xml"
    report.unlink(missing_ok=True)
    answer = run_python(
        copy,
        *("-m", "pytest", *tests, "-x", "-q", "-p", "no:cacheprovider", *options),
        *(part for test in NOT_LAWS for part in ("--deselect", test)),
        *(f"--junitxml={report}", "-o", "junit_family=xunit1"),
    )
    if answer.returncode == 0:
        return None
    failure = read_first_failure(report) if report.exists() else None
    if failure is None:
        raise UsageError(f"pytest ended with status {answer.returncode}: {last_line(answer)}")
    return failure


def read_first_failure(report: Path) -> str | None:
    """The id of the first test that a JUnit file says has failed."""
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            return f"{case.get('file', '')}::{case.get('name', '')}"
    return None


def ask_gate(mutant: Mutant, copy: Path) -> dict[str, Any]:
    """The smoke gate's verdicts on the cells that the mutant can touch, up to the first red one.

    Groups of these cells are judged at the end of the session, if no cell is red.

    Raises:
        UsageError: the session came to no verdict on them.
    """
    if mutant.blind:
        return {"outcome": "blind", "message": mutant.blind}
    try:
        cells = probe(copy)
    except DoesNotLoadError as error:
        return {"outcome": "refused", "message": str(error)}
    accept_hashes(copy / "baselines.json", cells)
    touched = [split_key(key).id for key in cells if mutant.touches(key)]
    answer = run_python(
        copy,
        *("-m", "pytest", "-x", "-q", "-n", "2", "-p", "no:cacheprovider"),
        *("--no-identical", "--no-report", "--device", "cpu"),
        *("--results-dir", str(copy / "results")),
        *(f"benchmarks/test_accuracy.py::test_accuracy[{cell}]" for cell in touched),
    )
    tables = sorted(copy.glob("results/*/table.csv"))
    if not tables:
        raise UsageError(f"no table, exit status {answer.returncode}: {last_line(answer)}")
    found = read_session(tables[-1].parent, read_baselines(copy / "baselines.json"))
    if found["outcome"] == "survived" and answer.returncode:
        raise UsageError(f"exit status {answer.returncode}, nothing is red: {last_line(answer)}")
    return found


def read_session(folder: Path, stored: Baselines) -> dict[str, Any]:
    """The red cell of a session that lost most, else a red group, else the cell that lost most."""
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    records = read_records(folder / "records.jsonl", with_details=False)[0]
    found = _mean_change(rows, records, stored)
    red = [row for row in rows if row["verdict"] in CAUGHT]
    red_groups = [
        group
        for group in read_group_judgements(folder / JUDGEMENTS_FILE)
        if group.verdict in CAUGHT
    ]
    if red_groups and not red:
        return {**found, "outcome": "caught", **_group_finding(red_groups[0], rows)}
    worst = max(red or rows, key=_points_lost)
    key = _key(worst)
    return {
        **found,
        "outcome": "caught" if red else "survived",
        "by": key,
        "verdict": worst["verdict"],
        "points_lost": _points_lost(worst) if worst["difference_points"] else None,
        "seeds": sum(record.key == key for record in records),
        "message": worst["message"],
    }


def _mean_change(
    rows: Sequence[Mapping[str, str]], records: Sequence[RunRecord], stored: Baselines
) -> dict[str, Any]:
    """What the mean of the cells that were compared with a baseline lost, and how surely."""
    fresh: dict[str, dict[int, float]] = {}
    baselines: dict[str, dict[int, float]] = {}
    for key in (_key(row) for row in rows if row["difference_points"]):
        if baseline := stored.of(key, "cpu"):
            baselines[key] = {run.seed: run.accuracy for run in baseline.runs}
            fresh[key] = {}
    for record in records:
        if record.key in fresh and record.test_accuracy is not None:
            fresh[record.key][record.seed] = record.test_accuracy
    change = mean_change(fresh, baselines)
    lost, half = (None, None) if change is None else (round(one, 3) for one in change)
    return {"mean_points_lost": lost, "mean_half_width": half}


def _group_finding(group: GroupJudgement, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    members = [row for row in rows if _key(row) in group.members]
    return {
        "by": group.name,
        "verdict": f"{group.verdict} (group)",
        "points_lost": round(statistics.fmean(map(_points_lost, members)), 3),
        "seeds": group.seeds,
        "message": group.message,
    }


def _points_lost(row: Mapping[str, str]) -> float:
    return -float(row["difference_points"] or math.inf)


def _key(row: Mapping[str, Any]) -> str:
    return str(CellKey(row["budget"], row["dataset"], row["model"]))


STAGES: dict[str, Callable[[Mutant, Path], dict[str, Any]]] = {"laws": ask_laws, "gate": ask_gate}


def try_mutant(mutant: Mutant, stages: Sequence[str], commit: str) -> Iterator[Finding]:
    """Plant a mutant and ask some stages for it; a stage that fails says so and is no verdict."""
    if not stages:
        return
    with planted(mutant, commit) as copy:
        for stage in stages:
            started = time.perf_counter()
            try:
                found = STAGES[stage](mutant, copy)
            except UsageError as error:
                found = {"outcome": "failed", "message": str(error)}
            seconds = round(time.perf_counter() - started, 1)
            named = (mutant.name, mutant.fingerprint(), stage, commit)
            yield Finding(*named, **found, seconds=seconds)
