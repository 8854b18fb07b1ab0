"""Claims judged from stored values: baselines, and the records of an evidence file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stn_core.gate.contrasts import Finding, joint_finding
from stn_core.report.claim_differences import (
    MEASURES,
    JudgedDifference,
    against_number,
    unknown,
)
from stn_core.report.claims import WAYS, Claim, Contrast
from stn_core.report.stored_cells import Stored, StoredCell
from stn_core.session.cells import CellKey

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

    def compared(sides: Sequence[StoredCell]) -> JudgedDifference:
        for name, side in zip(names, sides, strict=True):
            if side.is_outdated:
                return unknown(contrast, other, _outdated(name, budget))
        if sides[0].hashes[1] != sides[1].hashes[1]:
            return unknown(contrast, other, "their runs used different data")
        return MEASURES[contrast.metric](contrast, other, sides, level)

    found = [compared(sides) for sides in _of_each_device(names, contrast, budget, stored)]
    if not found:
        reason = f"not measured yet for both models on one device ({budget})"
        return unknown(contrast, other, reason)
    return max(found, key=lambda one: min(one.seeds))


def _outdated(model: str, budget: str) -> str:
    return f"the runs of {model} have another recipe than {budget} has now"


def _of_each_device(
    models: Iterable[str], contrast: Contrast, budget: str, stored: Stored
) -> Iterator[tuple[StoredCell, ...]]:
    """The cells of these models on each type of device that has all of them.

    Which of them has most runs depends on the metric: few records have learning curves.
    """
    keys = [str(CellKey(budget, contrast.dataset, model)) for model in models]
    for device in sorted({device for _, device in stored}):
        cells = [stored.get((key, device)) for key in keys]
        if all(cells):
            yield tuple(cell for cell in cells if cell)


def _against_number(
    contrast: Contrast, budget: str, stored: Stored, level: float
) -> JudgedDifference:
    other = f"{contrast.value:g}"
    found = [
        unknown(contrast, other, _outdated(contrast.model, budget))
        if side.is_outdated
        else against_number(contrast, side, level)
        for (side,) in _of_each_device([contrast.model], contrast, budget, stored)
    ]
    if not found:
        return unknown(contrast, other, f"not measured yet ({budget})")
    return max(found, key=lambda one: one.seeds[0])
