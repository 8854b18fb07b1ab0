"""What one pytest process knows about its session; everything is looked up once."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stn_core.errors import is_missing, printable
from stn_core.gate.against import AgainstJudge
from stn_core.gate.baselines import Baselines, read_baselines
from stn_core.gate.digests import PassedSession, known_digests, read_digests
from stn_core.gate.judge import Judge
from stn_core.session.file_names import EVIDENCE_FILE, lock_of
from stn_core.session.folder import claim_folder, discard_locks, hold_folder, hold_if_free
from stn_core.session.records import RunRecord
from stn_core.session.store import SessionStore, read_for_judging
from stn_core.suite.agreement import Agreed, Agreement
from stn_core.suite.checkout import describe_checkout
from stn_core.suite.command_line import XDIST_SESSION, CommandLine
from stn_core.suite.judging import fitting_records
from stn_core.suite.live_line import begin_line
from stn_core.suite.plan import Plan
from stn_core.suite.session_options import SuiteOptions, read_options
from stn_core.suite.spelling import respelled

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from stn_core.engines import Engine
    from stn_core.session.cells import Cell
    from stn_core.suite.planning import Planning
    from stn_core.suite.reference_side import ReferenceSide
    from stn_core.suite.reporting import Reporting
    from stn_core.suite.stopping import Stopping
    from stn_core.suite.time_limit import TimeLimit
    from stn_core.suite.trainer import Trainer
    from stn_core.suite.turns import Turns
    from stn_core.suite.watching import Watching
    from stn_core.training.run_cell import RunSettings

_HELD: list[BaseFileLock] = []
"""Locks that last as long as this process: one that nothing refers to is released."""

_TRAINS_NOTHING = ("collectonly", "showfixtures", "show_fixtures_per_test", "setuponly")
"""pytest's options that run no test; --setup-plan implies the last one."""


class SessionContext:
    """What the hooks of one pytest process share.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.plan: Plan | None = None
        self.tests: dict[str, Cell] = {}
        self.has_written_plan = self.made_folder = self.made_parent = False
        self._lock: BaseFileLock | None = None
        self._engine_is_closed = False

    @functools.cached_property
    def planning(self) -> Planning:
        """The hooks that run before anything trains."""
        from stn_core.suite.planning import Planning

        return Planning(self)

    @functools.cached_property
    def reporting(self) -> Reporting:
        """The hooks that run as cells end, and after the last one."""
        from stn_core.suite.reporting import Reporting

        return Reporting(self)

    @functools.cached_property
    def turns(self) -> Turns:
        """The hooks that choose which test runs next."""
        from stn_core.suite.turns import Turns

        return Turns(self)

    @functools.cached_property
    def watching(self) -> Watching:
        """The hooks that show how far the session is."""
        from stn_core.suite.watching import Watching

        return Watching(self)

    @functools.cached_property
    def stopping(self) -> Stopping:
        """The hooks that end a session, and its workers, when it is told to stop."""
        from stn_core.suite.stopping import Stopping

        return Stopping(self.config)

    @functools.cached_property
    def trainer(self) -> Trainer:
        """What trains and judges the cells of this process."""
        from stn_core.suite.trainer import Trainer

        return Trainer(self)

    @functools.cached_property
    def options(self) -> SuiteOptions:
        """What the session was asked to do."""
        return read_options(self.config)

    def spell(self, text: str) -> str:
        """A message whose options are spelled as the session offers them."""
        return respelled(text, self.config)

    @property
    def is_worker(self) -> bool:
        """Whether this process is one of xdist's workers."""
        return bool(self.worker_input)

    @property
    def worker_input(self) -> dict[str, Any]:
        """What xdist's first process passes to its workers; empty in the first process."""
        given: dict[str, Any] = getattr(self.config, "workerinput", {})
        return given

    @property
    def only_plans(self) -> bool:
        """Whether nothing is to be trained, judged or written."""
        return any(self.config.getoption(name, None) for name in _TRAINS_NOTHING)

    @functools.cached_property
    def agreement(self) -> Agreement | None:
        """What xdist's processes agree on, None if there is only one process."""
        in_first_process = self.config.stash.get(XDIST_SESSION, None)
        name = self.worker_input.get("testrunuid", in_first_process)
        return Agreement(name) if name else None

    def claim_results(self) -> None:
        """Make the folder that only this session writes into, once for all its processes, and hold
        it; under xdist, the worker that decides does. Before that, its name is only a proposal:
        another session of the same second may take it.

        Raises:
            UsageError: it cannot be made, or another session is running in the one to resume.
        """
        if self.agreement:
            self._adopt(self.agreement.decide(self._decide))
        elif self._lock is None:
            self._adopt(self._decide())

    def keep_results_held(self) -> None:
        """Hold the folder in place of the worker that did, if that has died."""
        if self.is_worker and self._lock is None:
            self._lock = hold_if_free(self.options.results)

    def release_results(self) -> None:
        """Release the folder, so that the session can be resumed, and the compared commit.

        A worker's tests may be over long before those of others. So it holds the folder until its
        process ends, which xdist keeps until the session is judged.
        """
        if "options" in vars(self) and self.reference:
            self.reference.close()
        if self.made_folder and not self.is_worker:  # whose workers have ended
            discard_locks(self.options.results)
        if self._lock and self.is_worker:
            _HELD.append(self._lock)
        elif self._lock:
            self._lock.release()

    def _decide(self) -> Agreed:
        proposed = self.options.results
        made_parent = not proposed.parent.exists()
        commit, dirty = self.checkout
        results = proposed if self.options.resumes else claim_folder(proposed)
        self._lock = hold_folder(results)
        return Agreed(str(results), made_parent, commit, dirty)

    def _adopt(self, agreed: Agreed) -> None:
        self.options = replace(self.options, results=Path(agreed.results))
        self.checkout = agreed.commit, agreed.dirty
        self.made_folder = not self.options.resumes
        self.made_parent = agreed.made_parent
        self.has_written_plan = bool(agreed.tests)

    def join_workers(self) -> Agreed | None:
        """Take over what the workers agreed on; None until they have."""
        agreed = self.agreement.read() if self.agreement else None
        if agreed:
            self._adopt(agreed)
        return agreed

    def tell(self, lines: Iterable[str]) -> None:
        """Write lines between pytest's own; a worker has no terminal."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if self.is_worker or terminal is None:
            return
        for line in lines:
            begin_line(terminal)
            terminal.write_line("\n".join(map(printable, self.spell(line).split("\n"))))

    @property
    def store(self) -> SessionStore:
        """What the session keeps, in the folder that it has claimed."""
        return SessionStore(self.options.results, self.options.from_records)

    @functools.cached_property
    def checkout(self) -> tuple[str | None, bool | None]:
        """The commit and the dirty flag at the start of the session; its own files change neither.

        A worker that replaces one that died may find a core file, so it uses the flag that was
        agreed on.
        """
        options = self.options
        evidence = options.baselines.with_name(EVIDENCE_FILE)
        written = [options.baselines, lock_of(options.baselines), options.results.parent]
        written += [evidence, lock_of(evidence), *filter(None, [options.against_cache])]
        if options.digest_cache:
            written += [options.digest_cache, lock_of(options.digest_cache)]
        return describe_checkout(self.config.rootpath, written)

    @functools.cached_property
    def stored(self) -> Baselines:
        """What the baselines file holds; nothing if there is none yet."""
        path = self.options.baselines
        return Baselines({}, {}) if is_missing(path) else read_baselines(path)

    @functools.cached_property
    def digest_cache(self) -> tuple[list[PassedSession], list[str]]:
        """What the digest cache holds, and a sentence if it is of an older version."""
        cache = self.options.digest_cache
        return read_digests(cache) if cache else ([], [])

    def select(self, cells: tuple[Cell, ...], notes: Iterable[str]) -> Plan:
        """The plan of these cells alone, in place of the whole matrix, with notes about them."""
        assert self.plan
        self.plan = replace(self.plan, cells=cells, notes=(*self.plan.notes, *notes))
        vars(self).pop("judge", None)  # which digests it knows depends on the cells
        return self.plan

    @functools.cached_property
    def reference(self) -> ReferenceSide | None:
        """The commit to compare with, None if baselines are used."""
        if not self.options.against:
            return None
        from stn_core.suite.reference_side import ReferenceSide

        return ReferenceSide(self)

    @functools.cached_property
    def judge(self) -> Judge:
        """The judge of the plan; a session that updates baselines ignores the old values."""
        plan, options = self.plan, self.options
        assert plan
        stored = Baselines({}, {}) if options.update_baselines else self.stored
        judged = [cell.key for cell in plan.cells if stored.of(cell.key, plan.device)]
        if self.reference:
            if options.resumes:
                self.reference.read(only_good=True)
            # A remembered digest need not be that of a stored run, so none is used.
            return AgainstJudge(
                plan.rules,
                stored,
                options.budget,
                plan.device,
                revision=plan.against,
                references=self.reference.records,
                lacking=plan.lacking,
            )
        digests = known_digests(self.digest_cache[0], plan.rules.in_words, judged)
        return Judge(plan.rules, stored, options.budget, plan.device, digests)

    @functools.cached_property
    def device(self) -> str:
        """Where runs are computed: "cpu", "cuda:1"; on other machines only the type counts."""
        from stn_core.suite.engine_choice import choose_device

        return choose_device(self)

    @property
    def device_type(self) -> str:
        """The type of that device: "cpu" or "cuda"."""
        return self.device.partition(":")[0]

    @functools.cached_property
    def settings(self) -> RunSettings:
        """Where this process trains, and from which commit."""
        from stn_core.training.run_cell import RunSettings

        options = self.options
        return RunSettings(
            device=self.device,
            threads=options.threads,
            data_root=options.data_root,
            download=options.download,
            image_size=options.image_size,
            final=options.final,
            checkout=self.checkout,
            metrics=options.metrics,
        )

    def settings_of(self, place: int) -> RunSettings:
        """The settings of one of several runs that the first process has computed at once.

        Args:
            place: of the run among them; they take the cards in turn, as xdist's workers do.
        """
        from stn_core.training.devices import resolve_device

        return replace(self.settings, device=str(resolve_device(self.options.device, place)))

    @functools.cached_property
    def time_limit(self) -> TimeLimit | None:
        """Which runs may still start, None if all may."""
        if self.options.minutes is None:
            return None
        from stn_core.suite.time_limit import TimeLimit

        assert self.plan
        device = self.plan.device
        return TimeLimit(
            CommandLine(self.config).start_time,
            self.options.minutes,
            lambda key: self.stored.expected_seconds(key, device),
        )

    @functools.cached_property
    def engine(self) -> Engine:
        """The engine; made once the user's modules are imported.

        Raises:
            UsageError: the cluster cannot be joined.
        """
        from stn_core.suite.engine_choice import choose_engine

        return choose_engine(self)

    @property
    def workers(self) -> int:
        """How many runs the session computes at once."""
        if self.has_engine:
            return self.engine.workers
        return CommandLine(self.config).workers

    @property
    def has_engine(self) -> bool:
        """Whether this process trains and knows its device."""
        return "engine" in vars(self)

    def close_engine(self) -> None:
        """Release what the engine holds, once, after the session's last run."""
        if self.has_engine and not self._engine_is_closed:
            self._engine_is_closed = True
            self.engine.close()

    @functools.cached_property
    def given_records(self) -> tuple[list[RunRecord], list[str]]:
        """What --from-records names, and what could not be read of it."""
        return read_for_judging(self.options.from_records)

    @property
    def earlier_records(self) -> dict[str, list[RunRecord]]:
        """By cell, the records that exist before anything is trained."""
        return self.earlier[0]

    @functools.cached_property
    def earlier(self) -> tuple[dict[str, list[RunRecord]], list[str]]:
        """`earlier_records`, and messages about those that do not count."""
        assert self.plan
        records = self.given_records[0]
        if self.options.resumes:
            written = self.store.own_records()[0]
            records = [record for record in written if record.status == "ok"]
        return fitting_records(self.plan, self.judge, records)
