"""The pytest plugin: gives tests their `cell`, trains and judges it, and prints the table.

A test that takes the `cell` fixture is parametrized over the session's matrix. Under xdist the
workers train and append records; the first process reads them and prints. Installing the package
is enough to have it.

pytest imports this in every project that has the package installed, so it only imports the standard
library and pytest; the rest is loaded when a test takes a cell.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stn_core.gate.judgement import Judgement
    from stn_core.session.cells import Cell
    from stn_core.suite.session_options import SuiteOptions


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that a project can implement."""
    from stn_core.suite import hooks

    pluginmanager.add_hookspecs(hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; another plugin declares short names for them."""
    from stn_core.suite.options import PREFIX, declare_options

    declare_options(parser, PREFIX)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Generator[None, Any, Any]:
    """A conftest.py with an option of the same name gets one line, not a traceback."""
    try:
        return (yield)
    except Exception as error:  # pytest wraps a conftest's error; any other is raised again
        from stn_core.suite.spelling import clash_line

        line = clash_line(error)
        if not line:
            raise
        raise pytest.UsageError(line) from None


def pytest_configure(config: pytest.Config) -> None:
    """Check the options that were given; a mistake ends the session here, in one line."""
    from stn_core.suite.command_line import CommandLine, start_time
    from stn_core.suite.options import CORE_MARKER
    from stn_core.suite.spelling import respelled

    start_time(config)  # from which --minutes count
    if not _has_marker(config, "core"):
        config.addinivalue_line("markers", CORE_MARKER)

    if not CommandLine(config).given or hasattr(config, "workerinput"):
        return
    from stn_core.errors import UsageError
    from stn_core.suite.session_options import check_early

    try:
        check_early(config)
    except UsageError as error:
        raise pytest.UsageError(respelled(str(error), config)) from None


def _has_marker(config: pytest.Config, name: str) -> bool:
    return any(line.partition(":")[0].strip() == name for line in config.getini("markers"))


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """If nothing is to be trained, only collect; decided before xdist distributes tests."""
    if config.getoption("stn_plan") or config.getoption("stn_drop_vanished"):
        config.option.collectonly = True
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """`-n auto`: as many workers as there are cores and as fit in the cards' memory.

    Only if the plugin is used and xdist's own variable is not set; otherwise xdist answers.
    """
    from stn_core.errors import UsageError
    from stn_core.suite.command_line import CommandLine

    given = CommandLine(config)
    is_used = given.given or any(name.startswith("stn_core.") for name in config.option.plugins)
    if not is_used or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    try:
        device, threads = given["device"] or "auto", given["threads"] or 1
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    cores = max(1, _available_cores() // threads)
    if device == "cpu":
        return cores
    from stn_core.training.devices import trainings_that_fit

    without_cards = cores if device == "auto" else 1
    return min(cores, trainings_that_fit(device) or without_cards)


def _available_cores() -> int:
    """The number of cores this process may use, which a container or taskset can limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker what it cannot know: what the user typed, and when."""
    from stn_core.errors import UsageError
    from stn_core.suite.agreement import Agreement
    from stn_core.suite.command_line import (
        XDIST_SESSION,
        check_words,
        options_by_hand,
        start_time,
    )

    try:
        check_words(node.config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    name = node.workerinput["testrunuid"]
    if XDIST_SESSION not in node.config.stash:  # no worker runs yet
        Agreement(name).discard()  # of a session that --testrunuid called so too, and was killed
    node.config.stash[XDIST_SESSION] = name
    node.workerinput["stn_options_by_hand"] = options_by_hand(node.config)
    node.workerinput["stn_start_time"] = start_time(node.config)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Let the first process learn from its workers that there are cells."""
    from stn_core.suite.agreement import Agreement
    from stn_core.suite.command_line import XDIST_SESSION

    # Without cells, nothing is loaded that only the extra "suite" installs.
    if _is_used() or Agreement(node.config.stash[XDIST_SESSION]).exists:
        from stn_core.suite.process_context import join_workers

        join_workers(node.config)


def _is_used() -> bool:
    """Whether anything has asked this process for its part of a session with cells."""
    return "stn_core.suite.context" in sys.modules


def pytest_unconfigure(config: pytest.Config) -> None:
    """Release what this process holds of its session."""
    if _is_used():
        from stn_core.suite.process_context import leave_session

        leave_session(config)


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test that takes this plugin's `cell` over the matrix."""
    if "cell" in metafunc.fixturenames and _takes_our_cell(metafunc):
        from stn_core.suite.process_context import context_of

        context_of(metafunc.config).planning.parametrize(metafunc)


def _takes_our_cell(metafunc: pytest.Metafunc) -> bool:
    """Whether `cell` is this plugin's: a project's own fixture or parameter of that name wins."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        names = names.split(",") if isinstance(names, str) else names
        if "cell" in (name.strip() for name in names):
            return False
    # As pytest does for parametrized fixtures: an override counts unless it asks for what it
    # overrides. There is no public way to ask which fixture a request resolves to.
    for definition in reversed(metafunc._arg2fixturedefs.get("cell", ())):
        if definition.func.__module__ == __name__:
            return True
        if "cell" not in definition.argnames:
            return False
    return False


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Cell:
    """One model on one dataset within the session's budget; a test runs once for each."""
    if not hasattr(request, "param"):
        pytest.fail("take `cell` as an argument of the test", pytrace=False)
    given: Cell = request.param
    return given


@pytest.fixture
def train_and_judge(request: pytest.FixtureRequest) -> Callable[[Cell], Judgement]:
    """Train a cell's seeds, keep every record, and return the verdict."""
    from stn_core.suite.process_context import context_of

    trainer = context_of(request.config).trainer
    return functools.partial(trainer.train_and_judge, properties=request.node.user_properties)


def session_options(config: pytest.Config) -> SuiteOptions:
    """What a session was asked to do."""
    from stn_core.suite.process_context import context_of

    return context_of(config).options


def results_folder(config: pytest.Config) -> Path:
    """The session's folder of results, which exists; the same in all of its processes."""
    from stn_core.suite.process_context import context_of

    context = context_of(config)
    context.claim_results()
    return context.options.results
