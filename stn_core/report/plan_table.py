"""What a session would do, as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stn_core.gate.baselines import Baselines
from stn_core.report.text_table import aligned_table, counted
from stn_core.session.cells import Cell


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
    beside = f", plus {unknown} that were never measured" if unknown else ""
    return f"{aligned_table(rows, 'simple')}\n\n{total}{beside}"
