"""The pytest plugin: gives tests their `cell`, trains it, judges it, and prints the table.

A test that takes the `cell` fixture is parametrized over the session's matrix. Under xdist the
workers train and append records; the first process reads them and prints. Use it in a repository
of one's own with ``pytest -p stn_core.suite.plugin``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines, read_baselines
from stn_core.gate.digests import Digests, read_digests, write_digests
from stn_core.gate.judge import Judge, Rules
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.recipe import Cell
from stn_core.records import RunRecord, append_record
from stn_core.report.table import (
    comparison_table,
    plan_table,
    remarks,
    tally,
    write_step_summary,
    write_tables,
)
from stn_core.suite.files import CHECKPOINTS_FOLDER, EMPTY_SHARD_FILE, RECORDS_FILE
from stn_core.suite.options import SuiteOptions, add_options, read_options, thread_count
from stn_core.suite.session import (
    Plan,
    describe_records,
    discard_folder,
    fitting_records,
    judge_session,
    make_folder,
    read_all,
    read_plan,
    update_baselines,
    write_plan,
    written_at,
)

if TYPE_CHECKING:
    from stn_core.experiment import RunSettings

_NAME = "stn_core_suite"
# Properties of a test that carry something of its cell to the first process:
_LINE = "stn_line"  # what is printed of it
_DEAD = "stn_dead"  # why it could not be judged


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


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """--plan is a collection; said before xdist asks whether there is anything to hand out."""
    if config.getoption("--plan"):
        config.option.collectonly = True
    return (yield)


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
def train_and_judge(request: pytest.FixtureRequest) -> Callable[[Cell], Judgement]:
    """Train a cell's seeds, keep every record, and return the verdict."""
    suite: Any = request.config.pluginmanager.get_plugin(_NAME)
    properties = request.node.user_properties

    def run(cell: Cell) -> Judgement:
        judgement: Judgement = suite.train_and_judge(cell)
        properties.append((_LINE, judgement.line))
        if judgement.verdict is Verdict.CRASHED:
            properties.append((_DEAD, [cell.key, judgement.message]))
        return judgement

    return run


class NotKeptError(Exception):
    """A record could not be written: the disk is full, say."""


class Suite:
    """One session: what was asked, what is planned, what was judged."""

    def __init__(self, config: pytest.Config, options: SuiteOptions) -> None:
        self.config = config
        self.options = options
        self.plan: Plan | None = None
        self.announced = False
        self.dead: dict[str, str] = {}
        self.earlier_plan_at = 0 if self.is_worker else written_at(options.results)
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

    @functools.cached_property
    def judge(self) -> Judge:
        """The judge of the plan; a session that measures anew is not held against old values."""
        assert self.plan
        return Judge(
            self.plan.rules,
            Baselines({}, {}) if self.options.update_baselines else self.stored,
            self.options.budget,
            self.plan.device,
            self._cached_digests,
        )

    @functools.cached_property
    def _cached_digests(self) -> Digests:
        cache = self.options.digest_cache
        return read_digests(cache) if cache else {}

    @functools.cached_property
    def settings(self) -> RunSettings:
        """Where this process trains, and from which commit, looked up once."""
        from stn_core.devices import describe_checkout, resolve_device
        from stn_core.experiment import RunSettings

        workerinput: dict[str, Any] = getattr(self.config, "workerinput", {})
        worker = int(workerinput.get("workerid", "gw0").removeprefix("gw"))
        written = [self.options.baselines, self.options.results.parent]
        if self.options.digest_cache:
            written.append(self.options.digest_cache)
        commit, dirty = describe_checkout(self.config.rootpath, tuple(written))
        return RunSettings(
            device=str(resolve_device(self.options.device, worker)),
            threads=self.options.threads,
            data_root=self.options.data_root,
            download=self.options.download,
            final=self.options.final,
            checkpoints=str(self.options.results / CHECKPOINTS_FOLDER),
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

        options = self.options
        matrix.import_models(options.imports, self.config.invocation_params.dir)
        cells = matrix.plan_cells(options)
        data_hashes: dict[str, str] = {}
        if options.from_records:
            device, data_hashes = describe_records(*self._given_records, options)
        else:
            device = self.settings.device.partition(":")[0]
            if not self.config.option.collectonly:
                self._refuse_dirty_checkout()
                data_hashes = self._data_hashes()
        if not self.config.option.collectonly:
            _ = self._cached_digests  # damaged ones are told now, like damaged baselines
            make_folder(options.results)
        vanished = [] if options.is_search else matrix.vanished_keys(options, self.stored)
        return Plan(
            cells=tuple(cells),
            rules=Rules(
                seeds=options.seeds,
                looks=options.looks,
                matrix_size=matrix.budget_matrix_size(cells, self.stored, options.budget),
                min_drop_points=options.min_drop_points,
                settles_identical=options.settles_identical,
                gates_speed=options.gates_speed,
            ),
            device=device,
            code=None if options.from_records else self._code(),
            data_hashes=data_hashes,
            vanished=tuple(vanished),
        )

    def _code(self) -> tuple[str, str | None, bool | None]:
        """The code that trains here; on --resume only its own records count."""
        return version("stn-core"), self.settings.commit, self.settings.dirty

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
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep this shard's cells; what fails untrained comes first, then what takes longest.

        So that no worker is left alone with a long cell at the end.
        """
        if not self.plan:
            return
        from stn_core.suite.matrix import share

        mine = share(self.plan.cells, self.stored, self.options.shard)
        others = [item for item in items if (cell := _cell_of(item)) and cell not in mine]
        if others:
            items[:] = [item for item in items if item not in others]
            if not items and not config.option.collectonly:  # more shards than cells
                (self.options.results / EMPTY_SHARD_FILE).touch()
            config.hook.pytest_deselected(items=others)
        hopeless = {judgement.key for judgement in self._told_untrained(self.plan)}

        def urgency(item: pytest.Item) -> tuple[bool, float]:
            cell = _cell_of(item)
            if cell is None:
                return False, 0.0
            return cell.key in hopeless, self.stored.expected_seconds(cell.key)

        items.sort(key=urgency, reverse=True)

    def _told_untrained(self, plan: Plan) -> list[Judgement]:
        """The failures that are known before anything trains."""
        if self.config.option.collectonly:
            return []
        nothing: dict[str, list[RunRecord]] = {cell.key: [] for cell in plan.cells}
        judgements = judge_session(plan, self.judge, nothing, {})
        return [one for one in judgements if not one.verdict.passes and not one.wanted]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what is going to run."""
        selected = {cell for item in session.items if (cell := _cell_of(item))}
        if not self.plan or not selected:
            return
        cells = tuple(cell for cell in self.plan.cells if cell in selected)
        self.plan = replace(self.plan, cells=cells)
        if self.config.option.collectonly:
            return
        workerinput: dict[str, Any] = getattr(self.config, "workerinput", {})
        command = workerinput.get("mainargv", sys.argv)
        write_plan(self.options.results, self.plan, self.options, command)
        self._announce_failures()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Under xdist the first process learns the plan from the first worker that has one."""
        if not self.announced:
            self.plan = read_plan(self.options.results)
            self._announce_failures()

    def _announce_failures(self) -> None:
        self.announced = True
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if self.is_worker or self.plan is None or terminal is None:
            return
        for line in remarks(self._told_untrained(self.plan)):
            terminal.ensure_newline()
            terminal.write_line(line)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker where the results go."""
        node.workerinput["stn_results"] = str(self.options.results)

    # A cell -------------------------------------------------------------------------------------

    def train_and_judge(self, cell: Cell) -> Judgement:
        """Train as many of a cell's seeds as the verdict needs."""
        assert self.plan is not None
        records = list(self._earlier_records.get(cell.key, ()))
        judgement = self._judge(cell, records)
        while judgement.wanted and not self.options.from_records:
            try:
                records += self._train(cell, judgement.wanted)
            except NotKeptError as error:  # nothing would be kept of more
                return replace(judgement, verdict=Verdict.CRASHED, message=str(error))
            judgement = self._judge(cell, records)
        return judgement

    def _judge(self, cell: Cell, records: Sequence[RunRecord]) -> Judgement:
        assert self.plan is not None
        return self.judge.judge(cell, records, self.plan.data_hashes[cell.dataset])

    @functools.cached_property
    def _given_records(self) -> tuple[list[RunRecord], list[str]]:
        """What --from-records names, and what could not be read of it."""
        return read_all(self.options.from_records)

    @functools.cached_property
    def _earlier_records(self) -> dict[str, list[RunRecord]]:
        """By cell, the records that stand before anything is trained."""
        assert self.plan is not None
        records = self._given_records[0]
        if self.options.resumes:
            written = read_all([self.options.results / RECORDS_FILE])[0]
            records = [record for record in written if record.status == "ok"]
        return fitting_records(self.plan, records)[0]

    def _train(self, cell: Cell, seeds: Sequence[int]) -> list[RunRecord]:
        from stn_core.experiment import run_cell
        from stn_core.training.observers import ProgressBar

        if not self._is_watched():
            return run_cell(cell, seeds, self.settings, self._keep)
        with self._uncaptured(), ProgressBar(cell.key, len(seeds) * cell.recipe.epochs) as bar:
            return run_cell(cell, seeds, self.settings, self._keep, bar)

    def _keep(self, record: RunRecord) -> None:
        try:
            append_record(self.options.results / RECORDS_FILE, record)
        except OSError as error:
            reason = error.strerror or error
            raise NotKeptError(f"cannot write to {self.options.results}: {reason}") from error

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
        for name, value in report.user_properties:
            if name == _LINE:
                terminal.ensure_newline()
                terminal.write_line(str(value))
            elif name == _DEAD and isinstance(value, list):
                self.dead[value[0]] = value[1]

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """A worker died over a test: its cell says so, the others go on in a new worker."""
        for cell in self.plan.cells if self.plan else ():
            if crashitem.endswith(f"[{cell.id}]"):
                self.dead[cell.key] = "its worker process died: killed, or out of memory?"

    # After the last cell ------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge the whole session; its exit status says what the verdicts say."""
        if self.is_worker or self.config.option.collectonly:
            return
        folder = self.options.results
        # On --resume an earlier session's plan stands there until this one writes its own.
        planned = written_at(folder) != self.earlier_plan_at
        self.plan = read_plan(folder) if planned else None
        if self.plan is None:
            if (folder / EMPTY_SHARD_FILE).exists():
                (folder / EMPTY_SHARD_FILE).unlink()
                session.exitstatus = pytest.ExitCode.OK
            discard_folder(folder)
            return
        passed = self._judge_session(self.plan)
        came_to_an_end = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if self.options.update_baselines and came_to_an_end:
            passed &= self._update_baselines(self.plan)
        if self.options.update_digests and passed and came_to_an_end:
            passed &= self._update_digests()
        if not passed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _judge_session(self, plan: Plan) -> bool:
        """Judge every cell from what was written, write the tables, and say whether all pass."""
        own, torn = read_all([self.options.results / RECORDS_FILE])
        given, torn_given = self._given_records
        by_key, misfits = fitting_records(plan, [*given, *own])
        self.judgements = judge_session(plan, self.judge, by_key, self.dead)
        self.notes = [*torn, *torn_given, *misfits]
        if self.options.resumes and self.settings.dirty:
            self.notes.append(
                "resumed in a checkout with uncommitted changes: was the code the same?"
            )
        try:
            most = self.options.looks[-1]
            write_tables(self.options.results, self.judgements, most)
            summary = os.environ.get("GITHUB_STEP_SUMMARY")
            if summary:
                write_step_summary(Path(summary), self.options.budget, self.judgements, most)
        except OSError as error:
            self.notes.append(f"tables not written: {error.strerror}: {error.filename}")
        return all(judgement.verdict.passes for judgement in self.judgements)

    def _update_baselines(self, plan: Plan) -> bool:
        try:
            with FileLock(self.options.results.parent / ".baselines.lock"):
                whole = not (self.config.option.keyword or self.config.option.markexpr)
                gone = plan.vanished if whole and self.options.shard == (1, 1) else ()
                line = update_baselines(self.options.baselines, gone, self.judgements)
        except (UsageError, OSError) as error:
            self.notes.append(f"baselines not updated: {error}")
            return False
        self.notes.append(line)
        return True

    def _update_digests(self) -> bool:
        assert self.options.digest_cache
        try:
            write_digests(self.options.digest_cache, self.judgements)
        except (UsageError, OSError) as error:
            self.notes.append(f"digests not updated: {error}")
            return False
        self.notes.append(f"digests written to {self.options.digest_cache}")
        return True

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Print the table, and a line for whatever needs one."""
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.config.option.keyword:
            from stn_core.suite.matrix import unknown_words

            for line in unknown_words(self.config.option.keyword, self.options.datasets):
                terminalreporter.write_line(line)
        if self.config.option.collectonly and self.plan:
            terminalreporter.section(f"plan, budget {self.options.budget}")
            terminalreporter.write_line(plan_table(self.plan.cells, self.plan.rules, self.stored))
        if not self.judgements:
            return
        terminalreporter.section(f"comparison, budget {self.options.budget}")
        terminalreporter.write_line(comparison_table(self.judgements))
        terminalreporter.write_line("")
        counts = tally(self.judgements, self.options.looks[-1])
        for line in [*remarks(self.judgements), *self.notes, *counts]:
            terminalreporter.write_line(line)
        left = "tables" if self.options.from_records else "records and tables"
        terminalreporter.write_line(f"{left}: {self.options.results}")


def _cell_of(item: pytest.Item) -> Cell | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("cell") if callspec else None
