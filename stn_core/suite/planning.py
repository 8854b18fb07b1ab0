"""What a session will run: the matrix as test items, in the order in which they start."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stn_core.errors import UsageError, needs_extra
from stn_core.gate.baselines import Baselines
from stn_core.gate.judgement import Judgement
from stn_core.gate.metrics import MIN_DROP_POINTS
from stn_core.gate.rules import Rules
from stn_core.report.session_words import remarks
from stn_core.session.budgets import get_budget
from stn_core.session.cells import Cell, split_key
from stn_core.session.file_names import EMPTY_SHARD_FILE
from stn_core.suite.checkout import git_failure
from stn_core.suite.command_line import CommandLine
from stn_core.suite.judging import describe_records, judge_untrained
from stn_core.suite.options import CORE_MARKER
from stn_core.suite.plan import Plan, check_folder, check_resumed, read_plan, write_plan
from stn_core.suite.session_options import SuiteOptions, import_users_modules

if TYPE_CHECKING:
    from stn_core.datasets import Dataset
    from stn_core.suite.context import SessionContext

with needs_extra("suite"):
    from filelock import FileLock


class Planning:
    """The hooks that run before anything trains.

    Args:
        context: the context of this process; its plan is made here.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._has_announced = False
        self._refusal = ""
        self._whole: set[str] = set()  # the budget's matrix

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Run a test once for each cell of the matrix."""
        context = self._context
        try:
            if not self._refusal:
                context.plan = context.plan or self._plan_matrix()
        except UsageError as error:
            # Once for all tests, because it may take a while.
            self._refusal = context.spell(str(error))
        plan = context.plan
        if plan is None:
            raise pytest.Collector.CollectError(self._refusal)
        from stn_core.models import model_info

        own_core = not any(line == CORE_MARKER for line in metafunc.config.getini("markers"))
        parameters = [
            pytest.param(
                cell,
                id=cell.id,
                marks=pytest.mark.core if model_info(cell.model).core and not own_core else (),
            )
            for cell in plan.cells
        ]
        metafunc.parametrize("cell", parameters, indirect=True)

    def _plan_matrix(self) -> Plan:
        """The whole matrix, with every check that needs no training."""
        from stn_core.suite import matrix

        context = self._context
        import_users_modules(context.config)
        options = context.options
        if options.resumes:
            check_resumed(options.results, options, context.device_type)
        cells, left_out = matrix.plan_cells(options)
        notes = [
            f"left out on {split_key(key).dataset}: {reason}" for key, reason in left_out.items()
        ]
        device, data_hashes = self._device_and_data(notes)
        notes += context.digest_cache[1]
        if not context.only_plans:
            context.claim_results()
            if not options.from_records:
                _ = context.engine  # which notes the settings of torch that every run starts from
        if options.resumes and not context.only_plans:
            check_folder(options.results)
        whole = self._whole = matrix.budget_matrix(cells, context.stored, options.budget)
        groups = matrix.cell_groups(whole)
        against, lacking = self._compared_commit(cells, notes)
        # Every shard judges the groups of its own cells.
        group_count = len(groups) * options.shard[1]
        rules = _rules(options, matrix_size=len(whole), group_count=group_count)
        if not options.update_baselines:
            rules.check_stored(context.stored, options.budget)
        return Plan(
            cells=tuple(cells),
            rules=rules,
            device=device,
            code=None if options.from_records else self._code(),
            data_hashes=data_hashes,
            vanished=(
                {}
                if options.is_search or against
                else matrix.vanished_cells(options, context.stored)
            ),
            notes=tuple(notes),
            left_out=left_out,
            groups=groups,
            against=options.against,
            against_commit=against,
            lacking=lacking,
        )

    def _compared_commit(
        self, cells: Sequence[Cell], notes: list[str]
    ) -> tuple[str, dict[str, str]]:
        """The commit to compare with, "" without one, and why it lacks cells.

        Args:
            cells: of the session.
            notes: gets a line about runs that the cache leaves out, and one about models that only
                the commit has.
        """
        context = self._context
        reference, options = context.reference, context.options
        if reference is None:
            return "", {}
        commit = reference.commit
        if context.only_plans:
            return commit, {}
        from stn_core.datasets import list_datasets
        from stn_core.models import list_models

        notes += reference.check_cache()
        registered = [name for name in options.datasets if name in list_datasets()]
        lacking = reference.engine.lacking(cells, registered)
        if gone := sorted(set(reference.engine.models) - set(list_models())):
            notes.append(f"models that only {options.against} has: {', '.join(gone)}")
        return commit, lacking

    def _device_and_data(self, notes: list[str]) -> tuple[str, dict[str, str]]:
        """The type of device, and a hash by dataset; "" if the data are not read.

        Args:
            notes: gets a line for each dataset made from a user's files.
        """
        context, options = self._context, self._context.options
        if options.from_records:
            return describe_records(*context.given_records, options)
        device = context.device_type
        if context.only_plans:
            return device, dict.fromkeys(options.datasets, "")
        if options.update_baselines:
            self._check_checkout()
        datasets = self._load_datasets()
        notes += [f"{one.name}: {one.notes}" for one in datasets.values() if one.notes]
        return device, {name: dataset.hash for name, dataset in datasets.items()}

    def _check_checkout(self) -> None:
        """Check that new baselines can be traced to a commit, if there is one."""
        commit, dirty = self._context.checkout
        if dirty:
            raise UsageError(
                "--update-baselines: the checkout has uncommitted changes; commit them first,"
                " so that the values can be traced to a commit"
            )
        folder = self._context.config.rootpath
        if commit is None and (says := git_failure(folder)):
            raise UsageError(f"--update-baselines: git fails in {folder}: {says}")

    def _load_datasets(self) -> dict[str, Dataset]:
        from stn_core.training.callbacks.base import reason_of
        from stn_core.training.run_cell import cached_dataset

        options = self._context.options
        root, size = options.data_root, options.image_size
        with contextlib.ExitStack() as held:
            if root and options.download:
                try:
                    Path(root).mkdir(parents=True, exist_ok=True)
                    # xdist's workers download one at a time.
                    held.enter_context(FileLock(Path(root) / ".download.lock"))
                except OSError as error:
                    line = f"--download: cannot write into {root}: {error.strerror}"
                    raise UsageError(line) from None
            datasets = {}
            for name in options.datasets:
                try:
                    datasets[name] = cached_dataset(name, root, options.download, size)
                except UsageError:
                    raise
                except Exception as error:  # whatever a user's function raises
                    raise UsageError(f"dataset {name!r}: {reason_of(error)}") from error
            return datasets

    def _code(self) -> tuple[str, str | None, bool | None]:
        """The code that trains here; with --resume only its own records count."""
        return version("stn-core"), *self._context.checkout

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep this shard's cells and sort them; every other test keeps its place."""
        context = self._context
        if not context.plan:
            return
        from stn_core.suite.matrix import share

        mine = share(context.plan.cells, context.stored, context.plan.device, context.options.shard)
        others = [item for item in items if (cell := cell_of(item)) and cell not in mine]
        if others:
            items[:] = [item for item in items if (cell := cell_of(item)) is None or cell in mine]
            if not items and not context.only_plans:  # more shards than cells
                (context.options.results / EMPTY_SHARD_FILE).touch()
            config.hook.pytest_deselected(items=others)
        if not CommandLine(config).keeps_order:
            self._order_cells(items)

    def _order_cells(self, items: list[pytest.Item]) -> None:
        """Cells that fail without training come first, then those that take longest.

        That way no worker is left alone with a long cell at the end. Baselines measured in a
        limited time start with the most useful ones.
        """
        context = self._context
        assert context.plan
        device = context.plan.device
        hopeless = {judgement.key for judgement in self._known_failures()}
        places = [place for place, item in enumerate(items) if cell_of(item)]

        fills = context.options.update_baselines and context.options.minutes

        def urgency(item: pytest.Item) -> tuple[bool, bool, float]:
            cell = cell_of(item)
            assert cell
            if fills:
                return _usefulness_of_baseline(cell, context.stored, device)
            seconds = context.stored.expected_seconds(cell.key, device)
            return cell.key in hopeless, False, seconds

        ordered = sorted((items[place] for place in places), key=urgency, reverse=True)
        for place, item in zip(places, ordered, strict=True):
            items[place] = item

    def _known_failures(self) -> list[Judgement]:
        """The failures that are known before training."""
        plan = self._context.plan
        if plan is None or self._context.only_plans:
            return []
        return judge_untrained(plan, self._context.judge)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what is going to run."""
        context = self._context
        if not context.plan:
            return
        from stn_core.suite.matrix import small_groups

        context.tests = {item.nodeid: cell for item in session.items if (cell := cell_of(item))}
        selected = set(context.tests.values())
        cells = tuple(cell for cell in context.plan.cells if cell in selected)
        plan = context.select(cells, notes=small_groups(cells, self._whole))
        if context.only_plans:
            return
        if not cells:
            context.tell(plan.notes)  # whose message may say why
            return

        def write() -> None:
            command = context.worker_input.get("mainargv", sys.argv)
            folder = context.options.results
            try:
                write_plan(folder, plan, context.options, command)
            except OSError as error:  # the disk is full, for example
                line = f"cannot write results to {folder}: {error.strerror}"
                pytest.exit(line, pytest.ExitCode.USAGE_ERROR)

        if context.agreement:
            tests = {test: cells.index(cell) for test, cell in context.tests.items()}
            context.agreement.note_tests(tests, write)
        else:
            write()
            context.has_written_plan = True
        self._announce(plan)
        context.watching.start()

    def learn_from_workers(self) -> None:
        """Under xdist the first process learns the plan from the first worker that has one."""
        context = self._context
        agreed = context.join_workers()
        if self._has_announced or not agreed or not agreed.tests:
            return
        plan = context.plan = read_plan(context.options.results)
        assert plan
        context.tests = {test: plan.cells[place] for test, place in agreed.tests.items()}
        self._announce(plan)
        context.watching.start()

    def _announce(self, plan: Plan) -> None:
        """Say once what is known before training."""
        self._has_announced = True
        context = self._context
        left_out = context.earlier[1] if context.options.resumes else []
        context.tell([*plan.notes, *left_out, *remarks(self._known_failures())])


def _rules(options: SuiteOptions, *, matrix_size: int, group_count: int) -> Rules:
    """The rules that the options ask for; a limit on the command line applies to every cell."""
    from stn_core.training.metrics import metric_info

    limit = options.min_drop_points
    return Rules(
        seeds=options.seeds,
        looks=options.looks,
        matrix_size=matrix_size,
        group_count=group_count,
        min_drop_points=MIN_DROP_POINTS if limit is None else limit,
        min_drops=get_budget(options.budget).min_drops if limit is None else {},
        must_detect_points=options.must_detect_points,
        metrics=tuple(map(metric_info, options.metrics)),
        settles_identical=options.settles_identical,
        gates_speed=options.gates_speed,
        are_named=options.names_seeds,
    )


def _usefulness_of_baseline(cell: Cell, stored: Baselines, device: str) -> tuple[bool, bool, float]:
    """How useful a cell's baseline is if there is no time for all of them, as a sort key.

    Cells without one come first, of these the core models', of these the cheap ones. A cell's cost
    may come from any device.
    """
    from stn_core.models import model_info

    is_new = stored.of(cell.key, device) is None
    runs = stored.cells[cell.key].runs if cell.key in stored.cells else ()
    seconds = sum(run.train_seconds for run in runs) / len(runs) if runs else math.inf
    return is_new, model_info(cell.model).core, -seconds


def cell_of(item: pytest.Item) -> Cell | None:
    """The cell that a test runs on, None for a test that takes none of ours."""
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec else None
    return cell if isinstance(cell, Cell) else None
