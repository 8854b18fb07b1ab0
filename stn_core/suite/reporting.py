"""What a session prints: a line as each cell ends, and the table at the end; its exit status."""

from __future__ import annotations

import collections
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stn_core.errors import UsageError, is_missing, needs_extra
from stn_core.gate.baseline_updates import drop_baselines, update_baselines
from stn_core.gate.digests import write_digests
from stn_core.gate.groups import GroupJudgement
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.gate.judgement_files import write_judgements
from stn_core.report.results_table import ResultsTable, results_table
from stn_core.report.text_table import WIDTH
from stn_core.session.file_names import (
    EMPTY_SHARD_FILE,
    FIGURES_FOLDER,
    JUDGEMENTS_FILE,
    REPORT_FILE,
    lock_of,
)
from stn_core.session.folder import discard_folder
from stn_core.suite.group_runs import Runs, judge_speed, settle_groups
from stn_core.suite.group_training import train_for_groups
from stn_core.suite.judging import (
    code_doubts,
    fitting_records,
    judge_session,
    not_reached,
    with_all_good_runs,
)
from stn_core.suite.plan import Plan, check_unchanged, read_plan
from stn_core.suite.reference_side import keep_for_comparisons
from stn_core.suite.reports_of_tests import CRASH, LINE, NOTE, skip_reason

with needs_extra("suite"):
    from filelock import FileLock

if TYPE_CHECKING:
    from stn_core.session.records import RunRecord
    from stn_core.suite.context import SessionContext

_INTERRUPTED = "interrupted: the same command with --resume last trains what is missing"


class Reporting:
    """The hooks that run as cells end, and after the last one.

    Args:
        context: the context of this process.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._crashed: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self._not_skipped: set[str] = set()
        self._judgements: list[Judgement] = []
        self._table: ResultsTable | None = None
        self._groups: list[GroupJudgement] = []
        self._are_settled = True
        self._notes: list[str] = []
        self._runs_by_note: dict[str, list[str]] = collections.defaultdict(list)

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts on cells and on groups of cells, once the session is judged."""
        cells = [judgement.verdict for judgement in self._judgements]
        return cells + [group.verdict for group in self._groups]

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print a cell's line instead of its dot."""
        # pytest adds wasxfail to the reports of tests that are expected to fail, and to no other.
        if report.when != "call" or hasattr(report, "wasxfail"):
            return None
        if any(name == LINE for name, _ in report.user_properties):
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
        elif report.failed:
            self._not_skipped.add(cell.key)
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == LINE:
                self._context.tell([str(value)])
                if not report.skipped:  # whatever another test of the cell does
                    self._not_skipped.add(cell.key)
            elif name == CRASH:
                self._crashed[cell.key] = str(value)
            elif name == NOTE and isinstance(value, list):
                self._runs_by_note[value[0]].append(value[1])

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """Note that a worker died during a test; the other cells go on in a new worker."""
        cell = self._context.tests.get(crashitem)
        if cell:
            self._crashed[cell.key] = "its worker process died: killed, or out of memory?"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge the whole session, and set its exit status."""
        context = self._context
        if context.is_worker:
            return
        if context.only_plans:
            if context.plan and context.options.drop_vanished:
                self._finish_dropping(session, context.plan.vanished)
            return
        context.join_workers()
        if context.has_written_plan:
            self._finish_judging(session)
        elif context.made_folder:
            self._finish_without_cells(session)

    def _finish_dropping(self, session: pytest.Session, vanished: Mapping[str, str]) -> None:
        file = self._context.options.baselines
        if session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            why = "the collection failed, and models that it lacks would count as gone"
            self._notes.append(f"nothing dropped from {file}: {why}")
        elif not self._succeeds("baselines", lambda: drop_baselines(file, vanished)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _finish_without_cells(self, session: pytest.Session) -> None:
        """Nothing was selected: remove the folder; an empty share of the cells is not a failure."""
        folder = self._context.options.results
        if (folder / EMPTY_SHARD_FILE).exists():
            (folder / EMPTY_SHARD_FILE).unlink()
            session.exitstatus = pytest.ExitCode.OK
        discard_folder(folder, with_parent=self._context.made_parent)

    def _finish_judging(self, session: pytest.Session) -> None:
        context, options = self._context, self._context.options
        ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        whole = ended and not (session.shouldstop or session.shouldfail)
        try:
            plan = read_plan(options.results)
            if plan is None:
                raise UsageError(f"the session's plan is no longer in {options.results}")
            check_unchanged(options.results, plan, context.plan or plan)
            context.plan = plan
            self._judge_session(plan, may_train=whole)
        except (UsageError, OSError) as error:  # somebody removed or replaced files
            why = str(error)
            if isinstance(error, OSError):
                why = f"cannot read {error.filename}: {error.strerror}"
            self._notes.append(f"nothing was judged: {why}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        passed = self._write_tables(plan).passes
        if ended:
            if options.update_baselines:
                passed &= self._succeeds("baselines", self._update_baselines)
            if options.update_digests and not options.against:
                passed &= self._succeeds("digests", self._update_digests)
        if not passed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        was_stopped = session.exitstatus == pytest.ExitCode.INTERRUPTED
        if was_stopped and not options.from_records:
            self._notes.append(_INTERRUPTED)
        if options.writes_report and not was_stopped:
            self._write_report()

    def _judge_session(self, plan: Plan, *, may_train: bool) -> None:
        """Judge every cell from the stored records, and note what to say about them."""
        context = self._context
        by_key, left_out = self._read_records(plan)
        skipped = {key: why for key, why in self._skipped.items() if key not in self._not_skipped}
        self._judgements = [
            dataclasses.replace(one, message=context.spell(one.message))
            for one in judge_session(plan, context.judge, by_key, self._crashed, skipped)
        ]
        why_not = "" if may_train else "the session was stopped: --resume last continues"
        if context.options.from_records:
            why_not = "--from-records trains none"
        self._groups, unsettled = settle_groups(
            plan,
            context.judge,
            self._judgements,
            by_key,
            lambda: self._read_records(plan)[0],
            self._train_for_groups,
            why_not,
        )
        context.close_engine()
        self._are_settled = not unsettled
        self._notes += unsettled
        self._notes += not_reached(self._judgements, context.options.minutes)
        if context.reference:
            said, failures = judge_speed(plan, by_key, context.reference.records)
            self._notes += said
            self._groups += failures
        self._notes += left_out
        if context.options.against_cache and not plan.against:
            self._notes += keep_for_comparisons(context.options)
        if context.options.from_records:
            self._notes += code_doubts(by_key)
        if context.options.resumes and context.checkout[1]:
            self._notes.append(
                "resumed in a checkout with uncommitted changes: was the code the same?"
            )

    def _train_for_groups(self, runs: Runs, reference_runs: Runs) -> None:
        with self._context.stopping.interruptible():
            train_for_groups(self._context, runs, reference_runs)

    def _read_records(self, plan: Plan) -> tuple[dict[str, list[RunRecord]], list[str]]:
        """By cell, the records written so far and those that were given; why others do not count.

        The runs of the commit to compare with are read, too.
        """
        context = self._context
        if context.reference:
            context.reference.read()
        own, torn = context.store.own_records()
        given, torn_given = context.given_records
        by_key, misfits = fitting_records(plan, context.judge, [*given, *own])
        return by_key, [*torn, *torn_given, *misfits]

    def _write_tables(self, plan: Plan) -> ResultsTable:
        options = self._context.options
        looks = plan.rules.side_looks if plan.against else plan.rules.looks
        table = self._table = results_table(self._judgements, looks[-1], self._groups)
        try:
            write_judgements(options.results / JUDGEMENTS_FILE, self._judgements, self._groups)
            table.write(options.results)
            summary = os.environ.get("GITHUB_STEP_SUMMARY")
            if summary:
                table.append_step_summary(Path(summary), options.budget)
        except OSError as error:
            place = error.filename or options.results  # the error of a full disk names no file
            self._notes.append(f"tables not written to {place}: {error.strerror}")
        return table

    def _write_report(self) -> None:
        """Draw the page; an error in it does not fail the session."""
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
        except Exception as error:  # the verdicts are written; only the page is lost
            self._notes.append(f"report not written: {error}")
        else:
            lacks = f" (incomplete: {missing[0]})" if missing else ""
            self._notes.append(f"report: {page}{lacks}")

    def _tell_progress(self, done: int, count: int) -> None:
        from stn_core.report.section_drawing import progress_line

        self._context.tell(filter(None, [progress_line(done, count)]))

    def _update_baselines(self) -> str:
        path, existed = self._context.options.baselines, bool(self._context.stored.cells)
        return update_baselines(path, self._judgements, existed=existed)

    def _update_digests(self) -> str:
        context, cache = self._context, self._context.options.digest_cache
        assert cache
        assert context.plan
        if context.checkout[1]:  # it would be unknown later which code passed
            return f"{cache} was not updated: the checkout has uncommitted changes"
        if not self._are_settled:
            return f"{cache} was not updated: groups of cells are not settled"
        if not all(group.verdict.passes for group in self._groups):
            return f"{cache} was not updated: cells dropped together"
        passed = with_all_good_runs(self._judgements, self._read_records(context.plan)[0])
        cache.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_of(cache)):
            write_digests(cache, context.plan.rules.in_words, passed)
        return f"digests written to {cache}"

    def _succeeds(self, what: str, write: Callable[[], str]) -> bool:
        """Note the line that an update returns, or why it failed."""
        try:
            self._notes.append(write())
        except (UsageError, OSError) as error:
            self._notes.append(f"{what} not written: {error}")
            return False
        return True

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Print the table, and a line for everything that needs one."""
        context = self._context
        keyword = context.config.option.keyword
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and context.plan and keyword:
            from stn_core.suite.matrix import unknown_words

            context.tell(unknown_words(keyword, context.options))
        if self._table and self._judgements:
            terminalreporter.section(f"results, budget {context.options.budget}")
            width = shutil.get_terminal_size((WIDTH, 0)).columns
            context.tell(self._results(self._table, width))
        else:
            context.tell(self._notes)

    def _results(self, table: ResultsTable, width: int) -> Iterator[str]:
        options = self._context.options
        # The session compares with what it read at its start, whatever has become of the file.
        has_baselines = self._context.stored.cells or not is_missing(options.baselines)
        yield table.answer
        yield from table.group_lines
        yield ""
        yield table.text(width)
        yield ""
        yield from table.remarks
        yield from self._notes
        for note, (first, *others) in self._runs_by_note.items():
            yield f"{first}{f' and {len(others)} more' if others else ''}: {note}"
        plan = self._context.plan
        if plan and plan.against:
            tree = ": the working tree, with its uncommitted changes"
            here = tree * bool(self._context.checkout[1])
            yield f"compared with {plan.against} ({plan.against_commit[:12]}){here}"
        elif not (has_baselines or options.is_search or options.update_baselines):
            yield f"no baselines: there is no file {options.baselines}; nothing was compared"
        if all(one.verdict is Verdict.SKIPPED for one in self._judgements):
            yield "nothing was judged: every cell was skipped"
        yield from table.tally
        if options.save_models:
            yield self._saved_models()
        yield f"{'tables' if options.from_records else 'records and tables'}: {options.results}"

    def _saved_models(self) -> str:
        """How many of the good runs have a saved model; on a full disk, perhaps none."""
        store = self._context.store
        good = [run for one in self._judgements for run in one.records if run.status == "ok"]
        saved = sum(map(store.has_model, good))
        return f"models: {saved} of {len(good)} good runs saved in {store.models_folder}"
