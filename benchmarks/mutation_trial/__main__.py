"""Plant real bugs in the library one by one, and see what catches each: property tests or the gate.

Run by hand, on a quiet machine. It takes hours, and continues where it was stopped:

    python -m benchmarks.mutation_trial                   # every bug in mutants.toml
    python -m benchmarks.mutation_trial --only NAME,NAME --stage gate
    python -m benchmarks.mutation_trial --table           # the results so far, as Markdown

A bug is planted in a copy of the last commit. Two stages look for it there: the property tests
(tests/), and the smoke gate on the cells that the bug can affect, with --no-identical. Neither a
stored hash or digest nor a STALE counts as catching it: tests that only compare those are left out,
and the copy's baselines are given the hashes of the mutated data and recipes. The unchanged commit
goes first: what catches that catches nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.mutation_trial.findings import (
    append_finding,
    finding_line,
    read_findings,
    trial_table,
)
from benchmarks.mutation_trial.mutants import LIST, UNCHANGED, Mutant, choose, read_mutants
from benchmarks.mutation_trial.stages import ROOT, STAGES, try_mutant
from stn_core.errors import UsageError

RESULTS = ROOT / "results" / "mutation_trial.jsonl"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="NAME,...", help="only these bugs")
    parser.add_argument("--stage", choices=STAGES, help="only this stage")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    parser.add_argument("--again", action="store_true", help="also repeat what is in the results")
    parser.add_argument("--table", action="store_true", help="print the results; try nothing")
    return parser.parse_args(arguments)


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
        raise UsageError(
            f"commit {LIST.relative_to(ROOT)} first, so that it is fixed before it runs"
        )
    return git("rev-parse", "HEAD")


def run_trial(
    mutants: Sequence[Mutant], out: Path, *, again: bool, stages: Collection[str] = STAGES
) -> None:
    """Try each of the stages that the results do not know yet, and print a line for each.

    Raises:
        UsageError: a stage catches the unchanged commit.
    """
    commit = committed_list()
    known = {} if again else read_findings(out, mutants)
    for mutant in mutants:
        missing = [stage for stage in stages if (mutant.name, stage) not in known]
        for finding in try_mutant(mutant, missing, commit):
            append_finding(out, finding)
            print(finding_line(finding), flush=True)
            known[mutant.name, finding.stage] = finding
        for stage in stages:
            if mutant is UNCHANGED and known[mutant.name, stage].outcome != "survived":
                raise UsageError(f"the unchanged commit does not survive the {stage}: no trial")


def main() -> int:
    """Run the trial, or print its table."""
    arguments = parse_arguments()
    try:
        chosen = choose(read_mutants(), arguments.only)
        if not arguments.table:
            stages = [arguments.stage] if arguments.stage else list(STAGES)
            run_trial(chosen, arguments.out, again=arguments.again, stages=stages)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    mutants = [mutant for mutant in chosen if mutant is not UNCHANGED]
    print(trial_table(mutants, read_findings(arguments.out, mutants)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
