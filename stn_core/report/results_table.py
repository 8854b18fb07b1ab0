"""The results of a session: computed once, for the terminal, Markdown, CSV and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stn_core.atomic_files import append_text, write_at_once
from stn_core.errors import needs_extra, printable
from stn_core.gate.best_model import tied_with_best
from stn_core.gate.groups import GroupJudgement
from stn_core.gate.judgement import Judgement, Verdict, accuracy_text
from stn_core.gate.statistics import log_error, log_error_floor
from stn_core.report.session_words import answer, remarks, tally
from stn_core.report.text_table import (
    WIDTH,
    aligned_table,
    first_few,
    markdown_text,
    table_that_fits,
)
from stn_core.session.cells import Place, split_key
from stn_core.session.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd


_DROPPED_FIRST = (
    "images/s",
    "s/epoch",
    "parameters",
    "best of dataset",
    "minimum detectable drop, points",
    "test loss",
    "baseline, % (n)",
)
"""The columns that are left out on a narrow terminal."""


@dataclass(frozen=True)
class ResultsRow:
    """A cell in the table.

    Args:
        judgement: of the cell.
        texts: what the table says, by column.
    """

    judgement: Judgement
    texts: Mapping[str, str]


@dataclass(frozen=True)
class ResultsTable:
    """The results of a session; `results_table` makes it.

    Args:
        rows: the cells that fail first, then by dataset, the best model first.
        frame: the same as numbers, one row per cell.
        answer: the session in one sentence.
        remarks: a line for every verdict that needs more words than the table has.
        tally: how many of each verdict, runs, and what is only advice.
        groups: of cells that were judged together.
        metrics: the names of the registered metrics that any run was measured by.
    """

    rows: tuple[ResultsRow, ...]
    frame: pd.DataFrame
    answer: str
    remarks: tuple[str, ...]
    tally: tuple[str, ...]
    groups: tuple[GroupJudgement, ...] = ()
    metrics: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether no cell fails, and no group of cells."""
        verdicts = [row.judgement.verdict for row in self.rows]
        return all(one.passes for one in (*verdicts, *(group.verdict for group in self.groups)))

    @property
    def group_lines(self) -> list[str]:
        """A line for every group of cells that rose or dropped together."""
        return [printable(group.line) for group in self.groups if group.message]

    def text(self, width: int = WIDTH) -> str:
        """The table for a terminal, with the columns that there is room for."""
        droppable = (*_DROPPED_FIRST, *map(_metric_column, self.metrics))
        return table_that_fits([row.texts for row in self.rows], width, droppable, "table.csv")

    @property
    def markdown(self) -> str:
        """Answer, table and lines as Markdown."""
        return self._as_markdown(self.rows, (*self.remarks, *self.tally))

    @property
    def changes(self) -> str:
        """The answer, and only what changed: groups and cells that got worse or better."""
        unchanged = (Verdict.IDENTICAL, Verdict.PASS, Verdict.NEW, Verdict.SKIPPED)
        changed = [row for row in self.rows if row.judgement.verdict not in unchanged]
        return self._as_markdown(changed, self.remarks)

    def _as_markdown(self, rows: Sequence[ResultsRow], lines: Sequence[str]) -> str:
        """The answer, the groups, a table of some rows, and lines below it."""
        table = aligned_table([row.texts for row in rows], "github")
        parts = [
            markdown_text(self.answer),
            "\n".join(f"- {markdown_text(line)}" for line in self.group_lines),
            table,
            "\n".join(f"- {markdown_text(line)}" for line in lines),
        ]
        return "\n\n".join(filter(None, parts)) + "\n"

    def write(self, folder: Path) -> None:
        """Write table.md, changes.md and table.csv into a results folder."""
        write_at_once(folder / "table.md", self.markdown)
        write_at_once(folder / "changes.md", self.changes)
        write_at_once(folder / "table.csv", self.frame.to_csv(index=False))

    def append_step_summary(self, file: Path, budget: str) -> None:
        """Append the session to the page that GitHub shows of a job ($GITHUB_STEP_SUMMARY)."""
        append_text(file, f"## stn_core, budget {budget}\n\n{self.markdown}\n")


def results_table(
    judgements: Sequence[Judgement], most_seeds: int, groups: Sequence[GroupJudgement] = ()
) -> ResultsTable:
    """The table of a session.

    Args:
        judgements: one per cell.
        most_seeds: how many seeds a cell could have used.
        groups: of cells that were judged together.
    """
    with needs_extra("suite"):  # only where a table is made: collecting a session makes none
        import pandas as pd

    best = _best_of_each_dataset(judgements)
    metrics = sorted({name for one in judgements for run in one.records for name in run.metrics})
    ranked = sorted(judgements, key=_place)
    numbers = [
        {
            **_numbers(one),
            "best_of_dataset": best.get(one.key, ""),
            **{name: _mean(_metric_values(one, name)) for name in metrics},
        }
        for one in ranked
    ]
    return ResultsTable(
        rows=tuple(
            ResultsRow(one, {**_texts(one, row), **_metric_texts(one, metrics)})
            for one, row in zip(ranked, numbers, strict=True)
        ),
        frame=pd.DataFrame(numbers),
        answer=printable(answer(ranked) + _groups_answer(groups)),
        remarks=tuple(map(printable, remarks(judgements))),
        tally=tuple(map(printable, tally(judgements, most_seeds, groups))),
        groups=tuple(groups),
        metrics=tuple(metrics),
    )


def _place(judgement: Judgement) -> tuple[bool, str, float]:
    """The sort key of a cell: failures first, then by dataset, the best model first."""
    accuracies = all_accuracies(judgement)
    mean = float(np.mean(accuracies)) if accuracies else -1.0
    return judgement.verdict.passes, split_key(judgement.key).dataset, -mean


def _best_of_each_dataset(judgements: Sequence[Judgement]) -> dict[str, str]:
    """ "best" or "tied for best", by the key of a cell that may be the best of its dataset.

    A dataset in which no model has two values has no best one.
    """
    said = {}
    for values, floors in badness_by_dataset(judgements):
        tied = tied_with_best(values, floors)
        said.update(dict.fromkeys(tied, "tied for best" if len(tied) > 1 else "best"))
    return said


def badness_by_dataset(
    judgements: Sequence[Judgement],
) -> list[tuple[dict[str, NDArray[np.float64]], dict[str, float]]]:
    """What the models of each dataset are compared by: values of `log_error`, and their floors.

    Args:
        judgements: one per cell; searches, which use no test image, are left out, and so are cells
            with a run that failed, because the runs that are left may only be the lucky ones.

    Returns:
        For each budget and dataset, by key: the badness of the runs of `all_accuracies`, and the
        cell's least credible standard deviation.
    """
    datasets: dict[Place, tuple[dict[str, NDArray[np.float64]], dict[str, float]]] = {}
    for judgement in judgements:
        if _has_failed_run(judgement):
            continue
        accuracies = all_accuracies(judgement)
        images = max((record.test_images for record in judgement.records), default=0)
        if accuracies and images:
            values, floors = datasets.setdefault(split_key(judgement.key).place, ({}, {}))
            values[judgement.key] = log_error(accuracies, images)
            floors[judgement.key] = log_error_floor(float(np.mean(accuracies)), images)
    return list(datasets.values())


def _has_failed_run(judgement: Judgement) -> bool:
    """Whether a run diverged or crashed; one whose worker died has no record."""
    return judgement.verdict in (Verdict.DIVERGED, Verdict.CRASHED) or any(
        record.status != "ok" for record in judgement.records
    )


def all_accuracies(judgement: Judgement) -> list[float]:
    """Every value that counts for a cell, in [0, 1].

    If the cell is as good as its baseline, these include the stored values of seeds that were not
    run again.
    """
    if judgement.baseline is None or judgement.verdict not in (Verdict.IDENTICAL, Verdict.PASS):
        return judgement.accuracies
    run_again = {record.seed for record in judgement.records if record.status == "ok"}
    stored = [run.accuracy for run in judgement.baseline.runs if run.seed not in run_again]
    return [*stored, *judgement.accuracies]


def _numbers(judgement: Judgement) -> dict[str, Any]:
    budget, dataset, model = split_key(judgement.key)
    done = [record for record in judgement.records if record.status == "ok"]
    accuracies = judgement.accuracies
    baseline = judgement.baseline.accuracies if judgement.baseline else []
    losses = [r.test_cross_entropy for r in done if r.test_cross_entropy is not None]
    return {
        "budget": budget,
        "dataset": dataset,
        "model": model,
        "verdict": str(judgement.verdict),
        "accuracy_percent": 100 * _mean(accuracies),
        "accuracy_sd_points": (
            100 * float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else np.nan
        ),
        "runs": len(accuracies),
        "measured_on": "validation" if judgement.on_validation else "test",
        "baseline_percent": 100 * _mean(baseline),
        "baseline_runs": len(baseline),
        "difference_points": _number(judgement.difference_points),
        "minimum_detectable_drop_points": _number(judgement.detectable_points),
        "test_loss": _mean(losses),
        "parameters": max((record.parameters for record in judgement.records), default=0),
        "seconds_per_epoch": _mean([_epoch_seconds(record) for record in done]),
        "images_per_second": _mean([record.images_per_second for record in done]),
        "message": judgement.message,
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _epoch_seconds(record: RunRecord) -> float:
    return record.train_seconds / max(len(record.validation), 1)


def _texts(judgement: Judgement, numbers: Mapping[str, Any]) -> dict[str, str]:
    accuracy = accuracy_text(judgement.accuracies)
    baseline = judgement.baseline
    return {
        "dataset": numbers["dataset"],
        "model": numbers["model"],
        "verdict": numbers["verdict"],
        "accuracy, % (n)": f"{accuracy} validation" if judgement.on_validation else accuracy,
        "baseline, % (n)": accuracy_text(baseline.accuracies) if baseline else "",
        "change, points": _text(numbers["difference_points"], "+.2f"),
        "minimum detectable drop, points": _text(numbers["minimum_detectable_drop_points"], ".1f"),
        "best of dataset": numbers["best_of_dataset"],
        "test loss": _text(numbers["test_loss"], ".4f"),
        # A cell that never ran has built no model.
        "parameters": f"{numbers['parameters']:,}" if numbers["parameters"] else "",
        "s/epoch": _text(numbers["seconds_per_epoch"], ".2f"),
        "images/s": _text(numbers["images_per_second"], ",.0f"),
    }


def _metric_column(name: str) -> str:
    return f"{name.replace('_', ' ')} (n)"


def _metric_texts(judgement: Judgement, metrics: Sequence[str]) -> dict[str, str]:
    """The values of registered metrics, as mean ± standard deviation (n), by column."""
    values = {name: _metric_values(judgement, name) for name in metrics}
    return {_metric_column(name): _metric_text(found) for name, found in values.items()}


def _metric_values(judgement: Judgement, name: str) -> list[float]:
    done = (record for record in judgement.records if record.status == "ok")
    return [record.metrics[name] for record in done if name in record.metrics]


def _metric_text(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread} ({len(values)})"


def _text(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def _groups_answer(groups: Sequence[GroupJudgement]) -> str:
    """What is added to the answer if cells dropped together or train more slowly, else ""."""
    failing = [one for one in groups if not one.verdict.passes]
    dropped = [f"group {one.name}" for one in failing if one.members]
    said = f" Cells dropped together: {first_few(dropped)}." if dropped else ""
    return f"{said} Training is slower." if len(failing) > len(dropped) else said
