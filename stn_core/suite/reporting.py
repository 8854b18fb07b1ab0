"""What a session says: a line as each cell ends, and at the end the table and the exit status."""

from __future__ import annotations

import collections
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stn_core.errors import UsageError
from stn_core.gate.digests import write_digests
from stn_core.gate.judgements import write_judgements
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.report.plan_table import measured_speed, plan_table
from stn_core.report.results_table import ResultsTable, results_table
from stn_core.report.text_table import WIDTH
from stn_core.session.file_names import (
    EMPTY_SHARD_FILE,
    FIGURES_FOLDER,
    JUDGEMENTS_FILE,
    REPORT_FILE,
)
from stn_core.session.folder import discard_folder, session_folders
from stn_core.session.store import SessionStore
from stn_core.suite.session import (
    Plan,
    code_doubts,
    drop_baselines,
    fitting_records,
    judge_session,
    read_plan,
    update_baselines,
)

if TYPE_CHECKING:
    from stn_core.session.records import RunRecord
    from stn_core.suite.context import SessionContext
    from stn_core.training.run_cell import RunResult

_LINE = "stn_line"
"""The property of a test that carries to the first process what is printed of its cell."""
_CRASH = "stn_crash"
"""The same for why a cell could not be judged."""
_NOTE = "stn_note"
"""The same for what went wrong beside a run, and in which one."""

_INTERRUPTED = "interrupted: the same command with --resume last trains what is missing"


def note_judgement(properties: list[tuple[str, object]], judgement: Judgement) -> None:
    """Write into a test's properties what the first process is to know of its cell."""
    properties.append((_LINE, judgement.line))
    if judgement.verdict is Verdict.CRASHED:
        properties.append((_CRASH, judgement.message))


def note_runs(properties: list[tuple[str, object]], result: RunResult) -> None:
    """Write into a test's properties what went wrong beside a run of its cell."""
    properties += [(_NOTE, [note, result.record.run_name]) for note in result.notes]


class Reporting:
    """The hooks that run as cells end, and after the last one.

    Args:
        context: the process's.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._crashed: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self._judgements: list[Judgement] = []
        self._table: ResultsTable | None = None
        self._notes: list[str] = []
        self._runs_by_note: dict[str, list[str]] = collections.defaultdict(list)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """A cell's line takes the place of its dot."""
        if report.when != "call" or hasattr(report, "wasxfail"):
            return None
        if any(name == _LINE for name, _ in report.user_properties):
            return report.outcome, "", report.outcome.upper()
        return None

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a line as each cell ends, and note why one could not be judged."""
        cell = self._context.tests.get(report.nodeid)
        if self._context.is_worker or cell is None:
            return
        if report.skipped:
            self._skipped[cell.key] = skip_reason(report)
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == _LINE:
                self._context.tell([str(value)])
            elif name == _CRASH:
                self._crashed[cell.key] = str(value)
            elif name == _NOTE and isinstance(value, list):
                self._runs_by_note[value[0]].append(value[1])

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """A worker died over a test: its cell says so, the others go on in a new worker."""
        cell = self._context.tests.get(crashitem)
        if cell:
            self._crashed[cell.key] = "its worker process died: killed, or out of memory?"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge the whole session; its exit status says what the verdicts say."""
        context = self._context
        if context.is_worker:
            return
        if context.only_plans:
            if context.plan and context.options.drop_vanished:
                self._finish_dropping(session)
            return
        context.join_workers()
        if context.has_written_plan:
            self._finish_judging(session)
        elif context.made_folder:
            self._finish_without_cells(session)

    def _finish_dropping(self, session: pytest.Session) -> None:
        if not self._succeeds("baselines", self._drop_vanished):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _finish_without_cells(self, session: pytest.Session) -> None:
        """Nothing was selected: the folder goes, and an empty share of the cells is no failure."""
        folder = self._context.options.results
        if (folder / EMPTY_SHARD_FILE).exists():
            (folder / EMPTY_SHARD_FILE).unlink()
            session.exitstatus = pytest.ExitCode.OK
        discard_folder(folder, with_parent=self._context.made_parent)

    def _finish_judging(self, session: pytest.Session) -> None:
        context, options = self._context, self._context.options
        try:
            plan = context.plan = read_plan(options.results)
            if plan is None:
                raise UsageError(f"the session's plan is no longer in {options.results}")
            self._judge_session(plan)
        except (UsageError, OSError) as error:  # somebody removed or replaced files
            why = str(error)
            if isinstance(error, OSError):
                why = f"cannot read {error.filename}: {error.strerror}"
            self._notes.append(f"nothing was judged: {why}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        self._write_tables(plan)
        passed = all(judgement.verdict.passes for judgement in self._judgements)
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            if options.update_baselines:
                passed &= self._succeeds("baselines", self._update_baselines)
            if options.update_digests and passed:
                passed &= self._succeeds("digests", self._update_digests)
        if not passed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        was_stopped = session.exitstatus == pytest.ExitCode.INTERRUPTED
        if was_stopped and not options.from_records:
            self._notes.append(_INTERRUPTED)
        if options.writes_report and not was_stopped:
            self._write_report()

    def _judge_session(self, plan: Plan) -> None:
        """Judge every cell from what was written, and note what has to be said of the records."""
        context = self._context
        own, torn = context.store.own_records()
        given, torn_given = context.given_records
        by_key, misfits = fitting_records(plan, context.judge, [*given, *own])
        self._judgements = [
            dataclasses.replace(one, message=context.spell(one.message))
            for one in judge_session(plan, context.judge, by_key, self._crashed, self._skipped)
        ]
        self._notes += [*torn, *torn_given, *misfits]
        if context.options.from_records:
            self._notes += code_doubts(by_key)
        if context.options.resumes and context.checkout[1]:
            self._notes.append(
                "resumed in a checkout with uncommitted changes: was the code the same?"
            )

    def _write_tables(self, plan: Plan) -> None:
        options = self._context.options
        table = self._table = results_table(self._judgements, plan.rules.looks[-1])
        try:
            write_judgements(options.results / JUDGEMENTS_FILE, self._judgements)
            table.write(options.results)
            summary = os.environ.get("GITHUB_STEP_SUMMARY")
            if summary:
                table.append_step_summary(Path(summary), options.budget)
        except OSError as error:
            self._notes.append(f"tables not written: {error.strerror}: {error.filename}")

    def _write_report(self) -> None:
        """Draw the page, which no session fails for."""
        folder = self._context.options.results
        page = folder / REPORT_FILE
        try:
            from stn_core.report.session_page import write_report

            missing = write_report(
                [folder],
                page,
                folder / FIGURES_FOLDER,
                table=self._table,
                on_progress=self._tell_progress,
            )
        except Exception as error:
            self._notes.append(f"report not written: {error}")
        else:
            lacks = f" (incomplete: {missing[0]})" if missing else ""
            self._notes.append(f"report: {page}{lacks}")

    def _tell_progress(self, done: int, count: int) -> None:
        from stn_core.report.cell_drawing import progress_line

        self._context.tell(filter(None, [progress_line(done, count)]))

    def _update_baselines(self) -> str:
        return update_baselines(self._context.options.baselines, self._judgements)

    def _drop_vanished(self) -> str:
        assert self._context.plan
        return drop_baselines(self._context.options.baselines, self._context.plan.vanished)

    def _update_digests(self) -> str:
        cache = self._context.options.digest_cache
        assert cache
        write_digests(cache, self._judgements)
        return f"digests written to {cache}"

    def _succeeds(self, what: str, write: Callable[[], str]) -> bool:
        """Note the line that an update comes back with, or why it was not possible."""
        try:
            self._notes.append(write())
        except (UsageError, OSError) as error:
            self._notes.append(f"{what} not written: {error}")
            return False
        return True

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Print the table, and a line for whatever needs one."""
        context = self._context
        keyword = context.config.option.keyword
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and context.plan and keyword:
            from stn_core.suite.matrix import unknown_words

            context.tell(unknown_words(keyword, context.options))
        if context.only_plans and context.plan and context.plan.cells:
            terminalreporter.section(f"plan, budget {context.options.budget}")
            context.tell([*context.plan.notes, self._plan_table(context.plan)])
        if self._table and self._judgements:
            terminalreporter.section(f"results, budget {context.options.budget}")
            width = shutil.get_terminal_size((WIDTH, 0)).columns
            context.tell(self._results(self._table, width))
        else:
            context.tell(self._notes)

    def _plan_table(self, plan: Plan) -> str:
        """What is still to be trained; with --resume and --from-records, beside what is there."""
        context = self._context
        left = {
            cell.key: context.judge.seeds_left(cell, context.earlier_records[cell.key])
            for cell in plan.cells
        }
        stored = {
            cell.key: context.stored.expected_seconds(cell.key, plan.device) for cell in plan.cells
        }
        ratio, runs = measured_speed(self._earlier_runs(plan.device), stored)
        seconds = {key: value * ratio for key, value in stored.items()}
        table = plan_table(plan.cells, left, seconds, context.workers)
        if not runs:
            return f"{table} (stored times; this machine's are not known)"
        return f"{table} (at this machine's speed: {ratio:.2f} times the stored times, n = {runs})"

    def _earlier_runs(self, device: str) -> list[RunRecord]:
        """The runs of this machine in the last session beside this one that has any."""
        options = self._context.options
        if options.from_records or options.ray:
            return []
        import torch

        from stn_core.training.environment import describe_environment

        here = describe_environment(torch.device(device), options.threads)
        for folder in session_folders(options.results.parent):
            runs, _ = SessionStore(folder).own_records()
            same = [run for run in runs if run.environment.is_like(here)]
            if same:
                return same
        return []

    def _results(self, table: ResultsTable, width: int) -> Iterator[str]:
        options = self._context.options
        yield table.answer
        yield ""
        yield table.text(width)
        yield ""
        yield from table.remarks
        yield from self._notes
        for note, (first, *others) in self._runs_by_note.items():
            yield f"{first}{f' and {len(others)} more' if others else ''}: {note}"
        if not (options.is_search or options.update_baselines or options.baselines.exists()):
            yield f"no baselines: there is no file {options.baselines}; nothing was compared"
        if all(one.verdict is Verdict.SKIPPED for one in self._judgements):
            yield "nothing was judged: every cell was skipped"
        yield from table.tally
        if options.save_models:
            yield self._saved_models()
        yield f"{'tables' if options.from_records else 'records and tables'}: {options.results}"

    def _saved_models(self) -> str:
        """How many of the good runs left a model: earlier ones may not have, nor on a full disk."""
        store = self._context.store
        good = [run for one in self._judgements for run in one.records if run.status == "ok"]
        saved = sum(map(store.has_model, good))
        return f"models: {saved} of {len(good)} good runs saved in {store.models_folder}"


def skip_reason(report: pytest.TestReport) -> str:
    """Why a test was skipped or expected to fail, as the user put it."""
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail.removeprefix('reason: ')}".removesuffix(": ")
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
