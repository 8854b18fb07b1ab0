"""Showing the progress of a session while it runs."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from stn_core.report.outlook import Expected, Outlook
from stn_core.session.beats import discard_beats, read_beats
from stn_core.session.records import RunRecord
from stn_core.suite.live_line import LiveLine

if TYPE_CHECKING:
    from stn_core.suite.context import SessionContext


class Watching:
    """The hooks that show a session's progress, in its first process.

    Args:
        context: the context of this process.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._outlook: Outlook | None = None
        self._line: LiveLine | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start showing progress, once the plan is known."""
        context, options = self._context, self._context.options
        if self._outlook or context.is_worker or options.from_records or not context.plan:
            return
        self._outlook = Outlook(self._expected(), context.workers)
        self._records = context.store.follow()
        reporter = context.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:
            return
        config = context.config
        self._line = LiveLine(
            reporter,
            self._text,
            is_quiet=config.option.verbose < 0,
            # Without capture it would mix with what tests print.
            is_drawn=config.getoption("capture", "no") != "no",
        )
        self._line.start()

    def _expected(self) -> dict[str, Expected]:
        context = self._context
        assert context.plan
        expected = {}
        for cell in context.plan.cells:
            earlier = context.earlier_records.get(cell.key, [])
            fewest, most = context.judge.seeds_left(cell, earlier)
            seconds = context.stored.expected_seconds(cell.key, context.plan.device)
            expected[cell.key] = Expected(fewest, most, seconds)
        return expected

    def _text(self) -> str:
        assert self._outlook
        self._count_new_runs(self._outlook)
        self._outlook.workers = self._context.workers
        beats = read_beats(self._context.store.beats_folder)
        if self._context.has_engine:
            beats += self._context.engine.beats()
        return self._outlook.line(beats)

    def _count_new_runs(self, outlook: Outlook) -> None:
        with self._lock:  # the line's thread does so too
            for record in self._records.new():
                outlook.run_ended(record.key, record.run_seconds)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a cell that has its verdict or was skipped."""
        cell = self._context.tests.get(report.nodeid)
        if self._outlook and cell and (report.when == "call" or report.outcome != "passed"):
            self._outlook.cell_ended(cell.key)

    def pytest_enter_pdb(self) -> None:
        """Stop, because the user is about to type where the line is."""
        self._stop()

    def _stop(self) -> None:
        if self._line:
            self._line.stop()
            self._line = None

    def expect_more(self, keys: Iterable[str]) -> None:
        """Count runs of cells that have their verdicts, for groups of cells.

        Args:
            keys: the cell of each run.
        """
        if self._outlook:
            self._count_new_runs(self._outlook)
            self._outlook.expect_more(keys)

    def count_of_commit(self, record: RunRecord) -> None:
        """Count a run of the commit to compare with, unless it was in the cache and took no time.

        The others are counted as they reach the session's records.
        """
        if self._outlook and record.train_seconds:
            with self._lock:
                self._outlook.run_ended(record.key, record.run_seconds)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        """Stop once the session is judged: until then, groups of cells may train more."""
        try:
            return (yield)
        finally:
            self._stop()
            if self._outlook:
                discard_beats(self._context.store.beats_folder)
