"""The cells of a results folder, a file of records or a baselines file, for comparisons."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.errors import UsageError, is_missing, printable
from stn_core.gate.baselines import BaselineRun, baseline_run, read_baselines
from stn_core.report.text_table import counted
from stn_core.session.answers import answers_like_the_last
from stn_core.session.cells import CellKey, split_key
from stn_core.session.evidence import read_evidence
from stn_core.session.file_names import PLAN_FILE, RECORDS_FILE
from stn_core.session.plan import read_asked
from stn_core.session.records import Environment, RunRecord, read_records
from stn_core.session.store import SessionStore


@dataclass(frozen=True)
class CellRuns:
    """The good runs of one cell on one type of device, all of one recipe and of the same data.

    Args:
        budget, dataset, model: the cell.
        device: "cpu" or "cuda"; values of different ones are never mixed.
        recipe_hash, data_hash: of every run.
        test_images: how many images the accuracies were measured on, >= 1.
        runs: one or more, by seed.
    """

    budget: str
    dataset: str
    model: str
    device: str
    recipe_hash: str
    data_hash: str
    test_images: int
    runs: tuple[BaselineRun, ...]

    @property
    def key(self) -> str:
        """``budget/dataset/model``."""
        return str(CellKey(self.budget, self.dataset, self.model))

    @property
    def accuracies(self) -> list[float]:
        """The runs' accuracies, in [0, 1]."""
        return [run.accuracy for run in self.runs]


@dataclass(frozen=True)
class Source:
    """One side of a comparison.

    Args:
        path: as the user named it.
        cells: one or more, sorted by key and device.
        environments: where the runs took place, by the keys that they name.
        commits: that the runs were made at; one of a dirty checkout says so.
        complaints: a message for whatever was left out or is doubtful.
    """

    path: Path
    cells: tuple[CellRuns, ...]
    environments: Mapping[str, Mapping[str, Any]]
    commits: tuple[str, ...]
    complaints: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The source in one line."""
        runs = sum(len(cell.runs) for cell in self.cells)
        parts = [f"{self.path}: {counted(len(self.cells), 'cell')}", counted(runs, "run")]
        if len(self.commits) > 3:
            parts.append(f"{len(self.commits)} commits")
        elif self.commits:
            parts.append(f"commit{'s' * (len(self.commits) > 1)} {', '.join(self.commits)}")
        return printable(", ".join(parts))


def read_source(path: Path) -> Source:
    """The cells of a session or of baselines that can be compared.

    Args:
        path: a results folder, a file of records (``.jsonl``, ``.jsonl.gz``) or a baselines file.

    Raises:
        UsageError: it does not exist, cannot be read, is something else, or has no run that was
            evaluated on the test images.
    """
    if path.is_dir():
        asked, doubts = read_asked(path)
        if is_missing(path / PLAN_FILE):  # a folder of records from elsewhere
            doubts = []
        records, torn = SessionStore(path, asked.record_files(path)).whole_records()
        source = source_of_records(path, records, [*doubts, *torn])
    elif path.suffix == Path(RECORDS_FILE).suffix:
        source = source_of_records(path, *_read_file(path))
    elif path.name.endswith(f"{Path(RECORDS_FILE).suffix}.gz") and not is_missing(path):
        source = source_of_records(path, read_evidence(path))
    else:
        source = _of_baselines(path)
    if not source.cells:
        why = f"; {source.complaints[0]}" if source.complaints else ""
        raise UsageError(f"{path} holds no run that was evaluated on the test images{why}")
    return source


def several_places(cells: Iterable[Any]) -> list[str]:
    """Which of the budget and the device a table or chart must name to tell its cells apart.

    Args:
        cells: with these attributes.
    """
    cells = list(cells)
    return [
        name for name in ("budget", "device") if len({getattr(cell, name) for cell in cells}) > 1
    ]


def _of_baselines(path: Path) -> Source:
    try:
        baselines = read_baselines(path)
    except UsageError as error:
        if path.suffix == ".json" or not path.is_file():
            raise
        suffix = Path(RECORDS_FILE).suffix
        raise UsageError(f"{error}; the name of a file of records ends in {suffix}") from None
    cells = []
    for key, cell in sorted(baselines.cells.items()):
        for device in sorted({run.device for run in cell.runs}):
            runs = tuple(run for run in cell.runs if run.device == device)
            hashes = (cell.recipe_hash, cell.data_hash, cell.test_images)
            cells.append(CellRuns(*split_key(key), device, *hashes, _by_seed(runs)))
    commits = {cell.commit[:7] for cell in baselines.cells.values() if cell.commit}
    return Source(path, tuple(cells), baselines.environments, tuple(sorted(commits)))


def _by_seed(runs: Iterable[BaselineRun]) -> tuple[BaselineRun, ...]:
    return tuple(sorted(runs, key=lambda run: (run.seed, run.environment)))


def _read_file(path: Path) -> tuple[list[RunRecord], list[str]]:
    if is_missing(path):
        raise UsageError(f"cannot read {path}: no such file")
    return read_records(path)


def source_of_records(
    path: Path, records: Iterable[RunRecord], complaints: Sequence[str] = ()
) -> Source:
    """The cells of records that can be compared: runs of one recipe and data, on each device.

    If there are several recipes or data, the last run that was evaluated on the test images decides
    which count.

    Args:
        path: where they are from.
        records: of any cells.
        complaints: messages about those that could not be read.
    """
    by_device = collections.defaultdict(list)
    for record in records:
        by_device[record.environment.device_type].append(record)
    kept: list[RunRecord] = []
    cells = []
    complaints = list(complaints)
    for device, on_device in sorted(by_device.items()):
        by_key, left_out = answers_like_the_last(on_device, _is_evaluated)
        complaints += left_out
        for key, runs in sorted(by_key.items()):
            good = [run for run in runs if _is_evaluated(run)]
            complaints += [f"{key}: {line}" for line in _doubts(runs, good)]
            if good:
                kept += good
                hashes = (good[0].recipe_hash, good[0].data_hash, good[0].test_images)
                cells.append(
                    CellRuns(*split_key(key), device, *hashes, _by_seed(map(baseline_run, good)))
                )
    return Source(
        path=path,
        cells=tuple(sorted(cells, key=lambda cell: (cell.key, cell.device))),
        environments={run.environment.key(): run.environment.place() for run in kept},
        commits=_commits(kept),
        complaints=tuple(complaints),
    )


def _is_evaluated(run: RunRecord) -> bool:
    """Whether a run ended well and was evaluated on the test images."""
    has_values = run.test_accuracy is not None and run.test_cross_entropy is not None
    return run.status == "ok" and has_values and run.test_images > 0


def _doubts(runs: Iterable[RunRecord], good: Sequence[RunRecord]) -> list[str]:
    """Messages about a cell's runs that are not good, and about the commits of those that are.

    Args:
        runs: all of them.
        good: those that were evaluated on the test images.
    """
    left_out: dict[str, list[int]] = collections.defaultdict(list)
    for run in runs:
        if run.status != "ok":
            left_out[run.status].append(run.seed)
        elif not _is_evaluated(run):
            left_out["not evaluated on the test images"].append(run.seed)
    doubts = [
        f"left out, {reason}: seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}"
        for reason, seeds in left_out.items()
    ]
    if several := several_commits(good):
        doubts.append(f"its runs were {several}")
    return doubts


def several_commits(runs: Iterable[RunRecord]) -> str:
    """The commits at which runs were made, "" if it is only one."""
    names = sorted({commit_name(run.environment) for run in runs})
    return f"made at several commits: {', '.join(names)}" if len(names) > 1 else ""


def commit_name(environment: Environment) -> str:
    """The code of a run in words; without a commit, only its version is known."""
    if not environment.commit:
        return f"version {environment.stn_core} without a commit"
    changes = " with uncommitted changes" if environment.dirty else ""
    return f"{environment.commit[:7]}{changes}"


def _commits(runs: Iterable[RunRecord]) -> tuple[str, ...]:
    environments = [run.environment for run in runs]
    return tuple(sorted({commit_name(place) for place in environments if place.commit}))
