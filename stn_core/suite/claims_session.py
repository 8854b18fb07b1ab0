"""Claims in a pytest session: missing runs are trained, then each claim is judged by stored runs.

Each record is added to the evidence file beside the baselines as soon as its run ends. So the same
command, given again, only trains what is still missing.
"""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stn_core.atomic_files import signals_wait, write_output
from stn_core.errors import UsageError, needs_extra, printable
from stn_core.report.claims import ON_REQUEST, Claim, read_claims
from stn_core.report.claims_text import claims_table, tally_line
from stn_core.report.judged_claims import JudgedClaim, judge_claims
from stn_core.report.stored_cells import Stored, is_quiet, stored_cells
from stn_core.session.cells import Cell
from stn_core.session.evidence import add_evidence, read_evidence
from stn_core.session.file_names import CHECKPOINTS_FOLDER, EVIDENCE_FILE, file_stem
from stn_core.session.records import Machine, append_record
from stn_core.suite.claims import (
    ClaimEntry,
    claim_entries,
    shipped_recipe,
    with_known_names,
    write_claims,
)
from stn_core.suite.command_line import CommandLine
from stn_core.suite.missing_runs import differences, missing_runs
from stn_core.suite.process_context import context_of
from stn_core.suite.session_options import CLAIMS_CONTINUE, import_users_modules
from stn_core.suite.time_limit import TimeLimit

if TYPE_CHECKING:
    from stn_core.session.records import RunRecord
    from stn_core.training.callbacks import Callback

with needs_extra("suite"):
    from filelock import FileLock, Timeout

SEEDS = tuple(range(5))
"""Of every cell that a claim names, unless --seeds says otherwise."""

TABLE_FILE = "claims.txt"

NOT_ADDED_FILE = "evidence.jsonl"
"""In the session's folder: records that could not be added to the evidence file."""


def _too_busy(claim: Claim) -> str:
    """Why runs for a claim about training times cannot start now, "" if they can."""
    if all(contrast.metric != "train_time" for contrast in claim.contrasts):
        return ""
    from stn_core.training.machine_load import other_cores_now

    cores = other_cores_now()
    if is_quiet(cores):
        return ""
    load = "an unknown number of cores" if cores is None else f"{cores:.1f} cores"
    return (
        f"nothing trained: other processes keep {load} busy, and training times need a quiet"
        " machine, without -n"
    )


class ClaimsSession:
    """The claims of a file in one process of a session.

    Args:
        config: pytest's.
        file: of the claims.

    Raises:
        UsageError: the file, or what is stored, cannot be read; or --train or --resume is not
            possible.
    """

    def __init__(self, config: pytest.Config, file: Path) -> None:
        import_users_modules(config)
        self._config = config
        self._context = context_of(config)
        given = CommandLine(config)
        if given["resume"] and given.asks_for_claims:
            raise UsageError(self._context.spell(CLAIMS_CONTINUE))
        self._claims = with_known_names(read_claims(file))
        self._evidence = self._context.options.baselines.with_name(EVIDENCE_FILE)
        self._trains = bool(given["train"])
        self._tried: set[tuple[str, int]] = set()
        self._read: tuple[object, Stored] | None = None
        self._found: tuple[Stored, list[JudgedClaim]] | None = None
        _ = self._stored  # so that damaged files are reported before anything runs
        if self._trains and self._context.checkout[1]:
            raise UsageError(
                self._context.spell(
                    "--train: the checkout has uncommitted changes; commit them first, so that the"
                    " values can be traced to a commit"
                )
            )

    @property
    def entries(self) -> list[ClaimEntry]:
        """The entries of the file, each with what is wrong with it."""
        return claim_entries(self._claims)

    def findings(self, claim: Claim) -> dict[str, str]:
        """The findings about a claim, by the way of testing."""
        (judged,) = (one for one in self._judged if one.claim.id == claim.id)
        return {way: str(judged.finding(way)) for way in judged.ways}

    def train(self, claim: Claim) -> str:
        """Train what a claim lacks, if --train was given.

        Several processes share the runs of a claim; each is trained by one of them.

        Returns:
            Why runs were not started, "" if none is missing.

        Raises:
            UsageError: a run failed, its data cannot be loaded, or its record cannot be kept.
        """
        failures = []
        not_started = ""
        while self._trains and (missing := self._missing(claim)):
            if not_started := _too_busy(claim):
                break
            startable = [run for run in missing if self._time_limit.allows(run[0])]
            if not startable:
                not_started = self._context.spell(
                    f"{len(missing)} runs not started: --minutes {self._time_limit.minutes:g};"
                    " the same command continues"
                )
                break
            with self._one_of(startable) as (cell, seed):
                if (cell, seed) in self._missing(claim):
                    failures += self._train(claim, cell, seed)
        if failures:
            raise UsageError("; ".join([*failures, *filter(None, [not_started])]))
        return not_started

    def write(self, module: str) -> None:
        """Write the table and the pages of all claims into the results folder.

        If there are several processes, the last one to write has read the records of all.

        Args:
            module: the node id of the module whose ``test_claim`` judges them.

        Raises:
            UsageError: they cannot be written.
        """
        self._context.claim_results()
        folder = self._context.options.results
        with FileLock(folder / ".claims.lock"):
            judged = self._judged

            def of_one(name: str) -> str:
                # -k "name]" would also select a claim whose name only ends in this one.
                test = shlex.quote(f"{module}::test_claim[{name}]")
                return self._context.spell(f"pytest {test} -m claims --train")

            page = write_claims(judged, folder, f"pytest {module} -m claims", of_one)
            lines = [tally_line(judged), "", claims_table(judged), "", printable(str(page))]
            write_output(folder / TABLE_FILE, "\n".join(lines) + "\n")

    @property
    def _stored(self) -> Stored:
        """What is stored, read again after a process has added a record."""
        path = self._evidence
        status = path.stat() if path.exists() else None
        version = status and (status.st_ino, status.st_mtime_ns, status.st_size)
        if self._read is None or self._read[0] != version:
            records = read_evidence(path)
            self._read = version, stored_cells(self._context.stored, records, shipped_recipe)
        return self._read[1]

    @property
    def _judged(self) -> list[JudgedClaim]:
        """All claims, judged again after each new record."""
        stored = self._stored
        if self._found is None or self._found[0] is not stored:
            self._found = stored, judge_claims(self._claims.claims, stored)
        return self._found[1]

    def _metrics(self, cell: Cell) -> tuple[str, ...]:
        """What a run is measured by: the session's metrics, and those of any claim on its cell."""
        claimed = {
            contrast.metric
            for claim in self._claims.claims
            for contrast in claim.contrasts
            if cell.budget in claim.budgets.values()
            and cell.dataset == contrast.dataset
            and cell.model in contrast.models
        }
        further = (name for name in ON_REQUEST if name in claimed)
        return tuple(dict.fromkeys((*self._context.settings.metrics, *further)))

    def _missing(self, claim: Claim) -> list[tuple[Cell, int]]:
        options = self._context.options
        seeds = options.seeds if options.names_seeds else SEEDS
        budget = CommandLine(self._config)["budget"]
        runs = missing_runs(claim, self._stored, seeds, self._machine, budget)
        return [(cell, seed) for cell, seed in runs if (cell.key, seed) not in self._tried]

    @functools.cached_property
    def _machine(self) -> Machine:
        """The kind of machine that trains; of other machines, only known after the first run."""
        context = self._context
        if context.engine.is_elsewhere:
            return Machine(context.device_type, device_name="", instruction_set="", threads=0)
        import torch

        from stn_core.training.environment import describe_environment

        return describe_environment(torch.device(context.device), context.options.threads).machine

    @functools.cached_property
    def _callbacks(self) -> tuple[Callback, ...]:
        """Those of every run: the state of a long one is saved where the next session finds it."""
        if self._context.engine.is_elsewhere:
            return ()
        from stn_core.training.callbacks import SaveCheckpoints

        return (SaveCheckpoints(str(self._context.options.results.parent / CHECKPOINTS_FOLDER)),)

    @functools.cached_property
    def _time_limit(self) -> TimeLimit:
        """Decides which runs may start; without --minutes, all may."""
        minutes = self._context.options.minutes
        stored, device = self._context.stored, self._context.device_type
        return TimeLimit(
            CommandLine(self._config).start_time,
            float("inf") if minutes is None else minutes,
            lambda key: stored.expected_seconds(key, device),
        )

    @contextlib.contextmanager
    def _one_of(self, runs: Sequence[tuple[Cell, int]]) -> Iterator[tuple[Cell, int]]:
        """Lock the first run that no other process is training, or wait for the first one.

        The caller checks whether the other process has finished it.
        """
        self._context.claim_results()
        for (cell, seed), seconds in [*((run, 0.0) for run in runs), (runs[0], -1.0)]:
            name = file_stem(cell.budget, cell.dataset, cell.model, str(seed))
            lock = FileLock(self._context.options.results / f".{name}.lock", timeout=seconds)
            with contextlib.suppress(Timeout):
                lock.acquire()
                break
        try:
            yield cell, seed
        finally:
            lock.release()

    def _train(self, claim: Claim, cell: Cell, seed: int) -> list[str]:
        """Train one run and keep its record; returns why it failed, if it did.

        Raises:
            UsageError: the model has no value of a metric that the claim is about.
        """
        from stn_core.engines import EngineError, Task

        context = self._context
        try:
            settings = replace(context.settings, metrics=self._metrics(cell))
            context.engine.submit(Task(cell, seed, settings, self._callbacks))
            outcome = context.engine.next_outcome()
        except EngineError as error:
            raise UsageError(str(error)) from error
        self._tried.add((cell.key, seed))  # never again in this session
        record = outcome.result.record if outcome.result else None
        if record is None or record.status != "ok":
            reason = f"{record.status}: {record.message}" if record else outcome.lost
            return [f"{cell.key}, seed {seed}: {reason}"]
        self._keep(record)
        sides = (side for sides in differences(claim) for side in sides if side.cell == cell)
        lacking = {side.metric for side in sides}.intersection(ON_REQUEST) - set(record.metrics)
        if lacking:  # so every other seed would lack it too
            raise UsageError(f"{cell.model} has no {' or '.join(sorted(lacking))}")
        return []

    def _keep(self, record: RunRecord) -> None:
        from stn_core.training.callbacks.base import tell_kept

        self._time_limit.note(record)
        self._machine = record.environment.machine
        try:
            with signals_wait():
                add_evidence(self._evidence, [record])
        except (OSError, UsageError) as error:  # another process may have damaged the file
            place = self._context.options.results / NOT_ADDED_FILE
            append_record(place, record)
            is_ours = isinstance(error, UsageError)
            why = error if is_ours else f"cannot write {self._evidence}: {error}"
            raise UsageError(f"{why}; the run's record is in {place}") from error
        tell_kept(self._callbacks, record)
        accuracy = 100 * (record.test_accuracy or 0.0)
        done = f"{record.key}, seed {record.seed}: {accuracy:.2f} %, {record.train_seconds:.0f} s"
        self._context.tell([done])
