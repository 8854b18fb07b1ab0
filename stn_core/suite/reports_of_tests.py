"""What a test's report tells the first process: its cell's line, and why it was skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stn_core.gate.judgement import Judgement, Verdict

if TYPE_CHECKING:
    from stn_core.training.run_cell import RunResult

LINE = "stn_line"
"""The property of a test that carries its cell's line to the first process."""
CRASH = "stn_crash"
"""The same for why a cell could not be judged."""
NOTE = "stn_note"
"""The same for what else went wrong in a run, and in which one."""


def note_judgement(properties: list[tuple[str, object]], judgement: Judgement) -> None:
    """Write into a test's properties what the first process needs to know about its cell."""
    properties.append((LINE, judgement.line))
    if judgement.verdict is Verdict.CRASHED:
        properties.append((CRASH, judgement.message))


def note_runs(properties: list[tuple[str, object]], result: RunResult) -> None:
    """Write into a test's properties what else went wrong in a run of its cell."""
    properties += [(NOTE, [note, result.record.run_name]) for note in result.notes]


def skip_reason(report: pytest.TestReport) -> str:
    """Why a test was skipped or expected to fail, as the user put it."""
    if hasattr(report, "wasxfail"):  # which pytest adds to the reports of such tests alone
        return f"expected to fail: {report.wasxfail.removeprefix('reason: ')}".removesuffix(": ")
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
