"""The picture of the most telling claims: what was claimed, and what was found."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stn_core.errors import needs_extra
from stn_core.gate.contrasts import Direction, Expectation, Finding
from stn_core.report.claim_differences import JudgedDifference
from stn_core.report.claims import METRICS, WAYS
from stn_core.report.claims_text import decisive_difference, most_telling
from stn_core.report.judged_claims import JudgedClaim
from stn_core.report.svg import COLOURS, WIDTH, drawing_style, for_file, new_figure, to_svg

with needs_extra("report"):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FOUND = {Finding.HOLDS: COLOURS[0], Finding.DOES_NOT_HOLD: COLOURS[1]}
_TICKS = (0, 0.5, 1, 5, 20, 100)
_LEAST_END = 20.0
"""The axis reaches at least this far, so that every band shows on which side it lies."""


def claims_picture(judged: Sequence[JudgedClaim]) -> str:
    """`claims_chart` as an SVG file."""
    with drawing_style():
        return for_file(to_svg(claims_chart(judged), "claims"))


def claims_chart(judged: Sequence[JudgedClaim]) -> Figure:
    """The claims of `most_telling`, one per row.

    A band covers every difference that the claim allows; the dot is the difference that decides it,
    and the line its interval. The axis is linear up to 1 and logarithmic beyond.
    """
    rows = [
        (decisive_difference(one.ways[way]), way, found) for one, way, found in most_telling(judged)
    ]
    figure, axes = new_figure(1.8 * WIDTH, 1.0 + 0.38 * len(rows))
    end = 1.2 * max([_LEAST_END, *(_extent(one) for one, _, _ in rows)])
    for place, (one, _, finding) in enumerate(rows):
        _draw_row(axes, place, one, _FOUND[finding], end)
    for finding, colour in _FOUND.items():
        axes.plot([], [], "o-", color=colour, markersize=4, label=str(finding))
    axes.fill_between([], [], color=COLOURS[-1], alpha=0.25, linewidth=0, label="claimed")
    axes.axvline(0, color=COLOURS[-1], linewidth=0.8)
    axes.set_xscale("symlog", linthresh=1)
    ticks = [tick for tick in _TICKS if tick <= end]
    axes.set_xticks([*(-tick for tick in ticks if tick), *ticks])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xlim(-end, end)
    axes.set_xlabel("difference, in the unit that its row names")
    axes.set_yticks(range(len(rows)), [_label(one, way) for one, way, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    figure.legend(loc="outside upper right", ncols=3)
    return figure


def _extent(one: JudgedDifference) -> float:
    """How far from 0 a row reaches; an unbounded side counts from its finite end."""
    claimed = one.contrast.expectation
    found = one.difference
    ends = (-found.low, found.high) if found else ()
    return max(claimed.size, claimed.margin, *(end for end in ends if math.isfinite(end)))


def _draw_row(axes: Axes, place: int, one: JudgedDifference, colour: str, end: float) -> None:
    low, high = claimed_range(one.contrast.expectation)
    band = [max(low, -end)] * 2, [min(high, end)] * 2
    rows = [place - 0.35, place + 0.35]
    axes.fill_betweenx(rows, *band, color=COLOURS[-1], alpha=0.25, linewidth=0)
    if one.difference:
        line = max(one.difference.low, -end), min(one.difference.high, end)
        axes.plot(line, [place, place], color=colour)
        axes.plot([one.difference.estimate], [place], "o", color=colour, markersize=4)


def claimed_range(expectation: Expectation) -> tuple[float, float]:
    """The range of differences that agree with a claim, in the difference's unit."""
    if expectation.direction is Direction.EQUAL:
        return -expectation.margin, expectation.margin
    if expectation.direction is Direction.HIGHER:
        return expectation.size, math.inf
    return -math.inf, -expectation.size


def _label(one: JudgedDifference, way: str) -> str:
    contrast = one.contrast
    unit = METRICS[contrast.metric]
    estimate = f": {one.difference.estimate:+.2f} {unit}" if one.difference else ""
    metric = contrast.metric.replace("_", " ")
    return f"{contrast.model} - {one.other}, {contrast.dataset}, {metric}{estimate}\n{WAYS[way]}"
