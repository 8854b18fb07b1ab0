"""The pytest plugin: gives tests their `cell`, trains it, judges it, and prints the table.

A test that takes the `cell` fixture is parametrized over the session's matrix. Under xdist the
workers train and append records; the first process reads them and prints. Use it in a repository
of one's own with ``pytest -p stn_core.suite.plugin``.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines, read_baselines
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.recipe import Cell
from stn_core.records import RunRecord, append_record
from stn_core.report.table import comparison_table, remarks, write_tables
from stn_core.suite.options import SuiteOptions, add_options, read_options, thread_count
from stn_core.suite.session import (
    RECORDS_FILE,
    Plan,
    discard_folder,
    judge_session,
    make_folder,
    read_plan,
    update_baselines,
    write_plan,
)

if TYPE_CHECKING:
    from stn_core.experiment import RunSettings

_NAME = "stn_core_suite"
_LINE = "stn_line"  # the property of a test that carries its cell's line to the first process


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
    config.pluginmanager.register(Suite(config, options), _NAME)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: as many workers as there are cards, or cores for their threads."""
    try:
        cores = max(1, _available_cores() // thread_count(config))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    device = config.getoption("--device") or "auto"
    if device in ("auto", "cuda"):
        import torch

        return min(cores, torch.cuda.device_count() or cores)
    return cores if device == "cpu" else 1


def _available_cores() -> int:
    """The cores this process may use, which a container or taskset can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@pytest.fixture
def train_and_judge(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[Cell], Judgement]:
    """Train a cell's seeds, keep every record, and return the verdict."""
    suite: Any = request.config.pluginmanager.get_plugin(_NAME)

    def run(cell: Cell) -> Judgement:
        judgement: Judgement = suite.train_and_judge(cell)
        record_property(_LINE, judgement.line)
        return judgement

    return run


class Suite:
    """One session: what was asked, what is planned, what was judged."""

    def __init__(self, config: pytest.Config, options: SuiteOptions) -> None:
        self.config = config
        self.options = options
        self.plan: Plan | None = None
        self.judgements: list[Judgement] = []
        self.notes: list[str] = []

    @property
    def is_worker(self) -> bool:
        """Whether this process is one of xdist's workers."""
        return hasattr(self.config, "workerinput")

    @functools.cached_property
    def stored(self) -> Baselines:
        """What the baselines file holds; nothing where there is none yet."""
        path = self.options.baselines
        return read_baselines(path) if path.exists() else Baselines({}, {})

    @property
    def baselines(self) -> Baselines:
        """What judges this session; one that measures anew is not judged against the old values."""
        return Baselines({}, {}) if self.options.update_baselines else self.stored

    @functools.cached_property
    def settings(self) -> RunSettings:
        """Where this process trains, and from which commit, looked up once."""
        from stn_core.devices import describe_checkout, resolve_device
        from stn_core.experiment import RunSettings

        workerinput: dict[str, Any] = getattr(self.config, "workerinput", {})
        worker = int(workerinput.get("workerid", "gw0").removeprefix("gw"))
        written = (self.options.baselines, self.options.results.parent)
        commit, dirty = describe_checkout(self.config.rootpath, written)
        return RunSettings(
            device=str(resolve_device(self.options.device, worker)),
            threads=self.options.threads,
            data_root=self.options.data_root,
            download=self.options.download,
            final=self.options.final,
            commit=commit,
            dirty=dirty,
        )

    # Before anything trains ---------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize a test that takes `cell` over the matrix."""
        if "cell" not in metafunc.fixturenames:
            return
        from stn_core.models import model_info

        try:
            plan = self.plan = self.plan or self._plan_matrix()
        except UsageError as error:
            raise pytest.Collector.CollectError(str(error)) from None
        parameters = [
            pytest.param(
                cell, id=cell.id, marks=pytest.mark.core if model_info(cell.model).core else ()
            )
            for cell in plan.cells
        ]
        metafunc.parametrize("cell", parameters)

    def _plan_matrix(self) -> Plan:
        """The whole matrix, with everything checked that can be told without training."""
        from stn_core.suite import matrix

        matrix.import_models(self.options.imports, self.config.invocation_params.dir)
        cells = matrix.plan_cells(self.options)
        data_hashes = {}
        if not self.config.option.collectonly:
            self._refuse_dirty_checkout()
            data_hashes = self._data_hashes()
            make_folder(self.options.results)
        vanished = [] if self.options.is_search else matrix.vanished_keys(self.options, self.stored)
        return Plan(
            cells=tuple(cells),
            seeds=self.options.seeds,
            device=self.settings.device.partition(":")[0],
            data_hashes=data_hashes,
            matrix_size=matrix.budget_matrix_size(cells, self.stored),
            vanished=tuple(vanished),
        )

    def _data_hashes(self) -> dict[str, str]:
        from stn_core.experiment import cached_dataset

        root, download = self.settings.data_root, self.settings.download
        names = self.options.datasets
        if not (root and download):
            return {name: cached_dataset(name, root, download).hash for name in names}
        Path(root).mkdir(parents=True, exist_ok=True)
        with FileLock(Path(root) / ".download.lock"):  # xdist's workers fetch one after the other
            return {name: cached_dataset(name, root, download).hash for name in names}

    def _refuse_dirty_checkout(self) -> None:
        if self.options.update_baselines and self.settings.dirty:
            raise UsageError(
                "--update-baselines: the checkout has uncommitted changes; commit them first,"
                " so that the values can be traced to a commit"
            )

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Long cells start first, so that no worker is left alone with one at the end."""

        def expected_seconds(item: pytest.Item) -> float:
            cell = _cell_of(item)
            return self.stored.expected_seconds(cell.key) if cell else 0.0

        if self.plan:
            items.sort(key=expected_seconds, reverse=True)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what is going to run."""
        selected = {cell for item in session.items if (cell := _cell_of(item))}
        if not self.plan or not selected or self.config.option.collectonly:
            return
        cells = tuple(cell for cell in self.plan.cells if cell in selected)
        workerinput: dict[str, Any] = getattr(self.config, "workerinput", {})
        command = workerinput.get("mainargv", sys.argv)
        write_plan(self.options.results, replace(self.plan, cells=cells), self.options, command)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker where the results go."""
        node.workerinput["stn_results"] = str(self.options.results)

    # A cell -------------------------------------------------------------------------------------

    def train_and_judge(self, cell: Cell) -> Judgement:
        """Train a cell, unless it is already known that its baseline does not apply."""
        assert self.plan is not None
        untrained = self.plan.judge(cell, [], self.baselines)
        if untrained.verdict is Verdict.STALE:
            return untrained
        return self.plan.judge(cell, self._train(cell), self.baselines)

    def _train(self, cell: Cell) -> list[RunRecord]:
        from stn_core.experiment import run_cell
        from stn_core.training.observers import ProgressBar

        keep = functools.partial(append_record, self.options.results / RECORDS_FILE)
        seeds = self.options.seeds
        if not self._is_watched():
            return run_cell(cell, seeds, self.settings, keep)
        with self._uncaptured(), ProgressBar(cell.key, len(seeds) * cell.recipe.epochs) as bar:
            return run_cell(cell, seeds, self.settings, keep, bar)

    def _is_watched(self) -> bool:
        """Whether a person sees what this process writes."""
        with self._uncaptured():  # pytest's capture stands between us and the terminal
            return not self.is_worker and sys.stderr.isatty()

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        return capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """A cell's line takes the place of its dot."""
        if report.when == "call" and any(name == _LINE for name, _ in report.user_properties):
            return report.outcome, "", report.outcome.upper()
        return None

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a line as each cell ends."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if self.is_worker or report.when != "call" or terminal is None:
            return
        for name, line in report.user_properties:
            if name == _LINE:
                terminal.ensure_newline()
                terminal.write_line(str(line))

    # After the last cell ------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge the whole session; its exit status says what the verdicts say."""
        if self.is_worker:
            return
        plan = read_plan(self.options.results)
        if plan is None:
            discard_folder(self.options.results)
            return
        self.judgements, self.notes = judge_session(self.options.results, plan, self.baselines)
        write_tables(self.options.results, self.judgements)
        failed = not all(judgement.verdict.passes for judgement in self.judgements)
        if self.options.update_baselines:
            failed |= not self._update_baselines(plan)
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _update_baselines(self, plan: Plan) -> bool:
        try:
            with FileLock(self.options.results.parent / ".baselines.lock"):
                line = update_baselines(self.options.baselines, plan.vanished, self.judgements)
        except (UsageError, OSError) as error:
            self.notes.append(f"baselines not updated: {error}")
            return False
        self.notes.append(line)
        return True

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Print the table, and a line for whatever needs one."""
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.config.option.keyword:
            from stn_core.suite.matrix import unknown_words

            for line in unknown_words(self.config.option.keyword, self.options.datasets):
                terminalreporter.write_line(line)
        if not self.judgements:
            return
        terminalreporter.section(f"comparison, budget {self.options.budget}")
        terminalreporter.write_line(comparison_table(self.judgements))
        terminalreporter.write_line("")
        for line in [*remarks(self.judgements), *self.notes]:
            terminalreporter.write_line(line)
        counts = collections.Counter(str(judgement.verdict) for judgement in self.judgements)
        tally = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        terminalreporter.write_line(f"{len(self.judgements)} cells: {tally}")
        terminalreporter.write_line(f"records and tables: {self.options.results}")


def _cell_of(item: pytest.Item) -> Cell | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("cell") if callspec else None
