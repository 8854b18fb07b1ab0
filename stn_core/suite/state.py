"""What a running session knows: what was asked, planned and stored, each looked up once."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stn_core.gate.baselines import Baselines, read_baselines
from stn_core.gate.digests import Digests, read_digests
from stn_core.gate.judge import Judge
from stn_core.session.file_names import RECORDS_FILE, lock_of
from stn_core.session.folder import claim_folder
from stn_core.session.records import RunRecord
from stn_core.suite.checkout import describe_checkout
from stn_core.suite.options import SuiteOptions
from stn_core.suite.session import Plan, fitting_records, read_all

if TYPE_CHECKING:
    from stn_core.engines import Engine
    from stn_core.training.run_cell import RunSettings


def worker_number(worker_input: Mapping[str, Any]) -> int:
    """Which of xdist's workers a process is, from what xdist tells it; 0 where there are none."""
    return int(worker_input.get("workerid", "gw0").removeprefix("gw"))


class SessionState:
    """What the hooks of one pytest process share.

    Args:
        config: pytest's.
        options: what the session was asked to do.
    """

    def __init__(self, config: pytest.Config, options: SuiteOptions) -> None:
        self.config = config
        self.options = options
        self.plan: Plan | None = None
        self.has_folder = self.is_worker or options.resumes
        self.made_parent = False

    @property
    def is_worker(self) -> bool:
        """Whether this process is one of xdist's workers."""
        return bool(self.worker_input)

    @property
    def worker_input(self) -> dict[str, Any]:
        """What xdist's first process tells its workers; empty in the first process."""
        given: dict[str, Any] = getattr(self.config, "workerinput", {})
        return given

    @property
    def only_plans(self) -> bool:
        """Whether nothing is to be trained, judged or written."""
        collects_only: bool = self.config.option.collectonly
        return collects_only

    def claim_results(self) -> None:
        """Make the folder that no other session writes into, once; a worker is told which it is.

        Until then its name is only proposed: another session of the same second may take it.

        Raises:
            UsageError: it cannot be made.
        """
        proposed = self.options.results
        if self.has_folder:
            return
        self.made_parent = not proposed.parent.exists()
        self.options = replace(self.options, results=claim_folder(proposed))
        self.has_folder = True

    def tell(self, lines: Iterable[str]) -> None:
        """Write lines among pytest's own; a worker has nobody to tell."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if self.is_worker or terminal is None:
            return
        for line in lines:
            terminal.ensure_newline()
            terminal.write_line(line)

    @functools.cached_property
    def checkout(self) -> tuple[str | None, bool | None]:
        """Commit and dirty flag as the session found them; what it leaves there changes neither.

        A worker that starts late, in place of one that died, may find a core file.
        """
        told: tuple[str | None, bool | None] | None = self.worker_input.get("stn_checkout")
        if told:
            return told
        options = self.options
        written = [options.baselines, lock_of(options.baselines), options.results.parent]
        if options.digest_cache:
            written.append(options.digest_cache)
        return describe_checkout(self.config.rootpath, written)

    @functools.cached_property
    def stored(self) -> Baselines:
        """What the baselines file holds; nothing where there is none yet."""
        path = self.options.baselines
        return read_baselines(path) if path.exists() else Baselines({}, {})

    @functools.cached_property
    def digests(self) -> Digests:
        """What the digest cache holds."""
        cache = self.options.digest_cache
        return read_digests(cache) if cache else {}

    @functools.cached_property
    def judge(self) -> Judge:
        """The judge of the plan; a session that measures anew is not held against old values."""
        assert self.plan
        return Judge(
            self.plan.rules,
            Baselines({}, {}) if self.options.update_baselines else self.stored,
            self.options.budget,
            self.plan.device,
            self.digests,
        )

    @functools.cached_property
    def device(self) -> str:
        """Where this process trains: "cpu", "cuda:1"."""
        from stn_core.training.devices import resolve_device

        return str(resolve_device(self.options.device, worker_number(self.worker_input)))

    @functools.cached_property
    def settings(self) -> RunSettings:
        """Where this process trains, and from which commit."""
        from stn_core.training.run_cell import RunSettings

        options = self.options
        commit, dirty = self.checkout
        return RunSettings(
            device=self.device,
            threads=options.threads,
            data_root=options.data_root,
            download=options.download,
            final=options.final,
            commit=commit,
            dirty=dirty,
        )

    @functools.cached_property
    def engine(self) -> Engine:
        """What computes runs; made once the modules of one's own are imported."""
        from stn_core.engines import InProcess

        return InProcess()

    @functools.cached_property
    def given_records(self) -> tuple[list[RunRecord], list[str]]:
        """What --from-records names, and what could not be read of it."""
        return read_all(self.options.from_records)

    @functools.cached_property
    def earlier_records(self) -> dict[str, list[RunRecord]]:
        """By cell, the records that stand before anything is trained."""
        assert self.plan
        records = self.given_records[0]
        if self.options.resumes:
            written = read_all([self.options.results / RECORDS_FILE])[0]
            records = [record for record in written if record.status == "ok"]
        return fitting_records(self.plan, self.judge, records)[0]
