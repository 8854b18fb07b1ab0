"""How a cell gets its verdict: seeds are trained and kept until the judge has enough."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stn_core.errors import UsageError
from stn_core.gate.judgement import Judgement, SeedsNeeded, Verdict
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord
from stn_core.suite.reports_of_tests import note_judgement, note_runs

if TYPE_CHECKING:
    from stn_core.engines import Outcome
    from stn_core.suite.context import SessionContext
    from stn_core.training.callbacks import Callback
    from stn_core.training.run_cell import RunResult, RunSettings


class NotKeptError(Exception):
    """A record cannot be written, because the disk is full, for example, or cannot be made."""


@dataclass(eq=False)
class _PendingCell:
    """A cell that waits for its verdict.

    Args:
        cell: the cell to judge.
        records: all of its records so far.
        results: the results of the runs that were trained here.
        in_training: the seeds being trained.
        reference_seeds: the seeds that the commit to compare with must still train.
        lost: why runs were lost, one sentence each.
        needed: the judge's last request.
        judgement: the verdict, once there is one.
    """

    cell: Cell
    records: list[RunRecord]
    results: list[RunResult] = field(default_factory=list)
    in_training: set[int] = field(default_factory=set)
    reference_seeds: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    needed: SeedsNeeded | None = None
    judgement: Judgement | None = None


class Trainer:
    """Trains cells on the session's engine.

    Args:
        context: the context of this process.

    Attributes:
        stopped_by: why the engine stopped, "" while it works.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._pending_cells: dict[str, _PendingCell] = {}
        self._waiting_cells: dict[str, Cell] = {}
        self._judged: dict[str, Judgement] = {}
        self.stopped_by = ""

    def submit(self, cells: Iterable[Cell]) -> None:
        """Start training the first seeds of cells, before their tests run.

        If the session's time is limited, a cell waits until a worker is free: an engine runs
        whatever it has accepted.
        """
        self._waiting_cells = {cell.key: cell for cell in cells}
        self._start_waiting_cells()

    def _start_waiting_cells(self) -> None:
        context = self._context
        for cell in list(self._waiting_cells.values()):
            if context.time_limit and len(self._runs_in_training()) >= context.engine.workers:
                return
            self._started(cell)

    def _runs_in_training(self) -> list[Cell]:
        """The cell of every run that the engine has accepted and that has not ended."""
        return [one.cell for one in self._pending_cells.values() for _ in one.in_training]

    def is_ready(self, cell: Cell) -> bool:
        """Whether its test has nothing to wait for."""
        if cell.key in self._waiting_cells:
            return False
        pending = self._pending_cells.get(cell.key)
        return pending is None or pending.judgement is not None

    def train_and_judge(self, cell: Cell, properties: list[tuple[str, object]]) -> Judgement:
        """Train as many of a cell's seeds as the verdict needs.

        Another test of the cell in this process, or the same test once more, gets the same verdict,
        unless runs were lost: they may succeed the next time.

        Args:
            cell: the one to train.
            properties: of its test, which the first process reads.
        """
        if cell.key in self._judged:
            note_judgement(properties, self._judged[cell.key])
            return self._judged[cell.key]
        self._context.keep_results_held()
        pending = self._started(cell)
        try:
            while pending.judgement is None:
                self.take_one()
        except BaseException:  # Ctrl-C, too
            if not self._context.engine.is_elsewhere:  # or the next cell would get its runs
                self._context.engine.cancel()
                del self._pending_cells[cell.key]
            raise
        del self._pending_cells[cell.key]
        for result in pending.results:
            note_runs(properties, result)
        answer = pending.judgement
        answer = dataclasses.replace(answer, message=self._context.spell(answer.message))
        note_judgement(properties, answer)
        if answer.verdict not in (Verdict.CRASHED, Verdict.MISSING):
            self._judged[cell.key] = answer
        return answer

    def take_one(self) -> None:
        """Wait for one run of any cell, keep it, and train more if its cell needs more."""
        from stn_core.engines import EngineError

        try:
            outcome = self._context.engine.next_outcome()
        except EngineError as error:
            self._stop(str(error))
            return
        self._take(outcome)
        self._start_waiting_cells()

    def _take(self, outcome: Outcome) -> None:
        task = outcome.task
        pending = self._pending_cells[task.cell.key]
        pending.in_training.discard(task.seed)
        if outcome.result is None:
            pending.lost.append(f"seed {task.seed}: {outcome.lost}")
        else:
            try:
                self._keep(outcome, outcome.result)
            except NotKeptError as error:  # no further run could be kept
                self._context.engine.cancel()
                self._close(Verdict.CRASHED, str(error))
                return
            pending.results.append(outcome.result)
            pending.records.append(outcome.result.record)
            if self._context.time_limit:
                self._context.time_limit.note(outcome.result.record)
        self._train_references(pending, most=1 if pending.in_training else None)
        if not pending.in_training:
            self._judge(pending)

    def _started(self, cell: Cell) -> _PendingCell:
        """The state of a cell; its first seeds are submitted if they have not been yet."""
        self._waiting_cells.pop(cell.key, None)
        if cell.key not in self._pending_cells:
            records = list(self._context.earlier_records.get(cell.key, ()))
            pending = self._pending_cells[cell.key] = _PendingCell(cell, records)
            self._judge(pending)
        return self._pending_cells[cell.key]

    def _judge(self, pending: _PendingCell) -> None:
        """Give a cell its verdict, or train the seeds that it still needs."""
        while pending.judgement is None and not pending.in_training:
            self._ask(pending)
            if not pending.in_training:  # only runs of the other commit are missing
                self._train_references(pending)

    def _ask(self, pending: _PendingCell) -> None:
        context, cell = self._context, pending.cell
        assert context.plan
        answer = context.judge.judge(cell, pending.records, context.plan.data_hashes[cell.dataset])
        if isinstance(answer, Judgement):
            pending.judgement = answer
        elif pending.lost:
            pending.judgement = answer.closed(Verdict.CRASHED, pending.lost[0])
        elif context.options.from_records or self.stopped_by:
            pending.judgement = answer.closed()
        else:
            self._train(pending, answer)

    def _train(self, pending: _PendingCell, answer: SeedsNeeded) -> None:
        """Train the seeds that a judge needs, as far as there is time for both sides."""
        cell, reference = pending.cell, self._context.reference
        of_commit = reference.runs_to_train(cell, answer.reference_seeds) if reference else 0
        if not self._has_time_for(cell, of_commit):
            pending.judgement = answer.closed(message="not reached in time")
            return
        pending.needed = answer
        pending.reference_seeds = list(answer.reference_seeds)
        for seed in answer.seeds:
            if not self.stopped_by and self._has_time_for(cell, of_commit):
                pending.in_training.add(seed)
                self._submit(cell, seed)

    def _has_time_for(self, cell: Cell, of_commit: int) -> bool:
        """Whether another run of a cell would end in time, after this many of the other commit."""
        limit = self._context.time_limit
        if limit is None:
            return True
        before = [*self._runs_in_training(), *[cell] * of_commit]
        return limit.allows(cell, before, self._context.engine.workers)

    def _train_references(self, pending: _PendingCell, most: int | None = None) -> None:
        """Train seeds with the code of the commit to compare with.

        The sides take turns, so that a machine that slows down slows both.

        Args:
            pending: of the cell.
            most: the largest number of its seeds.
        """
        reference = self._context.reference
        seeds = pending.reference_seeds[:most]
        if reference is None or not seeds or pending.judgement:
            return
        try:
            for _ in reference.train([(pending.cell, seed) for seed in seeds]):
                pass
        except (OSError, UsageError) as error:
            assert pending.needed
            self._context.engine.cancel()
            pending.in_training.clear()
            pending.judgement = pending.needed.closed(Verdict.CRASHED, str(error))
        pending.reference_seeds = pending.reference_seeds[len(seeds) :]

    def _submit(self, cell: Cell, seed: int) -> None:
        from stn_core.engines import EngineError, Task

        context = self._context
        assert context.plan
        callbacks, folder = self._callbacks, str(context.options.results)
        if context.engine.is_elsewhere:
            callbacks = tuple(one for one in callbacks if not one.stays)
        data_hash = context.plan.data_hashes[cell.dataset]
        try:
            context.engine.submit(
                Task(cell, seed, self._settings_of(cell), callbacks, folder, data_hash)
            )
        except EngineError as error:
            self._stop(str(error))

    def _settings_of(self, cell: Cell) -> RunSettings:
        """The session's; a baseline that is measured again keeps the metrics that it has."""
        from stn_core.training.metrics import list_metrics

        context, settings = self._context, self._context.settings
        stored = context.stored.of(cell.key, context.device_type)
        if not context.options.update_baselines or not stored:
            return settings
        further = sorted(stored.metrics.intersection(list_metrics()).difference(settings.metrics))
        return dataclasses.replace(settings, metrics=(*settings.metrics, *further))

    def _stop(self, reason: str) -> None:
        """Close every cell that waits, because no more runs will end."""
        self.stopped_by = reason
        self._close()

    def _close(self, verdict: Verdict = Verdict.MISSING, message: str = "") -> None:
        for pending in self._pending_cells.values():
            pending.in_training.clear()
            if pending.judgement is None and pending.needed:
                pending.judgement = pending.needed.closed(verdict, message)

    @functools.cached_property
    def _callbacks(self) -> tuple[Callback, ...]:
        from stn_core.suite.run_callbacks import callbacks_of_cells

        return callbacks_of_cells(self._context)

    def _keep(self, outcome: Outcome, result: RunResult) -> None:
        from stn_core.training.callbacks.base import tell_kept

        store = self._context.store
        try:
            store.keep(result.record, outcome.files)
        except OSError as error:
            reason = error.strerror or error
            raise NotKeptError(f"cannot write to {store.folder}: {reason}") from error
        tell_kept(self._callbacks, result.record)
