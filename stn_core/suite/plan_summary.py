"""What --plan shows: the cells, what is still to be trained, and how long it takes here."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from stn_core.errors import UsageError
from stn_core.report.plan_table import measured_speed, plan_table
from stn_core.session.folder import session_folders
from stn_core.session.records import RunRecord
from stn_core.session.store import SessionStore
from stn_core.suite.plan import Plan

if TYPE_CHECKING:
    from stn_core.suite.context import SessionContext
    from stn_core.suite.session_options import SuiteOptions


class ShowingThePlan:
    """The hooks of a session that only plans.

    Args:
        context: the context of this process.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._lines: list[str] = []
        self._refusal = ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Make the plan; files of the session to resume that cannot be read fail this one."""
        plan = self._context.plan
        if not (session.config.option.collectonly and plan and plan.cells):
            return
        try:
            self._lines = [*plan.notes, plan_summary(self._context, plan)]
        except UsageError as error:
            self._refusal = f"no plan: {error}"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the plan."""
        if self._refusal:
            self._context.tell([self._refusal])
        elif self._lines:
            terminalreporter.section(f"plan, budget {self._context.options.budget}")
            self._context.tell(self._lines)


def plan_summary(context: SessionContext, plan: Plan) -> str:
    """What is still to be trained; with --resume and --from-records, what exists is left out."""
    left = {
        cell.key: context.judge.seeds_left(cell, context.earlier_records[cell.key])
        for cell in plan.cells
    }
    stored = {
        cell.key: context.stored.expected_seconds(cell.key, plan.device) for cell in plan.cells
    }
    ratio, runs = measured_speed(_earlier_runs(context.options, plan.device), stored)
    seconds = {key: value * ratio for key, value in stored.items()}
    table = plan_table(plan.cells, left, seconds, context.workers)
    if context.options.ray:
        return f"{table} (stored times, one run at a time; the cluster was not asked)"
    if not runs:
        return f"{table} (stored times; this machine's are not known)"
    return f"{table} (at this machine's speed: {ratio:.2f} times the stored times, n = {runs})"


def _earlier_runs(options: SuiteOptions, device: str) -> list[RunRecord]:
    """The runs on this machine in the last session before this one that has any."""
    if options.from_records or options.ray:
        return []
    import torch

    from stn_core.training.environment import describe_environment

    here = describe_environment(torch.device(device), options.threads)
    for folder in session_folders(options.results.parent):
        with contextlib.suppress(UsageError):  # its records cannot be read: an older one's can
            runs, _ = SessionStore(folder).own_records()
            same = [run for run in runs if run.environment.is_like(here)]
            if same:
                return same
    return []
