"""What was found: kept in a file, a line a finding, and shown as a table."""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.mutation_trial.mutants import Mutant


@dataclass(frozen=True)
class Finding:
    """The result of one stage for one mutant; a line of the results.

    Args:
        mutant, fingerprint: which mutant, and as what.
        stage: "laws" or "gate".
        commit: that it was planted in.
        outcome: "caught", "survived", "blind" (the gate runs no cell that it touches), "refused"
            (the library does not load, so no session starts) or "failed" (no finding).
        by: the test, the key of the cell or the name of the group: what caught it, or the cell
            that lost most.
        verdict: of that cell or group.
        points_lost: by that cell, or by a group's cells on average; None without a comparison.
        seeds: runs of that cell, or of each cell of that group.
        mean_points_lost, mean_half_width: by the mean of all the cells that were compared, over the
            seeds that all of them ran, and half the width of its 95 % interval; None if unknown.
        message: what the verdict says, why the gate is blind, or why the stage failed.
        seconds: wall clock.
    """

    mutant: str
    fingerprint: str
    stage: str
    commit: str
    outcome: str
    by: str = ""
    verdict: str = ""
    points_lost: float | None = None
    seeds: int = 0
    mean_points_lost: float | None = None
    mean_half_width: float | None = None
    message: str = ""
    seconds: float = 0.0


Known = dict[tuple[str, str], Finding]
"""The latest finding by (name of the mutant, stage)."""


def append_finding(path: Path, finding: Finding) -> None:
    """Append a line; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.read_bytes() if path.exists() else b""
    torn = bool(written) and not written.endswith(b"\n")
    with path.open("ab") as file:
        file.write(b"\n" * torn + json.dumps(asdict(finding)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_findings(path: Path, mutants: Sequence[Mutant]) -> Known:
    """What is known of mutants as they are now; torn lines and failed stages are no findings."""
    fingerprints = {mutant.name: mutant.fingerprint() for mutant in mutants}
    known: Known = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            finding = Finding(**json.loads(line))
        except (json.JSONDecodeError, TypeError):
            continue
        is_current = fingerprints.get(finding.mutant) == finding.fingerprint
        if is_current and finding.outcome != "failed":
            known[finding.mutant, finding.stage] = finding
    return known


def finding_line(finding: Finding) -> str:
    """A finding in one line, to show progress."""
    details = " ".join(text for text in (finding.verdict, finding.by, finding.message) if text)
    return (
        f"{finding.mutant}, {finding.stage}: {finding.outcome} {details} ({finding.seconds:.0f} s)"
    )


def trial_table(mutants: Sequence[Mutant], known: Known) -> str:
    """What caught each mutant, as Markdown, and the totals."""
    lines = ["| mutant | bug | caught by property test | caught by gate |", "|---|---|---|---|"]
    lines += [
        f"| {mutant.name} | {mutant.mistake} | {_law_text(known.get((mutant.name, 'laws')))}"
        f" | {_gate_text(known.get((mutant.name, 'gate')))} |"
        for mutant in mutants
    ]
    return "\n".join([*lines, "", *_totals(mutants, known)])


def _totals(mutants: Sequence[Mutant], known: Known) -> list[str]:
    """How many mutants were caught: of those that both stages tried, then of those of one stage."""
    pairs = [(known.get((m.name, "laws")), known.get((m.name, "gate"))) for m in mutants]
    seen = [(laws.outcome, gate.outcome) for laws, gate in pairs if laws and gate]
    by_laws = [laws == "caught" for laws, _ in seen]
    by_gate = [gate == "caught" for _, gate in seen]
    both = sum(a and b for a, b in zip(by_laws, by_gate, strict=True))
    either = sum(by_laws) + sum(by_gate) - both
    of_one_stage = {
        "property tests": [laws for laws, gate in pairs if laws and not gate],
        "the gate": [gate for laws, gate in pairs if gate and not laws],
    }
    lines = [
        f"{len(found)} of {len(mutants)} mutants tried with {stage} only:"
        f" {sum(one.outcome == 'caught' for one in found)} caught."
        for stage, found in of_one_stage.items()
        if found
    ]
    if seen or not lines:
        total = (
            f"{len(seen)} of {len(mutants)} mutants tried: {either} caught, {sum(by_laws)} of them"
            f" by property tests, {both} by property tests and the gate, {sum(by_gate) - both} by"
            f" the gate alone; {len(seen) - either} survived."
        )
        lines = [total, *lines]
    return [*lines, f"Planted in {_commits_text(mutants, known)}."]


def _commits_text(mutants: Sequence[Mutant], known: Known) -> str:
    """The commits that mistakes were planted in, with how many findings each of them gave."""
    names = {mutant.name for mutant in mutants}
    counts = collections.Counter(f.commit[:7] for (name, _), f in known.items() if name in names)
    return ", ".join(f"{commit} ({count} findings)" for commit, count in counts.items())


def _law_text(finding: Finding | None) -> str:
    if finding is None:
        return "not tried"
    return f"`{finding.by}`" if finding.outcome == "caught" else "no"


def _gate_text(finding: Finding | None) -> str:
    if finding is None:
        return "not tried"
    if finding.outcome == "blind":
        return f"cannot: {finding.message}"
    if finding.outcome == "refused":
        return f"no session starts: {finding.message}"
    lost = "" if finding.points_lost is None else f"{finding.points_lost:+.2f} points lost, "
    plural = "s" * (finding.seeds != 1)
    text = f"{finding.by.removeprefix('smoke/')}: {lost}{finding.seeds} seed{plural}"
    if finding.outcome == "caught":
        return f"{finding.verdict} {text}"
    mean, half = finding.mean_points_lost, finding.mean_half_width
    on_average = "" if mean is None else f"; {mean:+.2f} ± {half:.2f} on average"
    return f"no; most {text}{on_average}"
