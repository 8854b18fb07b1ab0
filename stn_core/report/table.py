"""The tables of a session, planned and done: for the terminal, as Markdown and as CSV."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stn_core.atomic_files import append_text, write_at_once
from stn_core.errors import needs_extra
from stn_core.gate.baselines import Baselines
from stn_core.gate.comparison import tied_with_best
from stn_core.gate.statistics import log_error, log_error_floor
from stn_core.gate.verdict import Judgement, Verdict, accuracy_text
from stn_core.session.cells import Cell, CellKey, split_key
from stn_core.session.records import RunRecord

with needs_extra("suite"):
    import pandas as pd
    from tabulate import tabulate

BLIND_POINTS = 5.0
"""A cell that can miss a larger drop than this is named."""


def comparison_frame(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """The judgements as numbers, a row a cell, sorted by accuracy within each dataset."""
    best = {
        key
        for values, floors in badness_by_dataset(judgements)
        for key in tied_with_best(values, floors)
    }
    frame = pd.DataFrame(
        [{**_row(judgement), "best": judgement.key in best} for judgement in judgements]
    )
    if frame.empty:
        return frame
    frame["standing"] = [_mean(all_accuracies(judgement)) for judgement in judgements]
    ranked = frame.sort_values(["dataset", "standing"], ascending=[True, False], na_position="last")
    return ranked.drop(columns="standing").reset_index(drop=True)


def badness_by_dataset(
    judgements: Sequence[Judgement],
) -> list[tuple[dict[str, NDArray[np.float64]], dict[str, float]]]:
    """What the models of each dataset are compared by: values of `log_error`, and their floors.

    Args:
        judgements: a cell each; one that has seen no test image is left out.

    Returns:
        For each budget and dataset, by key: the badness of every run that speaks for the cell, and
        its least credible standard deviation.
    """
    datasets: dict[str, tuple[dict[str, NDArray[np.float64]], dict[str, float]]] = {}
    for judgement in judgements:
        accuracies = all_accuracies(judgement)
        images = max((record.test_images for record in judgement.records), default=0)
        if accuracies and images:
            values, floors = datasets.setdefault(split_key(judgement.key).place, ({}, {}))
            values[judgement.key] = log_error(accuracies, images)
            floors[judgement.key] = log_error_floor(float(np.mean(accuracies)), images)
    return list(datasets.values())


def all_accuracies(judgement: Judgement) -> list[float]:
    """Every value that speaks for a cell: of the same code those that are stored do too."""
    same_code = judgement.verdict is Verdict.IDENTICAL and judgement.baseline
    return same_code.accuracies if same_code else judgement.accuracies


def _row(judgement: Judgement) -> dict[str, Any]:
    budget, dataset, model = split_key(judgement.key)
    done = [record for record in judgement.records if record.status == "ok"]
    accuracies = judgement.accuracies
    baseline = judgement.baseline.accuracies if judgement.baseline else []
    losses = [r.test_cross_entropy for r in done if r.test_cross_entropy is not None]
    return {
        "budget": budget,
        "dataset": dataset,
        "model": model,
        "accuracy_percent": 100 * _mean(accuracies),
        "accuracy_sd": 100 * float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else np.nan,
        "runs": len(accuracies),
        "measured_on": "validation" if judgement.on_validation else "test",
        "baseline_percent": 100 * _mean(baseline),
        "baseline_runs": len(baseline),
        "difference_points": _number(judgement.difference_points),
        "detectable_points": _number(judgement.detectable_points),
        "verdict": str(judgement.verdict),
        "message": judgement.message,
        "test_loss": _mean(losses),
        "parameters": max((record.parameters for record in judgement.records), default=0),
        "seconds_per_epoch": _mean([_epoch_seconds(record) for record in done]),
        "images_per_second": _mean([record.images_per_second for record in done]),
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _epoch_seconds(record: RunRecord) -> float:
    return record.train_seconds / max(len(record.validation), 1)


def comparison_table(judgements: Sequence[Judgement], style: str = "simple") -> str:
    """The table as text.

    Args:
        judgements: a cell each.
        style: a format of tabulate's: "simple" for a terminal, "github" for Markdown.
    """
    return aligned_table([row for _, row in comparison_rows(judgements)], style)


def comparison_rows(judgements: Sequence[Judgement]) -> list[tuple[Judgement, dict[str, str]]]:
    """The judgements in the order of the table, each with its cells of text by column."""
    by_key = {judgement.key: judgement for judgement in judgements}
    rows = []
    for row in comparison_frame(judgements).itertuples():
        judgement = by_key[str(CellKey(row.budget, row.dataset, row.model))]
        accuracy = accuracy_text(judgement.accuracies)
        baseline = judgement.baseline
        cells = {
            "dataset": row.dataset,
            "model": row.model,
            "accuracy % (n)": f"{accuracy} validation" if judgement.on_validation else accuracy,
            "baseline % (n)": accuracy_text(baseline.accuracies) if baseline else "",
            "diff": _text(row.difference_points, "+.2f"),
            "detects": _text(row.detectable_points, ".1f"),
            "best": "tied" if row.best else "",
            "verdict": row.verdict,
            "test loss": _text(row.test_loss, ".4f"),
            # A cell that never ran has built no model.
            "parameters": f"{row.parameters:,}" if row.parameters else "",
            "s/epoch": _text(row.seconds_per_epoch, ".2f"),
            "images/s": _text(row.images_per_second, ",.0f"),
        }
        rows.append((judgement, cells))
    return rows


def aligned_table(rows: Sequence[Mapping[str, str]], style: str) -> str:
    """Rows as a table of tabulate's, words to the left and numbers to the right; "" of none.

    Args:
        rows: texts by column; each row has the same columns.
        style: a format of tabulate's.
    """
    words = ("budget", "dataset", "model", "device", "best", "verdict", "caution")
    names = rows[0] if rows else ()
    text: str = tabulate(
        rows,
        headers="keys",
        tablefmt=style,
        colalign=["left" if name in words else "right" for name in names] if rows else None,
        disable_numparse=True,
    )
    return text


def _text(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def remarks(judgements: Sequence[Judgement]) -> list[str]:
    """A line for every verdict that needs a word more than the table has; equal ones share it."""
    cells: dict[tuple[str, str], list[str]] = {}
    for judgement in sorted(judgements, key=lambda judgement: judgement.key):
        if judgement.message and judgement.message != "no baseline":
            cells.setdefault((judgement.verdict, judgement.message), []).append(judgement.key)
    return [
        f"{verdict}  {', '.join(keys) if len(keys) <= 3 else f'{len(keys)} cells'}: {message}"
        for (verdict, message), keys in cells.items()
    ]


def counted(count: int, noun: str) -> str:
    """How many there are of something: "1 run", "2 runs"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def tally(judgements: Sequence[Judgement], most_seeds: int) -> list[str]:
    """The session in a few lines: verdicts, seeds spent and spared, and what is only advice.

    Args:
        judgements: a cell each.
        most_seeds: what a cell might have spent.
    """
    counts = collections.Counter(str(judgement.verdict) for judgement in judgements)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    runs = sum(len(judgement.records) for judgement in judgements)
    lines = [f"{counted(len(judgements), 'cell')}, {counted(runs, 'run')}: {verdicts}"]
    judged = [one for one in judgements if one.baseline and one.records]
    spared = sum(max(most_seeds - len(one.records), 0) for one in judged)
    if spared:
        lines[0] += f"; {counted(spared, 'run')} spared, the answer was clear"
    unjudged = sum(one.verdict is Verdict.NEW and not one.on_validation for one in judgements)
    if unjudged:
        lines.append(f"{unjudged} cells have no baseline: nothing was judged there")
    blind = [one.key for one in judgements if (one.detectable_points or 0) > BLIND_POINTS]
    if blind:
        lines.append(
            f"{len(blind)} cells cannot be trusted to show a drop of {BLIND_POINTS:.0f} points"
            f" (see 'detects'; more baseline seeds help): {', '.join(blind)}"
        )
    slow = [one.slowdown for one in judgements if one.slowdown and one.verdict.passes]
    if slow:
        lines.append(
            f"advice: {len(slow)} cells trained more slowly than stored, in the median"
            f" {np.median(slow):.2f} times as long; with --gate-speed that fails"
        )
    return lines


def write_tables(folder: Path, judgements: Sequence[Judgement], most_seeds: int) -> None:
    """Write table.md and table.csv into a results folder."""
    write_at_once(folder / "table.md", _markdown(judgements, most_seeds))
    write_at_once(folder / "table.csv", comparison_frame(judgements).to_csv(index=False))


def write_step_summary(
    file: Path, budget: str, judgements: Sequence[Judgement], most_seeds: int
) -> None:
    """Append the session to the page that GitHub shows of a job ($GITHUB_STEP_SUMMARY)."""
    append_text(file, f"## stn_core, budget {budget}\n\n{_markdown(judgements, most_seeds)}\n")


def _markdown(judgements: Sequence[Judgement], most_seeds: int) -> str:
    lines = [comparison_table(judgements, "github"), ""]
    lines += [f"- {line}" for line in [*remarks(judgements), *tally(judgements, most_seeds)]]
    return "\n".join(lines) + "\n"


def plan_table(
    cells: Sequence[Cell],
    seeds_left: Mapping[str, tuple[int, int]],
    baselines: Baselines,
    device: str,
) -> str:
    """What a session would do: cells, seeds, and how long a cell would take on one worker.

    Args:
        cells: of the plan.
        seeds_left: the fewest and the most seeds that are to be trained, by key.
        baselines: that the times are known from.
        device: the type of device that the cells run on.
    """
    rows = []
    times = []
    for cell in cells:
        seconds = baselines.expected_seconds(cell.key, device)
        known = math.isfinite(seconds)
        first, last = seeds_left[cell.key]
        if known:
            times.append((first * seconds / 60, last * seconds / 60))
        rows.append(
            {
                "dataset": cell.dataset,
                "model": cell.model,
                "epochs": str(cell.recipe.epochs),
                "seeds": f"{first}" if first == last else f"{first} to {last}",
                "s/seed": f"{seconds:.1f}" if known else "unknown",
                "minutes": f"{times[-1][0]:.1f} to {times[-1][1]:.1f}" if known else "",
            }
        )
    least, most = (sum(column) for column in zip(*times, strict=True)) if times else (0.0, 0.0)
    total = f"{counted(len(cells), 'cell')}, {least:.1f} to {most:.1f} minutes of training"
    unknown = len(cells) - len(times)
    beside = f", beside {unknown} that were never measured" if unknown else ""
    return f"{aligned_table(rows, 'simple')}\n\n{total}{beside}"
