"""What a session would do, as a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from stn_core.report.text_table import aligned_table, counted
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord


def plan_table(
    cells: Sequence[Cell],
    seeds_left: Mapping[str, tuple[int, int]],
    run_seconds: Mapping[str, float],
    workers: int = 1,
) -> str:
    """What a session would do: cells, seeds, and how long they would take.

    Args:
        cells: of the plan.
        seeds_left: the fewest and the most seeds that are to be trained, by key.
        run_seconds: how long a run of each cell takes, infinite if unknown.
        workers: how many train at once, each another cell.
    """
    rows = []
    times = []
    for cell in cells:
        seconds = run_seconds[cell.key]
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
    # One worker trains all seeds of a cell.
    least, most = (
        max(sum(column) / workers, *column) for column in zip(*times or [(0.0, 0.0)], strict=True)
    )
    minutes = f"{least:.1f} to {most:.1f} minutes of" if times else "an unknown time of"
    total = f"{counted(len(cells), 'cell')}, {minutes} training on {counted(workers, 'worker')}"
    unknown = len(cells) - len(times)
    beside = f", plus {unknown} never measured" if unknown and times else ""
    return f"{aligned_table(rows, 'simple')}\n\n{total}{beside}"


def measured_speed(
    records: Iterable[RunRecord], stored_seconds: Mapping[str, float]
) -> tuple[float, int]:
    """How the training times of a machine compare with the stored ones.

    Args:
        records: of runs on the machine.
        stored_seconds: of a run of each cell, infinite if nothing is stored.

    Returns:
        The median of its times over the stored ones, and of how many runs; 1 and 0 without any.
    """
    ratios = [
        record.train_seconds / stored
        for record in records
        if record.status == "ok" and 0 < (stored := stored_seconds.get(record.key, 0)) < math.inf
    ]
    return (statistics.median(ratios), len(ratios)) if ratios else (1.0, 0)
