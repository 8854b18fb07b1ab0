"""The comparison table of a session, for the terminal, as Markdown and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from stn_core.gate.verdict import Judgement, accuracy_text
from stn_core.records import RunRecord


def comparison_frame(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """The judgements as numbers, a row a cell, sorted by accuracy within each dataset."""
    frame = pd.DataFrame([_row(judgement) for judgement in judgements])
    if frame.empty:
        return frame
    return frame.sort_values(
        ["dataset", "accuracy_percent"], ascending=[True, False], na_position="last"
    ).reset_index(drop=True)


def _row(judgement: Judgement) -> dict[str, Any]:
    budget, dataset, model = judgement.key.split("/")
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
        "tolerance_points": _number(judgement.tolerance_points),
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
    by_key = {judgement.key: judgement for judgement in judgements}
    rows = []
    for row in comparison_frame(judgements).itertuples():
        judgement = by_key[f"{row.budget}/{row.dataset}/{row.model}"]
        accuracy = accuracy_text(judgement.accuracies)
        baseline = judgement.baseline
        rows.append(
            {
                "dataset": row.dataset,
                "model": row.model,
                "accuracy % (n)": f"{accuracy} validation" if judgement.on_validation else accuracy,
                "baseline % (n)": accuracy_text(baseline.accuracies) if baseline else "",
                "diff": _text(row.difference_points, "+.2f"),
                "verdict": row.verdict,
                "test loss": _text(row.test_loss, ".4f"),
                "parameters": f"{row.parameters:,}",
                "s/epoch": _text(row.seconds_per_epoch, ".2f"),
                "images/s": _text(row.images_per_second, ",.0f"),
            }
        )
    right = {2: "right", 3: "right", 4: "right", 6: "right", 7: "right", 8: "right", 9: "right"}
    text: str = tabulate(
        rows,
        headers="keys",
        tablefmt=style,
        colalign=[right.get(column, "left") for column in range(10)] if rows else None,
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


def write_tables(folder: Path, judgements: Sequence[Judgement]) -> None:
    """Write table.md and table.csv into a results folder."""
    lines = [comparison_table(judgements, "github"), "", *remarks(judgements)]
    (folder / "table.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    comparison_frame(judgements).to_csv(folder / "table.csv", index=False)
