"""Judged claims as text: a table for a terminal, and a page of the documentation."""

from __future__ import annotations

import collections
import math
import textwrap
from collections.abc import Iterable, Sequence

from stn_core.errors import UsageError
from stn_core.gate.contrasts import Direction, Finding
from stn_core.gate.intervals import MOST_SEEDS
from stn_core.report.claim_differences import JudgedDifference
from stn_core.report.claims import METRICS, WAYS
from stn_core.report.judged_claims import CONFIDENCE, JudgedClaim
from stn_core.report.text_table import aligned_table, counted, difference_text

WAYS_OF_TESTING = (
    "Each claim is tested in two ways, with models trained here on several seeds. The first is as"
    " published: budget `predecessor` follows the source, with plain SGD at 0.01, a constant rate,"
    " and batches of 64 for 20 epochs on MNIST and 30 on Fashion-MNIST, or of 32 for 50 epochs on"
    " CIFAR-10; where a source trained otherwise, the claim says so. The second is with our"
    " recipes, which were tuned on validation images: budget `full`, or the shorter `quick` or"
    " `smoke`. Validation images are taken from the training images, and each run uses the test"
    " images once. A claim can hold in one way and fail in the other."
)

INTERVALS = (
    f"The intervals are simultaneous: with a probability of {100 * CONFIDENCE:.0f} %, all of them"
    " contain their true differences (Welch's intervals, with Bonferroni's correction for every"
    " difference of every claim; from five seeds on, variances are moderated over the cells of a"
    " budget that have as many, and none is below the common one). An interval of epochs has no end"
    " on the side of a model with a run that never reached the accuracy in question. A claimed"
    " direction holds if the interval lies on the claimed side and does not exclude the claimed"
    " size. It does not hold if the interval excludes the direction or the size. Otherwise the"
    " claim is open, with the number of seeds per model that would settle it if the estimate stayed"
    " as it is. It may then be given more seeds and be judged again; the intervals do not allow for"
    " such repeated looks."
)

MOST_TELLING = 10
CLAIMS_PICTURE = "claims.svg"
"""The picture of the most telling claims, beside the page."""

EXCERPT_BEGINS, EXCERPT_ENDS = "<!-- claims -->", "<!-- /claims -->"

_SINGULAR = {
    Finding.HOLDS: "holds",
    Finding.DOES_NOT_HOLD: "does not hold",
    Finding.OPEN: "is open",
}
_PLURAL = {Finding.HOLDS: "hold", Finding.DOES_NOT_HOLD: "do not hold", Finding.OPEN: "are open"}


def claims_table(judged: Sequence[JudgedClaim]) -> str:
    """One row per claim, with the findings of both ways of testing."""
    rows = [{"claim": one.claim.id, **_findings(one, "{} ({})")} for one in judged]
    return aligned_table(rows, "simple")


def _findings(one: JudgedClaim, form: str) -> dict[str, str]:
    """What was found, by the title of each way; "" for a way in which the claim is not tested.

    Args:
        one: the claim.
        form: of the finding and the difference that decides it.
    """
    return {
        title: form.format(one.finding(way), claim_difference(decisive_difference(one.ways[way])))
        if way in one.ways
        else ""
        for way, title in WAYS.items()
    }


def tally_line(judged: Sequence[JudgedClaim]) -> str:
    """How many claims hold, do not hold and are open, by the way of testing."""
    parts = []
    for way, title in WAYS.items():
        counts = collections.Counter(one.finding(way) for one in judged if way in one.ways)
        said = ", ".join(
            f"{count} {_SINGULAR[one] if count == 1 else _PLURAL[one]}"
            for one in Finding
            if (count := counts[one])
        )
        parts.append(f"{title}: {said or 'none'}")
    return f"{counted(len(judged), 'claim')}; {'; '.join(parts)}"


def decisive_difference(differences: Sequence[JudgedDifference]) -> JudgedDifference:
    """The difference that decides a claim: one that does not hold, else an open one, else any.

    Among several, the one that supports the claim least.
    """
    for finding in (Finding.DOES_NOT_HOLD, Finding.OPEN, Finding.HOLDS):
        found = [one for one in differences if one.finding is finding]
        if found:
            return min(found, key=_support)
    raise ValueError("a claim has at least one difference")


def _support(one: JudgedDifference) -> float:
    """How strongly a difference supports the claim; an unknown one supports it least."""
    if one.difference is None:
        return -math.inf
    estimate = one.difference.estimate
    direction = one.contrast.expectation.direction
    if direction is Direction.EQUAL:
        return -abs(estimate)
    return estimate if direction is Direction.HIGHER else -estimate


def claim_difference(one: JudgedDifference) -> str:
    """A claim's difference in a line: the sides, estimate, interval, seeds, and what is open."""
    contrast = one.contrast
    versus = f"{contrast.model} - {one.other}"
    if one.difference is None:
        return f"{versus}: {one.reason}"
    unit = METRICS[contrast.metric]
    digits = 1 if unit == "%" or unit == "epochs" else 2
    if one.difference.low == one.difference.high:  # exact, as a number of parameters is
        said = f"{one.difference.estimate:+.{digits}f} {unit}"
    else:
        said = difference_text(one.difference, digits, unit)
    text = f"{versus}: {said}, n = {_seeds(one)}"
    if one.reason:
        text += f"; {one.reason}"
    if one.seeds_needed:
        text += f"; {one.seeds_needed} seeds per model would settle it"
    elif one.finding is Finding.OPEN and not one.reason:
        text += f"; even {MOST_SEEDS:,} seeds per model would not settle it"
    return text


def _seeds(one: JudgedDifference) -> str:
    ours, theirs = one.seeds
    return str(ours) if theirs in (0, ours) else f"{ours} and {theirs}"


def claims_document(judged: Sequence[JudgedClaim], command: str) -> str:
    """The page of the documentation, Markdown.

    Args:
        judged: the claims.
        command: the command that writes this page.
    """
    lines = ["# Published claims, tested", ""]
    for paragraph in (WAYS_OF_TESTING, f"{tally_line(judged)}.", INTERVALS):
        lines += [*textwrap.wrap(paragraph, 100), ""]
    lines += [
        f"`{command}` writes this page; `-m claims --train` measures what is missing.",
        "",
        "![The most telling claims: a band for the differences that each one allows, a dot and a"
        f" line for the one found and its interval]({CLAIMS_PICTURE})",
        "",
        f"| claim | source | {' | '.join(WAYS.values())} |",
        "|---|---|" + "---|" * len(WAYS),
    ]
    for one in judged:
        note = f" ({one.claim.note})" if one.claim.note else ""
        findings = _findings(one, "**{}**: {}").values()
        lines.append(_table_row([f"{one.claim.sentence}{note}", one.claim.source, *findings]))
    lines += ["", "## Every difference", ""]
    lines += _details(judged)
    return "\n".join(lines) + "\n"


def most_telling(judged: Sequence[JudgedClaim]) -> Sequence[tuple[JudgedClaim, str, Finding]]:
    """Decided claims, those that do not hold first; each with the way and its finding.

    A claim with the same finding in both ways is listed once, with the first way.
    """
    rows: dict[tuple[str, Finding], tuple[JudgedClaim, str, Finding]] = {}
    for finding in (Finding.DOES_NOT_HOLD, Finding.HOLDS):
        for way in WAYS:
            for one in judged:
                if one.finding(way) is finding:
                    rows.setdefault((one.claim.id, finding), (one, way, finding))
    return list(rows.values())[:MOST_TELLING]


def claims_excerpt(judged: Sequence[JudgedClaim]) -> str:
    """The most telling claims as a Markdown table."""
    lines = ["| claim | finding | difference |", "|---|---|---|"]
    for one, way, found in most_telling(judged):
        said = claim_difference(decisive_difference(one.ways[way]))
        lines.append(_table_row([one.claim.sentence, f"{found}, {WAYS[way]}", said]))
    return "\n".join(lines)


def _table_row(cells: Iterable[str]) -> str:
    """A row of a Markdown table; a bar within a cell does not end it."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def with_excerpt(text: str, excerpt: str, where: str) -> str:
    """A Markdown text with the excerpt in place of the lines between its two markers.

    Args:
        text: with one line `EXCERPT_BEGINS` and a later one `EXCERPT_ENDS`.
        excerpt: of `claims_excerpt`.
        where: the text's name, for an error.

    Raises:
        UsageError: the markers are missing, or are there more than once.
    """
    before, begins, rest = text.partition(f"{EXCERPT_BEGINS}\n")
    _, ends, after = rest.partition(f"{EXCERPT_ENDS}\n")
    if not ends or text.count(EXCERPT_BEGINS) + text.count(EXCERPT_ENDS) > 2:
        raise UsageError(
            f"{where} needs one line {EXCERPT_BEGINS} and after it one line {EXCERPT_ENDS}"
        )
    return f"{before}{begins}\n{excerpt}\n\n{ends}{after}"


def _details(judged: Iterable[JudgedClaim]) -> Iterable[str]:
    for one in judged:
        if sum(map(len, one.ways.values())) == 0:
            continue
        yield f"- `{one.claim.id}`"
        for way, differences in one.ways.items():
            budget = one.claim.budgets[way]
            for difference in differences:
                dataset = difference.contrast.dataset
                yield (
                    f"    - {WAYS[way]}, `{budget}/{dataset}`: {difference.finding};"
                    f" {claim_difference(difference)}"
                )
