"""What a session is going to run: the matrix as test items, in the order in which they start."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from stn_core.errors import UsageError, needs_extra
from stn_core.gate.judge import Rules
from stn_core.gate.verdict import Judgement
from stn_core.report.results_table import remarks
from stn_core.session.cells import Cell
from stn_core.session.file_names import EMPTY_SHARD_FILE
from stn_core.session.user_modules import import_models
from stn_core.suite.checkout import git_failure
from stn_core.suite.session import (
    Plan,
    check_folder,
    check_resumed,
    describe_records,
    judge_untrained,
    read_plan,
    write_plan,
)
from stn_core.suite.state import SessionState

with needs_extra("suite"):
    from filelock import FileLock


class Planning:
    """The hooks that run before anything trains.

    Args:
        state: the session's; its plan is made here.
    """

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._announced = False

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize a test that takes `cell` over the matrix."""
        if "cell" not in metafunc.fixturenames:
            return
        from stn_core.models import model_info

        try:
            plan = self._state.plan = self._state.plan or self._plan_matrix()
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

        state, options = self._state, self._state.options
        if options.resumes:
            check_resumed(options.results, options, state.device.partition(":")[0])
        import_models(options.imports, state.config.invocation_params.dir)
        cells = matrix.plan_cells(options)
        device, data_hashes = self._device_and_data()
        _ = state.digests  # damaged ones are told now, like damaged baselines
        if not state.only_plans:
            state.claim_results()
            if not options.from_records:
                _ = state.engine  # it notes the settings of torch that every run starts from
        if options.resumes and not state.only_plans:
            check_folder(options.results)
        return Plan(
            cells=tuple(cells),
            rules=Rules(
                seeds=options.seeds,
                looks=options.looks,
                matrix_size=matrix.budget_matrix_size(cells, state.stored, options.budget),
                min_drop_points=options.min_drop_points,
                settles_identical=options.settles_identical,
                gates_speed=options.gates_speed,
                are_named=options.names_seeds,
            ),
            device=device,
            code=None if options.from_records else self._code(),
            data_hashes=data_hashes,
            vanished={} if options.is_search else matrix.vanished_cells(options, state.stored),
        )

    def _device_and_data(self) -> tuple[str, dict[str, str]]:
        """The type of device, and a hash by dataset; "" where no data are looked at."""
        state, options = self._state, self._state.options
        if options.from_records:
            return describe_records(*state.given_records, options)
        device = state.device.partition(":")[0]
        if state.only_plans:
            return device, dict.fromkeys(options.datasets, "")
        if options.update_baselines:
            self._check_checkout()
        return device, self._data_hashes()

    def _check_checkout(self) -> None:
        """See that new baselines can be traced to a commit, where there is one."""
        commit, dirty = self._state.checkout
        if dirty:
            raise UsageError(
                "--update-baselines: the checkout has uncommitted changes; commit them first,"
                " so that the values can be traced to a commit"
            )
        folder = self._state.config.rootpath
        if commit is None and (says := git_failure(folder)):
            raise UsageError(f"--update-baselines: git fails in {folder}: {says}")

    def _data_hashes(self) -> dict[str, str]:
        from stn_core.training.run_cell import cached_dataset

        options = self._state.options
        root, download, names = options.data_root, options.download, options.datasets
        if not (root and download):
            return {name: cached_dataset(name, root, download).hash for name in names}
        Path(root).mkdir(parents=True, exist_ok=True)
        with FileLock(Path(root) / ".download.lock"):  # xdist's workers fetch one after the other
            return {name: cached_dataset(name, root, download).hash for name in names}

    def _code(self) -> tuple[str, str | None, bool | None]:
        """The code that trains here; on --resume only its own records count."""
        return version("stn-core"), *self._state.checkout

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep this shard's cells; what fails untrained comes first, then what takes longest.

        So that no worker is left alone with a long cell at the end.
        """
        state = self._state
        if not state.plan:
            return
        from stn_core.suite.matrix import share

        device = state.plan.device
        mine = share(state.plan.cells, state.stored, device, state.options.shard)
        others = [item for item in items if (cell := _cell_of(item)) and cell not in mine]
        if others:
            items[:] = [item for item in items if item not in others]
            if not items and not state.only_plans:  # more shards than cells
                (state.options.results / EMPTY_SHARD_FILE).touch()
            config.hook.pytest_deselected(items=others)
        hopeless = {judgement.key for judgement in self._told_untrained()}

        def urgency(item: pytest.Item) -> tuple[bool, float]:
            cell = _cell_of(item)
            if cell is None:
                return False, 0.0
            return cell.key in hopeless, state.stored.expected_seconds(cell.key, device)

        items.sort(key=urgency, reverse=True)

    def _told_untrained(self) -> list[Judgement]:
        """The failures that are known before anything trains."""
        plan = self._state.plan
        if plan is None or self._state.only_plans:
            return []
        return judge_untrained(plan, self._state.judge)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what is going to run."""
        state = self._state
        selected = {cell for item in session.items if (cell := _cell_of(item))}
        if not state.plan:
            return
        cells = tuple(cell for cell in state.plan.cells if cell in selected)
        state.plan = replace(state.plan, cells=cells)
        if state.only_plans or not cells:
            return
        command = state.worker_input.get("mainargv", sys.argv)
        if not state.worker_input.get("stn_is_planned"):
            write_plan(state.options.results, state.plan, state.options, command)
        self._announce_failures()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Under xdist the first process learns the plan from the first worker that has one."""
        if not self._announced:
            self._state.plan = read_plan(self._state.options.results)
            self._announce_failures()

    def _announce_failures(self) -> None:
        self._announced = True
        self._state.tell(remarks(self._told_untrained()))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker what all of them must agree on, whenever it starts."""
        try:
            self._state.claim_results()
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        node.workerinput["stn_results"] = str(self._state.options.results)
        node.workerinput["stn_checkout"] = self._state.checkout
        node.workerinput["stn_is_planned"] = self._announced  # it replaces one that died


def _cell_of(item: pytest.Item) -> Cell | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("cell") if callspec else None
