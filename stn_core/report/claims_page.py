"""The page of the claims: each with its source, its verdicts, the dots of every seed, a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_output
from stn_core.errors import needs_extra
from stn_core.gate.contrasts import Finding
from stn_core.report.claim_differences import JudgedDifference
from stn_core.report.claims import WAYS
from stn_core.report.claims_text import INTERVALS, claim_difference, tally_line
from stn_core.report.figures import FigureFolder
from stn_core.report.judged_claims import JudgedClaim
from stn_core.report.page import render
from stn_core.report.svg import COLOURS, WIDTH, drawing_style, new_figure

with needs_extra("report"):
    from markupsafe import Markup
    from matplotlib.figure import Figure

_KINDS = {Finding.HOLDS: "pass", Finding.DOES_NOT_HOLD: "a_better", Finding.OPEN: "new"}
"""The class of the page's style sheet for each finding."""

_AXES = {
    "accuracy": "test accuracy, %",
    "loss": "test loss, nats",
    "epochs": "epochs to the target",
    "train_time": "training time, s",
    "train_loss": "training loss, nats",
    "invariance": "unchanged predictions, %",
    "misplaced_pixels": "misplaced pixels",
}


def write_claims_page(
    judged: Sequence[JudgedClaim],
    page: Path,
    command: str,
    command_of: Callable[[str], str] | None = None,
) -> None:
    """Write the page.

    Args:
        judged: the claims.
        page: the file.
        command: the command that writes this page.
        command_of: gives the command that measures and judges one claim, by its id; None for none.

    Raises:
        UsageError: it cannot be written.
    """
    draw = FigureFolder(None)
    with drawing_style():
        claims = [
            _content(one, draw, command_of(one.claim.id) if command_of else "") for one in judged
        ]
    content = render(
        "claims.html",
        title="published claims, tested",
        tally=tally_line(judged),
        method=INTERVALS,
        command=command,
        claims=claims,
        complaints=draw.failures,
    )
    write_output(page, content)


def _content(one: JudgedClaim, draw: FigureFolder, command: str) -> dict[str, Any]:
    return {
        "id": one.claim.id,
        "sentence": one.claim.sentence,
        "source": one.claim.source,
        "note": one.claim.note,
        "ways": [_way(one, way, draw) for way in one.ways],
        "command": command,
    }


def _way(one: JudgedClaim, way: str, draw: FigureFolder) -> dict[str, Any]:
    finding = one.finding(way)
    samples = samples_of(one.ways[way])
    svg = ""
    if samples:
        title = f"{one.claim.id}, {WAYS[way]}"
        label = _AXES[_drawn(one.ways[way])[0].contrast.metric]
        svg = Markup(draw(title, title, lambda: seeds_chart(samples, label)))
    return {
        "title": WAYS[way],
        "budget": one.claim.budgets[way],
        "finding": str(finding),
        "kind": _KINDS[finding] if finding else "new",
        "lines": [f"{diff.finding}; {claim_difference(diff)}" for diff in one.ways[way]],
        "svg": svg,
    }


def samples_of(differences: Sequence[JudgedDifference]) -> dict[str, tuple[float, ...]]:
    """The values of every cell that a claim is about, in the first metric that varies over seeds.

    By model; with its dataset if that is not the first contrast's.
    """
    samples: dict[str, tuple[float, ...]] = {}
    drawn = _drawn(differences)
    for one in drawn:
        for model, values in zip((one.contrast.model, one.other), one.values, strict=True):
            if values:
                dataset = one.contrast.dataset
                name = model if dataset == drawn[0].contrast.dataset else f"{model}, {dataset}"
                samples.setdefault(name, values)
    return samples


def _drawn(differences: Sequence[JudgedDifference]) -> list[JudgedDifference]:
    """The differences by the first metric that a picture can show; parameters have no seeds."""
    metrics = [one.contrast.metric for one in differences if one.contrast.metric in _AXES]
    return [one for one in differences if one.contrast.metric == metrics[0]] if metrics else []


def seeds_chart(samples: dict[str, tuple[float, ...]], label: str) -> Figure:
    """Every seed as a dot, one row per cell, with the mean as a line."""
    figure, axes = new_figure(WIDTH, 0.7 + 0.3 * len(samples))
    for place, values in enumerate(samples.values()):
        axes.plot(values, [place] * len(values), "o", color=COLOURS[0], alpha=0.6, markersize=4)
        mean = sum(values) / len(values)
        axes.plot([mean, mean], [place - 0.3, place + 0.3], color=COLOURS[1])
    axes.set_yticks(range(len(samples)), list(samples))
    axes.set_ylim(len(samples) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.2)
    return figure
