"""A session in words: the answer in one sentence, remarks on verdicts, and the tally."""

from __future__ import annotations

import collections
import math
import re
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np

from stn_core.gate.groups import GroupJudgement
from stn_core.gate.judgement import (
    LARGEST_DROP_POINTS,
    NO_BASELINE,
    Judgement,
    Verdict,
)
from stn_core.report.text_table import counted, first_few
from stn_core.session.cells import split_key

BLIND_POINTS = 5.0
"""Cells that could miss a larger drop than this are named."""

JUDGED = (Verdict.IDENTICAL, Verdict.PASS, Verdict.IMPROVED)
"""The verdicts on a cell that is as good as its baseline, or better."""


def answer(judgements: Sequence[Judgement]) -> str:
    """The session in one sentence: how many cells pass, which do not and by how much.

    Args:
        judgements: one per cell, in the order in which those that fail are named.
    """
    judged = sum(one.verdict in JUDGED for one in judgements)
    failing = [one for one in judgements if not one.verdict.passes]
    others = collections.Counter(
        str(one.verdict) for one in judgements if one.verdict.passes and one.verdict not in JUDGED
    )
    count = counted(len(judgements), "cell")
    if judged == len(judgements):
        parts = [f"All {count} pass" if judged != 1 else "The cell passes"]
    elif failing and len(judgements) == 1:
        return f"The cell does not pass: {_failure(failing[0])}."
    elif judged or failing:
        parts = [f"{judged} of {count} pass{'es' * (judged == 1)}"]
    else:
        parts = [f"Nothing was judged: {count}"]
    if failing:
        parts.append(
            f"{len(failing)} {'does' if len(failing) == 1 else 'do'} not:"
            f" {first_few([_failure(one) for one in failing])}"
        )
    if others:
        parts.append(", ".join(f"{number} {verdict}" for verdict, number in sorted(others.items())))
    return "; ".join(parts) + "."


def _failure(judgement: Judgement) -> str:
    """A cell that fails, and by how much: its message without the evidence."""
    _, dataset, model = split_key(judgement.key)
    reason = re.sub(r" \([^)]*\)", "", judgement.message).partition(";")[0]
    why = textwrap.shorten(reason, 80, placeholder=" …")
    return f"{model} on {dataset} {judgement.verdict}{f' ({why})' if why else ''}"


def remarks(judgements: Iterable[Judgement]) -> list[str]:
    """A line for every verdict that needs an explanation; cells with the same one share it."""
    cells: dict[tuple[bool, str, str], list[str]] = {}
    for one in sorted(judgements, key=lambda judgement: judgement.key):
        if one.message and one.message != NO_BASELINE:
            kind = (one.verdict.passes, str(one.verdict), one.message)
            cells.setdefault(kind, []).append(one.key)
    return [
        f"{verdict}  {', '.join(keys) if len(keys) <= 3 else f'{len(keys)} cells'}: {message}"
        for (passes, verdict, message), keys in sorted(cells.items(), key=lambda item: item[0][0])
    ]


def tally(
    judgements: Sequence[Judgement], most_seeds: int, groups: Iterable[GroupJudgement] = ()
) -> list[str]:
    """The session in a few lines: verdicts, runs made and skipped, and what is only advice.

    Args:
        judgements: one per cell.
        most_seeds: how many seeds a cell could have used.
        groups: of cells that were judged together, perhaps after more seeds.
    """
    counts = collections.Counter(str(judgement.verdict) for judgement in judgements)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    seeds = _seeds_used(judgements, groups)
    runs = counted(sum(seeds.values()), "run")
    lines = [f"{counted(len(judgements), 'cell')}, {runs}: {verdicts}"]
    # Runs of a MISSING cell that did not come back were not skipped.
    stopped = [one for one in judgements if one.baseline and one.verdict is not Verdict.MISSING]
    skipped = sum(max(most_seeds - seeds[one.key], 0) for one in stopped if one.records)
    if skipped:
        lines[0] += f"; {counted(skipped, 'run')} skipped (stopped early)"
    unjudged = sum(one.message == NO_BASELINE for one in judgements)
    if unjudged:
        verbs = "has no baseline and was" if unjudged == 1 else "have no baseline and were"
        lines.append(f"{counted(unjudged, 'cell')} {verbs} not judged")
    lines += _blind_lines(judgements)
    slow = [one.slowdown for one in judgements if one.slowdown and one.verdict.passes]
    if slow:
        lines.append(
            f"advice: {counted(len(slow), 'cell')} trained more slowly than before, in the median"
            f" {np.median(slow):.2f} times as long; --gate-speed makes that fail"
        )
    return lines


def _blind_lines(judgements: Iterable[Judgement]) -> list[str]:
    """Which cells could miss a drop, those first that could miss any."""
    lines = []
    for least, most, missed in (
        (LARGEST_DROP_POINTS, math.inf, "any drop, however large"),
        (BLIND_POINTS, LARGEST_DROP_POINTS, f"a drop of {BLIND_POINTS:.0f} points"),
    ):
        blind = [one for one in judgements if least <= (one.detectable_points or 0) < most]
        if blind:
            helps = any(one.baseline and one.baseline.is_stored for one in blind)
            lines.append(
                f"{counted(len(blind), 'cell')} could miss {missed} (see"
                f" 'minimum detectable drop'{'; more baseline seeds help' * helps}):"
                f" {', '.join(one.key for one in blind)}"
            )
    return lines


def _seeds_used(
    judgements: Iterable[Judgement], groups: Iterable[GroupJudgement]
) -> dict[str, int]:
    """How many runs of each cell decided its verdict, or that of a group that it is in.

    The remembered runs of an identical cell count in its groups too, but did not run again.
    """
    seeds = {one.key: len(one.records) for one in judgements}
    same = {one.key for one in judgements if one.verdict is Verdict.IDENTICAL}
    for group in groups:
        for key in set(group.members) & seeds.keys() - same:
            seeds[key] = max(seeds[key], group.seeds)
    return seeds
