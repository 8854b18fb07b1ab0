"""Gives tests the device that the command line names; leaves out what has to be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config):
    """The device of ``--device``: a GPU where there is one, unless another is named.

    Of several cards the workers get one after the other, as in a session of trainings.
    """
    from stn_core.errors import UsageError
    from stn_core.suite.command_line import CommandLine
    from stn_core.suite.engine_choice import worker_number
    from stn_core.training.devices import resolve_device

    worker = worker_number(getattr(pytestconfig, "workerinput", {}))
    try:
        return resolve_device(CommandLine(pytestconfig)["device"] or "auto", worker)
    except UsageError as error:
        pytest.fail(str(error), pytrace=False)


ASKED_FOR = ("throughput", "robustness", "claims", "nightly")
"""Markers of what runs only where -m names it."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Two timings at once, or one beside a training, would measure each other; and some is long."""
    left_out = [marker for marker in ASKED_FOR if marker not in config.getoption("-m")]
    others = [item for item in items if any(map(item.get_closest_marker, left_out))]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the robustness benchmark and the claims found, in whatever processes."""
    asked = terminalreporter.config.getoption("-m")
    if "robustness" not in asked and "claims" not in asked:
        return
    from stn_core.errors import UsageError
    from stn_core.suite.process_context import context_of

    context = context_of(terminalreporter.config)
    context.join_workers()
    try:
        folder = context.options.results
    except UsageError:  # which the collection has reported
        return
    if (folder / "claims.txt").exists():
        terminalreporter.write_line((folder / "claims.txt").read_text(encoding="utf-8"))
    if (folder / "robustness.csv").exists():
        _show_robustness(terminalreporter, folder)


def _show_robustness(terminalreporter: pytest.TerminalReporter, folder: Path) -> None:
    import pandas as pd

    from stn_core.report.robustness import robustness_tables, write_robustness_curves
    from stn_core.session.file_names import FIGURES_FOLDER

    frame = pd.read_csv(folder / "robustness.csv")
    terminalreporter.write_line(robustness_tables(frame))
    for line in write_robustness_curves(frame, folder / FIGURES_FOLDER):
        terminalreporter.write_line(f"curves: {line}")
