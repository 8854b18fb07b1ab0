"""The other side of a comparison: the commit's runs are trained, kept and read again."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stn_core.errors import TooOldError, UsageError
from stn_core.report.text_table import counted
from stn_core.schema import NotJsonError
from stn_core.session.answers import answers_like_the_last
from stn_core.session.cells import Cell
from stn_core.session.file_names import RECORDS_FILE, REFERENCE_FILE
from stn_core.session.records import RunRecord, append_record, read_records, record_lines

if TYPE_CHECKING:
    from stn_core.engines import Task
    from stn_core.engines.reference import Reference
    from stn_core.suite.context import SessionContext
    from stn_core.suite.session_options import SuiteOptions
    from stn_core.training.run_cell import RunResult

_Place = tuple[str, int, str, str, str]
"""Cell, seed, environment, data and version of stn_core, which decide a commit's run."""


class ReferenceSide:
    """The runs of the commit to compare with, in one process of the session.

    Args:
        context: the context of this process; its options name a commit.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self.records: dict[str, list[RunRecord]] = {}
        """The commit's runs by cell; the judge holds the same object."""
        self._engine: Reference | None = None

    @functools.cached_property
    def commit(self) -> str:
        """Its 40 digits.

        Raises:
            UsageError: there is no such commit.
        """
        from stn_core.suite.worktree import find_commit

        return find_commit(self._context.config.rootpath, self._context.options.against)

    @property
    def _file(self) -> Path:
        return self._context.options.results / REFERENCE_FILE

    @property
    def engine(self) -> Reference:
        """The engine of the commit's code; its files are checked out on first use."""
        if self._engine is None:
            from stn_core.engines.reference import Reference
            from stn_core.suite.command_line import CommandLine
            from stn_core.suite.session_options import import_users_modules
            from stn_core.suite.worktree import (
                add_worktree,
                reference_code,
                repository_of,
                worktree_of,
            )

            context = self._context
            import_users_modules(context.config)  # xdist's first process has done without them
            repository = repository_of(context.config.rootpath)
            worktree = worktree_of(context.options.results, self.commit)
            add_worktree(repository, worktree, self.commit)
            folder = CommandLine(context.config).folder("import")
            code = reference_code(
                context.options.against,
                self.commit,
                worktree,
                repository,
                context.options.imports,
                folder,
            )
            self._engine = Reference(code)
        return self._engine

    def close(self) -> None:
        """End the commit's process; the session's first process also removes the commit's files."""
        from stn_core.suite.worktree import remove_worktree, repository_of, worktree_of

        if self._engine:
            self._engine.close()
        context = self._context
        if context.is_worker:
            return
        with contextlib.suppress(UsageError):  # there is no such commit
            worktree = worktree_of(context.options.results, self.commit)
            if worktree.exists():  # its workers may have made it, and then found no test to run
                remove_worktree(repository_of(context.config.rootpath), worktree)

    def read(self, *, only_good: bool = False) -> None:
        """Read again what all processes of the session have stored so far.

        Args:
            only_good: leave out runs that failed, so that they run again.
        """
        stored = read_records(self._file, with_details=False)[0]
        own = [
            record
            for record in stored
            if record.environment.commit == self.commit
            and (record.status == "ok" or not only_good)
            and self._is_of_today(record)
        ]
        self.records.update(answers_like_the_last(own)[0])

    def _is_of_today(self, record: RunRecord) -> bool:
        """Whether a run, perhaps from before the session was resumed, can be compared with others.

        What a new stn_core, or data that were changed meanwhile, do to a run is not what the
        session's code does.
        """
        plan = self._context.plan
        data_hash = plan.data_hashes.get(record.dataset) if plan else ""
        return (
            record.environment.stn_core == self._version
            and (data_hash or record.data_hash) == record.data_hash
        )

    def runs_to_train(self, cell: Cell, seeds: Sequence[int]) -> int:
        """How many of a cell's seeds are not in the cache."""
        return sum(self._place(cell, seed) not in self._cached[0] for seed in seeds)

    def train(self, runs: Sequence[tuple[Cell, int]], processes: int = 1) -> Iterator[RunRecord]:
        """Run cells' seeds with the commit's code, or take them from the cache.

        Args:
            runs: cells, each with a seed.
            processes: how many to train in, >= 1; one is kept for the next runs.

        Raises:
            OSError: a record cannot be kept.
            UsageError: the commit's code cannot be used.
        """
        from stn_core.engines import Task

        context = self._context
        tasks: list[Task] = []
        for cell, seed in runs:
            cached = self._cached[0].get(self._place(cell, seed))
            if cached:  # its times are from another day
                yield self._kept(replace(cached, train_seconds=0.0, images_per_second=0.0))
            else:
                settings = context.settings_of(len(tasks)) if processes > 1 else context.settings
                tasks.append(Task(cell, seed, settings))
        for result in self._computed(tasks, processes):
            record = result.record
            if self._cache_file and record.status == "ok":  # memory may have run out only now
                self._cache_file.parent.mkdir(parents=True, exist_ok=True)
                append_record(self._cache_file, record)
            yield self._kept(record)

    def _computed(self, tasks: Sequence[Task], processes: int) -> Iterator[RunResult]:
        if min(processes, len(tasks)) <= 1:
            return self.engine.run(tasks) if tasks else iter(())
        from stn_core.engines.reference import Reference, run_side_by_side

        code = self.engine.code
        self.engine.close()  # its memory is for the others
        self._engine = Reference(code)  # a closed one starts no other process
        return run_side_by_side(code, tasks, processes)

    def _kept(self, record: RunRecord) -> RunRecord:
        append_record(self._file, record)
        self.records.setdefault(record.key, []).append(record)
        return record

    @property
    def _cache_file(self) -> Path | None:
        """The file of the runs of which the session's metrics were requested."""
        options = self._context.options
        if not options.against_cache:
            return None
        return _cache_file(options.against_cache, self.commit, options.metrics)

    def _place(self, cell: Cell, seed: int) -> _Place:
        plan = self._context.plan
        assert plan
        data_hash = plan.data_hashes[cell.dataset]
        return cell.key, seed, self._environment_key, data_hash, self._version

    @functools.cached_property
    def _version(self) -> str:
        from importlib.metadata import version

        return version("stn-core")

    @functools.cached_property
    def _environment_key(self) -> str:
        import torch

        from stn_core.training.environment import describe_environment

        settings = self._context.settings
        device = torch.device(settings.device)
        return describe_environment(device, settings.threads, None, None).key()

    def check_cache(self) -> list[str]:
        """Check that the cache can be read, and say what it leaves out.

        Raises:
            UsageError: it is damaged, or of a newer version.
        """
        return self._cached[1]

    @functools.cached_property
    def _cached(self) -> tuple[dict[_Place, RunRecord], list[str]]:
        """The commit's runs in the cache, and a sentence if some are of an older version.

        Those count as missing, as do a line that a killed session left incomplete, and a run that
        was not asked for one of the session's metrics.
        """
        own = self._cache_file
        found: dict[_Place, RunRecord] = {}
        notes = []
        asked = set(self._context.options.metrics)
        for file in sorted(own.parent.glob(f"{self.commit}*.jsonl")) if own else ():
            records, older = self._read_cache(file)
            if older:
                runs = counted(older, "run")
                notes.append(f"{file}: {runs} of an older version, left out")
            for record in records:
                if file == own or asked <= record.metrics.keys():
                    found[_place_of(record)] = record
        return found, notes

    def _read_cache(self, file: Path) -> tuple[list[RunRecord], int]:
        """The commit's good runs in a file, and how many are of an older version."""
        found = []
        older = 0
        try:
            for line in record_lines(file):
                if isinstance(line, TooOldError):
                    older += 1
                elif isinstance(line, NotJsonError):
                    continue
                elif isinstance(line, UsageError):
                    raise UsageError(f"--against-cache: {line}; delete the file")
                elif line.environment.commit == self.commit and line.status == "ok":
                    found.append(line)
        except OSError as error:
            raise UsageError(f"--against-cache: {error.strerror}: {file}") from None
        return found, older


def _cache_file(folder: Path, commit: str, metrics: Iterable[str]) -> Path:
    """The file of a commit's runs of which these metrics were requested.

    A run may lack one: the commit does not know it, or the model has no value of it. Only the name
    of the file says which were requested.
    """
    asked = ",".join(sorted(set(metrics)))
    suffix = f"-{hashlib.sha256(asked.encode()).hexdigest()[:12]}" if asked else ""
    return folder / f"{commit}{suffix}.jsonl"


def keep_for_comparisons(options: SuiteOptions) -> list[str]:
    """Keep a session's runs where a later comparison with their commit looks for them.

    Runs of uncommitted code belong to no commit, and those with an overridden recipe are not
    compared.

    Args:
        options: of the session, which name a cache.

    Returns:
        A sentence if they cannot be kept.
    """
    assert options.against_cache
    kept: dict[Path, set[_Place]] = {}
    try:
        for record in read_records(options.results / RECORDS_FILE)[0]:
            commit, is_clean = record.environment.commit, record.environment.dirty is False
            if not (commit and is_clean) or record.is_search or record.status != "ok":
                continue
            file = _cache_file(options.against_cache, commit, options.metrics)
            if file not in kept:
                file.parent.mkdir(parents=True, exist_ok=True)
                kept[file] = set(map(_place_of, read_records(file, with_details=False)[0]))
            if _place_of(record) not in kept[file]:
                append_record(file, record)
    except (OSError, UsageError) as error:
        return [f"--against-cache: runs not kept: {error}"]
    return []


def _place_of(record: RunRecord) -> _Place:
    place = record.environment
    return record.key, record.seed, place.key(), record.data_hash, place.stn_core
