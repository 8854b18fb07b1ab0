"""Claims judged from stored values: baselines, and the records of an evidence file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stn_core.errors import needs_extra
from stn_core.gate.contrasts import Finding, joint_finding
from stn_core.gate.intervals import Difference
from stn_core.report.claim_differences import MEASURES, JudgedDifference, unknown
from stn_core.report.claims import WAYS, Claim, Contrast
from stn_core.report.stored_cells import Stored, StoredCell
from stn_core.session.cells import CellKey

with needs_extra("suite"):
    import scipy

CONFIDENCE = 0.95
"""The probability that all intervals of a page contain their true differences."""


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and what was found, by the way of testing.

    Args:
        claim: it.
        ways: by the field of the claim that names the budget, the differences.
    """

    claim: Claim
    ways: Mapping[str, tuple[JudgedDifference, ...]]

    def finding(self, way: str) -> Finding | None:
        """What was found in one way, None if the claim is not tested so."""
        if way not in self.ways:
            return None
        return joint_finding([one.finding for one in self.ways[way]])


def judge_claims(claims: Sequence[Claim], stored: Stored) -> list[JudgedClaim]:
    """Judge all the claims of a page.

    The intervals are simultaneous over all that the page can have (Bonferroni): every difference of
    every claim counts, measured or not, so that a verdict does not change as others come in.
    """
    count = sum(
        max(len(contrast.than), 1) * len(claim.budgets)
        for claim in claims
        for contrast in claim.contrasts
    )
    level = (1 - CONFIDENCE) / max(count, 1)
    return [
        JudgedClaim(
            claim,
            {
                way: tuple(_differences(claim.contrasts, budget, stored, level))
                for way, budget in claim.budgets.items()
                if way in WAYS
            },
        )
        for claim in claims
    ]


def _differences(
    contrasts: Iterable[Contrast], budget: str, stored: Stored, level: float
) -> Iterable[JudgedDifference]:
    for contrast in contrasts:
        if contrast.value is not None:
            yield _against_number(contrast, budget, stored, level)
        for other in contrast.than:
            yield _against_model(contrast, other, budget, stored, level)


def _against_model(
    contrast: Contrast, other: str, budget: str, stored: Stored, level: float
) -> JudgedDifference:
    names = (contrast.model, other)
    sides = _on_one_device([str(CellKey(budget, contrast.dataset, name)) for name in names], stored)
    if sides is None:
        return unknown(
            contrast, other, f"not measured yet for both models on one device ({budget})"
        )
    for name, side in zip(names, sides, strict=True):
        if side.is_outdated:
            return unknown(contrast, other, _outdated(name, budget))
    if sides[0].hashes[1] != sides[1].hashes[1]:
        return unknown(contrast, other, "their runs used different data")
    return MEASURES[contrast.metric](contrast, other, sides, level)


def _outdated(model: str, budget: str) -> str:
    return f"the runs of {model} have another recipe than {budget} has now"


def _on_one_device(keys: Sequence[str], stored: Stored) -> tuple[StoredCell, ...] | None:
    """The cells on the type of device that has all of them, and the most seeds if several do."""
    found = []
    for device in sorted({device for _, device in stored}):
        cells = [stored.get((key, device)) for key in keys]
        if all(cells):
            found.append(tuple(cell for cell in cells if cell))
    return max(found, key=lambda cells: min(len(cell.runs) for cell in cells), default=None)


def _against_number(
    contrast: Contrast, budget: str, stored: Stored, level: float
) -> JudgedDifference:
    """The mean of a cell against a published number, with Student's interval of the mean."""
    assert contrast.value is not None
    other = f"{contrast.value:g}"
    sides = _on_one_device([str(CellKey(budget, contrast.dataset, contrast.model))], stored)
    if sides is None:
        return unknown(contrast, other, f"not measured yet ({budget})")
    (side,) = sides
    if side.is_outdated:
        return unknown(contrast, other, _outdated(contrast.model, budget))
    sample, spread = side.percent, side.points
    if spread is None:
        return unknown(contrast, other, "a model with one run has no interval")
    error = math.sqrt(float(spread.credible) / len(sample))
    half = float(scipy.stats.t.isf(level / 2, spread.degrees)) * error
    estimate = float(np.mean(sample)) - contrast.value
    difference = Difference(estimate, estimate - half, estimate + half)
    finding = contrast.expectation.finding(difference)
    return JudgedDifference(
        contrast, other, finding, difference, (len(sample), 0), values=(tuple(sample), ())
    )
