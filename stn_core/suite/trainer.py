"""How a cell comes to its verdict: seeds are trained, and kept, until the judge has enough."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from stn_core.gate.verdict import Judgement, SeedsNeeded, Verdict
from stn_core.session.cells import Cell
from stn_core.session.file_names import RECORDS_FILE
from stn_core.session.records import RunRecord, append_record
from stn_core.suite.state import SessionState


class NotKeptError(Exception):
    """A record could not be written: the disk is full, say."""


class Trainer:
    """Trains cells in this process.

    Args:
        state: the session's.
    """

    def __init__(self, state: SessionState) -> None:
        self._state = state

    def train_and_judge(self, cell: Cell) -> Judgement:
        """Train as many of a cell's seeds as the verdict needs."""
        records = list(self._state.earlier_records.get(cell.key, ()))
        answer = self._judge(cell, records)
        while isinstance(answer, SeedsNeeded):
            if self._state.options.from_records:
                return answer.closed()
            try:
                records += self._train(cell, answer.seeds)
            except NotKeptError as error:  # nothing would be kept of more
                return answer.closed(Verdict.CRASHED, str(error))
            answer = self._judge(cell, records)
        return answer

    def _judge(self, cell: Cell, records: Sequence[RunRecord]) -> Judgement | SeedsNeeded:
        assert self._state.plan
        data_hash = self._state.plan.data_hashes[cell.dataset]
        return self._state.judge.judge(cell, records, data_hash)

    def _train(self, cell: Cell, seeds: Sequence[int]) -> list[RunRecord]:
        from stn_core.training.observers import ProgressBar
        from stn_core.training.run_cell import run_cell

        settings = self._state.settings
        if not self._is_watched():
            return run_cell(cell, seeds, settings, self._keep)
        with self._uncaptured(), ProgressBar(cell.key, len(seeds) * cell.recipe.epochs) as bar:
            return run_cell(cell, seeds, settings, self._keep, bar)

    def _keep(self, record: RunRecord) -> None:
        folder = self._state.options.results
        try:
            append_record(folder / RECORDS_FILE, record)
        except OSError as error:
            reason = error.strerror or error
            raise NotKeptError(f"cannot write to {folder}: {reason}") from error

    def _is_watched(self) -> bool:
        """Whether a person sees what this process writes."""
        with self._uncaptured():  # pytest's capture stands between us and the terminal
            return not self._state.is_worker and sys.stderr.isatty()

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        capture = self._state.config.pluginmanager.get_plugin("capturemanager")
        return capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()
