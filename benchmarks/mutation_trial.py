"""Plant real mistakes in the library, one at a time, and see what catches them: a law or the gate.

Run by hand, on a quiet machine; it takes hours, and goes on where it was stopped:

    python benchmarks/mutation_trial.py                   # every mistake of mutants.toml
    python benchmarks/mutation_trial.py --only NAME,NAME
    python benchmarks/mutation_trial.py --table           # what is known so far, as Markdown

A mistake is planted in a copy of the last commit, where two stages ask for it: the laws (tests/),
and the smoke gate on the cells that it can touch, with the identical short cut off. Neither a
stored hash or digest nor a STALE counts as catching it: tests that only compare those are left out,
and the copy's baselines are given the hashes of the mutated data and recipes. The unchanged commit
goes first: what catches that catches nothing.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import csv
import fnmatch
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from stn_core.errors import UsageError, unknown_name
from stn_core.session.cells import split_key

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_name("mutants.toml")
RESULTS = ROOT / "results" / "mutation_trial.jsonl"

NOT_LAWS = (
    "tests/datasets/test_assembly.py::test_the_hash_sees_every_change_of_the_distortion",
    "tests/datasets/test_dataset_laws.py::test_it_is_the_dataset_of_every_earlier_version",
    "tests/datasets/sources/test_digits.py::test_hashes_are_those_of_every_earlier_version",
    "tests/datasets/test_splits.py::test_the_split_is_that_of_every_earlier_version",
    "tests/datasets/sources/test_torchvision_sets.py::test_the_real_files_are_the_published_ones",
    "tests/suite/test_mutation_trial.py",
    "tests/datasets/test_keyed_random.py::test_the_bits_are_those_of_every_earlier_version",
)
"""Tests that compare stored hashes or bits, or that speak of the mutants themselves."""

CAUGHT = ("REGRESSED", "DIVERGED", "CRASHED")
"""The verdicts that say that a cell's values are wrong."""

MOST_SECONDS = 3 * 3600
"""A stage that takes longer hangs."""


@dataclass(frozen=True)
class Mutant:
    """One mistake, as a replacement of text.

    Args:
        name: its own among the mutants.
        kind: where in the work it lies.
        mistake: what the programmer did wrong, one line.
        file: what it changes, from the root; "" for the unchanged checkout.
        before: what stands there exactly once.
        after: what the mistake puts in its place.
        cells: shell patterns of the keys of the core smoke cells that it can touch.
        laws: test files to ask first.
        blind: why it can touch no cell, where it can touch none.
    """

    name: str
    kind: str
    mistake: str
    file: str
    before: str
    after: str
    cells: tuple[str, ...]
    laws: tuple[str, ...] = ()
    blind: str = ""

    def touches(self, key: str) -> bool:
        """Whether it can change what the cell of that key gives."""
        return any(fnmatch.fnmatchcase(key, pattern) for pattern in self.cells)

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of the replacement and the cells: another one runs anew."""
        content = json.dumps([self.file, self.before, self.after, self.cells])
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def plant(self, root: Path) -> None:
        """Make the mistake in the checkout at root.

        Raises:
            UsageError: the text to replace does not stand there exactly once.
        """
        if not self.file:
            return
        path = root / self.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        count = text.count(self.before)
        if count != 1:
            raise UsageError(f"{self.name}: its text stands {count} times in {self.file}, not once")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


UNCHANGED = Mutant("unchanged", "control", "none", "", "", "", cells=("smoke/*",))


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """The mutants of a list, each by a name of its own."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    for table in tables:
        table["cells"], table["laws"] = tuple(table["cells"]), tuple(table["laws"])
    return [Mutant(**table) for table in tables]


@dataclass(frozen=True)
class Finding:
    """What one stage said of one mutant; a line of the results.

    Args:
        mutant, fingerprint: which mutant, and as what.
        stage: "laws" or "gate".
        commit: that it was planted in.
        outcome: "caught", "survived", "blind" (the gate runs no cell that it touches), "refused"
            (the library does not load, so no session starts) or "failed" (no finding).
        by: the test, or the key of the cell: what caught it, or the cell that lost most.
        verdict: of that cell.
        points_lost: by that cell, None without a comparison.
        seeds: runs of that cell.
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
    message: str = ""
    seconds: float = 0.0


Known = dict[tuple[str, str], Finding]
"""The latest finding by (name of the mutant, stage)."""


# The file of results --------------------------------------------------------------------------


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


# The copy in which a mistake is planted -------------------------------------------------------


@contextlib.contextmanager
def planted(mutant: Mutant, commit: str) -> Iterator[Path]:
    """A copy of a commit with the mistake in it, for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        archive = subprocess.run(
            ["git", "-C", ROOT, "archive", commit], capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        mutant.plant(Path(folder))
        yield Path(folder)


def run_python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter on the copy's library, and on no setting of the user's.

    Raises:
        UsageError: it does not come to an end.
    """
    environment = {name: value for name, value in os.environ.items() if name[:4] != "STN_"}
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=copy,
            env={**environment, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"no answer within {MOST_SECONDS} seconds") from None


PROBE = """
import json
import stn_core
from stn_core.datasets import load_dataset
from stn_core.models import list_models, model_info
from stn_core.session.budgets import get_budget

smoke = get_budget("smoke")
print(json.dumps({
    "library": stn_core.__file__,
    "cells": {
        f"{smoke.name}/{dataset}/{model}": {
            "recipe_hash": smoke.recipe_for(dataset, model_info(model).family).hash(),
            "data_hash": data_hash,
        }
        for dataset, data_hash in ((name, load_dataset(name).hash) for name in smoke.datasets)
        for model in list_models()
        if model_info(model).core
    },
}))
"""


class DoesNotLoadError(UsageError):
    """The copy's library, models or data fail before anything trains."""


def probe(copy: Path) -> dict[str, dict[str, str]]:
    """The hashes that the copy's library gives to recipe and data, by key of core smoke cell.

    Raises:
        DoesNotLoadError: it fails to.
        UsageError: another library than the copy's was imported.
    """
    answer = run_python(copy, "-c", PROBE)
    if answer.returncode:
        raise DoesNotLoadError(last_line(answer))
    content = json.loads(answer.stdout)
    if not Path(content["library"]).resolve().is_relative_to(copy.resolve()):
        raise UsageError(f"{content['library']} was imported instead of the copy in {copy}")
    cells: dict[str, dict[str, str]] = content["cells"]
    return cells


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    """The last thing that a process said."""
    lines = (process.stdout + process.stderr).strip().splitlines()
    return lines[-1] if lines else f"exit status {process.returncode}"


def accept_hashes(path: Path, cells: Mapping[str, Mapping[str, str]]) -> None:
    """Give baselines the hashes of now, so that values judge a cell and STALE does not."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for key, hashes in cells.items():
        if key in content["cells"]:
            content["cells"][key].update(hashes)
    path.write_text(json.dumps(content), encoding="utf-8")


# The stages -----------------------------------------------------------------------------------


def ask_laws(mutant: Mutant, copy: Path) -> dict[str, Any]:
    """The first law that fails: among the likely ones, then among all."""
    likely = first_failure(copy, mutant.laws) if mutant.laws else None
    failure = likely or first_failure(copy, ("tests",), "-n", "2")
    return {"outcome": "caught", "by": failure} if failure else {"outcome": "survived"}


def first_failure(copy: Path, tests: Sequence[str], *options: str) -> str | None:
    """The id of the first of the copy's tests that fails, None where all pass.

    Raises:
        UsageError: pytest ends otherwise than by passing or failing tests.
    """
    report = copy / "laws.xml"
    report.unlink(missing_ok=True)
    answer = run_python(
        copy,
        *("-m", "pytest", *tests, "-x", "-q", "-p", "no:cacheprovider", *options),
        *(part for test in NOT_LAWS for part in ("--deselect", test)),
        *(f"--junitxml={report}", "-o", "junit_family=xunit1"),
    )
    if answer.returncode == 0:
        return None
    failure = read_first_failure(report) if report.exists() else None
    if failure is None:
        raise UsageError(f"pytest ended with status {answer.returncode}: {last_line(answer)}")
    return failure


def read_first_failure(report: Path) -> str | None:
    """The id of the first test that a JUnit file says has failed."""
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            return f"{case.get('file', '')}::{case.get('name', '')}"
    return None


def ask_gate(mutant: Mutant, copy: Path) -> dict[str, Any]:
    """The verdicts of the smoke gate on the cells that the mutant can touch, up to the first red.

    Raises:
        UsageError: the session came to no verdict on them.
    """
    if mutant.blind:
        return {"outcome": "blind", "message": mutant.blind}
    try:
        cells = probe(copy)
    except DoesNotLoadError as error:
        return {"outcome": "refused", "message": str(error)}
    accept_hashes(copy / "baselines.json", cells)
    touched = [split_key(key).id for key in cells if mutant.touches(key)]
    answer = run_python(
        copy,
        *("-m", "pytest", "-x", "-q", "-n", "2", "-p", "no:cacheprovider"),
        *("--no-identical", "--device", "cpu", "--results-dir", str(copy / "results")),
        *(f"benchmarks/test_accuracy.py::test_accuracy[{cell}]" for cell in touched),
    )
    tables = sorted(copy.glob("results/*/table.csv"))
    if not tables:
        raise UsageError(f"no table, exit status {answer.returncode}: {last_line(answer)}")
    found = read_session(tables[-1].parent)
    if found["outcome"] == "survived" and answer.returncode:
        raise UsageError(f"exit status {answer.returncode} without a red cell: {last_line(answer)}")
    return found


def read_session(folder: Path) -> dict[str, Any]:
    """The red cell of a session that lost most, else the cell that lost most; as a finding."""
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    red = [row for row in rows if row["verdict"] in CAUGHT]
    worst = max(red or rows, key=_points_lost)
    key = f"{worst['budget']}/{worst['dataset']}/{worst['model']}"
    return {
        "outcome": "caught" if red else "survived",
        "by": key,
        "verdict": worst["verdict"],
        "points_lost": _points_lost(worst) if worst["difference_points"] else None,
        "seeds": _count_runs(folder / "records.jsonl", key),
        "message": worst["message"],
    }


def _points_lost(row: Mapping[str, str]) -> float:
    return -float(row["difference_points"] or math.inf)


def _count_runs(path: Path, key: str) -> int:
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return sum(f"{r['budget']}/{r['dataset']}/{r['model']}" == key for r in records)


STAGES: dict[str, Callable[[Mutant, Path], dict[str, Any]]] = {"laws": ask_laws, "gate": ask_gate}


def try_mutant(mutant: Mutant, stages: Sequence[str], commit: str) -> Iterator[Finding]:
    """Plant a mutant and ask some stages for it; a stage that fails says so and is no verdict."""
    if not stages:
        return
    with planted(mutant, commit) as copy:
        for stage in stages:
            started = time.perf_counter()
            try:
                found = STAGES[stage](mutant, copy)
            except UsageError as error:
                found = {"outcome": "failed", "message": str(error)}
            seconds = round(time.perf_counter() - started, 1)
            named = (mutant.name, mutant.fingerprint(), stage, commit)
            yield Finding(*named, **found, seconds=seconds)


# The table ------------------------------------------------------------------------------------


def trial_table(mutants: Sequence[Mutant], known: Known) -> str:
    """What caught each mutant, as Markdown, and the totals of those that both stages have seen."""
    lines = ["| mutant | bug | caught by property test | caught by gate |", "|---|---|---|---|"]
    lines += [
        f"| {mutant.name} | {mutant.mistake} | {_law_text(known.get((mutant.name, 'laws')))}"
        f" | {_gate_text(known.get((mutant.name, 'gate')))} |"
        for mutant in mutants
    ]
    pairs = [(known.get((m.name, "laws")), known.get((m.name, "gate"))) for m in mutants]
    seen = [(laws.outcome, gate.outcome) for laws, gate in pairs if laws and gate]
    by_laws = [laws == "caught" for laws, _ in seen]
    by_gate = [gate == "caught" for _, gate in seen]
    both = sum(a and b for a, b in zip(by_laws, by_gate, strict=True))
    either = sum(by_laws) + sum(by_gate) - both
    lines += [
        "",
        f"{len(seen)} of {len(mutants)} mutants tried: {either} caught, {sum(by_laws)} of them by"
        f" property tests, {both} by property tests and the gate, {sum(by_gate) - both} by the gate"
        f" alone; {len(seen) - either} survived.",
        f"Planted in {_commits_text(mutants, known)}.",
    ]
    return "\n".join(lines)


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
    text = f"{finding.by.removeprefix('smoke/')}: {lost}{finding.seeds} seeds"
    return f"{finding.verdict} {text}" if finding.outcome == "caught" else f"no; most {text}"


# The command ----------------------------------------------------------------------------------


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="NAME,...", help="these mutants and no others")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the results, a line a finding")
    parser.add_argument("--again", action="store_true", help="also what the results know already")
    parser.add_argument("--table", action="store_true", help="print the results and try nothing")
    return parser.parse_args(arguments)


def choose(mutants: Sequence[Mutant], only: str | None) -> list[Mutant]:
    """The mutants that are asked for by name; all, after the unchanged commit, where none is.

    Raises:
        UsageError: a name is no mutant's.
    """
    by_name = {mutant.name: mutant for mutant in (UNCHANGED, *mutants)}
    names = list(by_name) if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in by_name:
            raise unknown_name("mutant", name, by_name)
    return [by_name[name] for name in names]


def committed_list() -> str:
    """The commit to plant mistakes in, the last one.

    Raises:
        UsageError: the list of mutants has changes that are not committed.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        return answer.stdout.strip()

    if git("status", "--porcelain", "--", str(LIST)):
        raise UsageError(f"commit {LIST.relative_to(ROOT)} first: it stands before it is run")
    return git("rev-parse", "HEAD")


def run_trial(mutants: Sequence[Mutant], out: Path, *, again: bool) -> None:
    """Try every stage that the results do not know yet, and print a line for each.

    Raises:
        UsageError: a stage catches the unchanged commit.
    """
    commit = committed_list()
    known = {} if again else read_findings(out, mutants)
    for mutant in mutants:
        missing = [stage for stage in STAGES if (mutant.name, stage) not in known]
        for finding in try_mutant(mutant, missing, commit):
            append_finding(out, finding)
            print(finding_line(finding), flush=True)
            known[mutant.name, finding.stage] = finding
        for stage in STAGES:
            if mutant is UNCHANGED and known[mutant.name, stage].outcome != "survived":
                raise UsageError(f"the unchanged commit does not survive the {stage}: no trial")


def finding_line(finding: Finding) -> str:
    """A finding in one line, for whoever waits."""
    details = " ".join(text for text in (finding.verdict, finding.by, finding.message) if text)
    return (
        f"{finding.mutant}, {finding.stage}: {finding.outcome} {details} ({finding.seconds:.0f} s)"
    )


def main() -> int:
    """Run the trial, or print its table."""
    arguments = parse_arguments()
    try:
        chosen = choose(read_mutants(), arguments.only)
        if not arguments.table:
            run_trial(chosen, arguments.out, again=arguments.again)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    mutants = [mutant for mutant in chosen if mutant is not UNCHANGED]
    print(trial_table(mutants, read_findings(arguments.out, mutants)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
