"""How a cell comes to its verdict: seeds are trained, and kept, until the judge has enough."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stn_core.gate.verdict import Judgement, SeedsNeeded, Verdict
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord
from stn_core.suite.reporting import note_judgement, note_runs

if TYPE_CHECKING:
    from stn_core.engines import Task
    from stn_core.suite.context import SessionContext
    from stn_core.training.callbacks import Callback
    from stn_core.training.run_cell import RunResult


class NotKeptError(Exception):
    """A record could not be written: the disk is full, say."""


class Trainer:
    """Trains cells on the session's engine.

    Args:
        context: the process's.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context

    def train_and_judge(self, cell: Cell, properties: list[tuple[str, object]]) -> Judgement:
        """Train as many of a cell's seeds as the verdict needs.

        Args:
            cell: to train.
            properties: of its test, which the first process reads.
        """
        records = list(self._context.earlier_records.get(cell.key, ()))
        answer = self._judge(cell, records)
        while isinstance(answer, SeedsNeeded):
            if self._context.options.from_records:
                answer = answer.closed()
                break
            try:
                with self._shown():
                    for result in self._context.engine.run(self._tasks(cell, answer.seeds)):
                        self._keep(result)
                        note_runs(properties, result)
                        records.append(result.record)
            except NotKeptError as error:  # nothing would be kept of more
                answer = answer.closed(Verdict.CRASHED, str(error))
                break
            answer = self._judge(cell, records)
        answer = dataclasses.replace(answer, message=self._context.spell(answer.message))
        note_judgement(properties, answer)
        return answer

    def _judge(self, cell: Cell, records: Sequence[RunRecord]) -> Judgement | SeedsNeeded:
        assert self._context.plan
        data_hash = self._context.plan.data_hashes[cell.dataset]
        return self._context.judge.judge(cell, records, data_hash)

    def _tasks(self, cell: Cell, seeds: Sequence[int]) -> Iterator[Task]:
        from stn_core.engines import Task

        for seed in seeds:
            yield Task(cell, seed, self._context.settings, self._callbacks)

    @functools.cached_property
    def _callbacks(self) -> tuple[Callback, ...]:
        """What follows every run: what the command line asks for, then what hooks name."""
        from stn_core.training import callbacks as library

        options, config = self._context.options, self._context.config
        store = self._context.store
        chosen: list[Callback] = [library.ShowProgress()] if self._is_watched() else []
        chosen.append(library.KeepArtifacts(str(store.artifacts_folder)))
        if options.tensorboard:
            chosen.append(library.WriteTensorBoard(str(store.tensorboard_folder)))
        if options.save_models:
            chosen.append(library.SaveModels(str(store.models_folder), options.imports))
        chosen += itertools.chain.from_iterable(config.hook.pytest_stn_callbacks(config=config))
        return (*chosen, library.SaveCheckpoints(str(store.checkpoints_folder)))

    def _keep(self, result: RunResult) -> None:
        from stn_core.training.callbacks.base import tell_kept

        store = self._context.store
        try:
            store.keep(result.record)
        except OSError as error:
            reason = error.strerror or error
            raise NotKeptError(f"cannot write to {store.folder}: {reason}") from error
        tell_kept(self._callbacks, result.record)

    def _is_watched(self) -> bool:
        """Whether a person sees what this process writes."""
        with self._uncaptured():  # pytest's capture stands between us and the terminal
            return not self._context.is_worker and sys.stderr.isatty()

    def _shown(self) -> contextlib.AbstractContextManager[None]:
        """While a bar is drawn pytest captures nothing."""
        return self._uncaptured() if self._is_watched() else contextlib.nullcontext()

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        capture = self._context.config.pluginmanager.get_plugin("capturemanager")
        return capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()
