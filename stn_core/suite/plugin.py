"""The pytest plugin: gives tests their `cell`, trains it, judges it, and prints the table.

A test that takes the `cell` fixture is parametrized over the session's matrix. Under xdist the
workers train and append records; the first process reads them and prints. Use it in a repository
of one's own with ``pytest -p stn_core.suite.plugin``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from stn_core.errors import UsageError
from stn_core.gate.verdict import Judgement
from stn_core.session.cells import Cell
from stn_core.suite import hooks
from stn_core.suite.options import SuiteOptions, add_options, read_options, thread_count
from stn_core.suite.planning import Planning
from stn_core.suite.reporting import Reporting
from stn_core.suite.state import SessionState
from stn_core.suite.trainer import Trainer

_STATE = pytest.StashKey[SessionState]()
_TRAINER = pytest.StashKey[Trainer]()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare what a project can implement."""
    pluginmanager.add_hookspecs(hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the suite's options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; a mistake in them ends the session here, in one line."""
    config.addinivalue_line("markers", "core: one of the models that `make bench` runs")
    try:
        options = read_options(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    if getattr(config.option, "maxschedchunk", 1) is None:
        config.option.maxschedchunk = 1  # a cell is long: no worker may hoard them
    state = config.stash[_STATE] = SessionState(config, options)
    config.stash[_TRAINER] = Trainer(state)
    config.pluginmanager.register(Planning(state), "stn_core_planning")
    config.pluginmanager.register(Reporting(state), "stn_core_reporting")


def session_options(config: pytest.Config) -> SuiteOptions:
    """What a session was asked to do."""
    return config.stash[_STATE].options


def results_folder(config: pytest.Config) -> Path:
    """The folder of a session that leaves results, made; the same in all of its processes."""
    config.stash[_STATE].claim_results()
    return config.stash[_STATE].options.results


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """What trains nothing collects only; said before xdist asks what there is to hand out."""
    if config.getoption("--plan") or config.getoption("--drop-vanished"):
        config.option.collectonly = True
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: as many workers as the cards' memory holds and there are cores for."""
    try:
        cores = max(1, _available_cores() // thread_count(config))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    device = config.getoption("--device") or "auto"
    if device == "cpu":
        return cores
    from stn_core.training.devices import trainings_that_fit

    without_cards = cores if device == "auto" else 1
    return min(cores, trainings_that_fit(device) or without_cards)


def _available_cores() -> int:
    """The cores this process may use, which a container or taskset can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@pytest.fixture
def train_and_judge(request: pytest.FixtureRequest) -> Callable[[Cell], Judgement]:
    """Train a cell's seeds, keep every record, and return the verdict."""
    trainer = request.config.stash[_TRAINER]
    return functools.partial(trainer.train_and_judge, properties=request.node.user_properties)
