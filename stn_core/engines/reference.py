"""Runs of another commit's code, computed by a process beside this one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.engines.base import Task
from stn_core.errors import UsageError
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord
from stn_core.training.run_cell import RunResult

_SCRIPT = Path(__file__).with_name("reference_process.py")


@dataclass(frozen=True)
class ReferenceCode:
    """Where the code of a commit is, and which of its modules to import.

    Args:
        revision: the commit, as the user named it.
        commit: its 40 digits.
        worktree: the folder of its files.
        path: folders in it that modules are imported from.
        modules, files: what registers models and datasets, by name and by path.
        own: names of modules that must come from the worktree.
    """

    revision: str
    commit: str
    worktree: Path
    path: tuple[str, ...]
    modules: tuple[str, ...]
    files: tuple[str, ...]
    own: tuple[str, ...]


class Reference:
    """Computes runs of another commit, one at a time, while the caller waits.

    Args:
        code: of the commit. Its process starts when it is first needed.
    """

    def __init__(self, code: ReferenceCode) -> None:
        self.code = code
        self._process: subprocess.Popen[str] | None = None
        self._is_closed = False
        self._models: list[str] = []

    @property
    def models(self) -> list[str]:
        """The names of the models that the commit has.

        Raises:
            UsageError: its code cannot be used.
        """
        self._start()
        return self._models

    def lacking(self, cells: Sequence[Cell], registered: Sequence[str]) -> dict[str, str]:
        """Why the commit lacks cells, by key; it has those that are left out.

        Args:
            cells: of the session.
            registered: those of its datasets that are registered here, and are no files.

        Raises:
            UsageError: its code cannot be used.
        """
        self._start()
        asked = [[cell.model, cell.dataset, cell.budget] for cell in cells]
        answer = self._ask({"lacking": {"cells": asked, "registered": list(registered)}})
        return {
            cells[int(place)].key: f"{self.code.revision} lacks it: {why}"
            for place, why in answer["lacking"].items()
        }

    def run(self, tasks: Iterable[Task]) -> Iterator[RunResult]:
        """Compute each task with the commit's code and recipe, without callbacks.

        Raises:
            UsageError: its code cannot be used, or its records have another format.
        """
        self._start()
        for task in tasks:
            settings = {**dataclasses.asdict(task.settings), "checkout": (self.code.commit, False)}
            cell = {name: getattr(task.cell, name) for name in ("model", "dataset", "budget")}
            run = {**cell, "seed": task.seed, "settings": settings}
            answer = self._ask({"run": run})
            try:
                yield RunResult(RunRecord.from_dict(answer["record"]))
            except UsageError as error:
                raise UsageError(
                    f"--against {self.code.revision}: its results have another format: {error}"
                ) from None

    def close(self) -> None:
        """End the process, also one that another thread is just starting; none starts again."""
        self._is_closed = True
        self._end()

    def _end(self) -> None:
        if self._process:
            assert self._process.stdin
            assert self._process.stdout
            with contextlib.suppress(OSError):  # a question that a dead process never read
                self._process.stdin.close()
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._log.close()
            self._process = None

    def _start(self) -> None:
        if self._process:
            return
        code = self.code
        inherited = os.environ.get("PYTHONPATH", "")
        path = os.pathsep.join([*code.path, *([inherited] if inherited else [])])
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=code.worktree,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
            encoding="utf-8",
        )
        if self._is_closed:  # meanwhile, by another thread
            self._end()
            raise UsageError(f"--against {code.revision}: the session has ended")
        start = {"worktree": str(code.worktree), "modules": code.modules}
        self._models = self._ask({"start": {**start, "files": code.files, "own": code.own}})[
            "models"
        ]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        is_whole = line.endswith("\n")  # a process that was killed may have written a part
        answer: dict[str, Any] = json.loads(line) if is_whole else {"error": self._last_words()}
        if "error" in answer:
            self._end()
            raise UsageError(f"--against {self.code.revision}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        """What the process wrote before it ended."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"the process that trains it ended{f': {lines[-1]}' if lines else ''}"


def run_side_by_side(
    code: ReferenceCode, tasks: Sequence[Task], processes: int
) -> Iterator[RunResult]:
    """Compute tasks in several processes of a commit's code, in the order in which they end.

    Args:
        code: of the commit.
        tasks: to compute, without callbacks.
        processes: how many at most, >= 1. They end with the last task.

    Raises:
        UsageError: its code cannot be used, or its records have another format.
    """
    engines = [Reference(code) for _ in range(min(processes, len(tasks)))]
    idle: queue.SimpleQueue[Reference] = queue.SimpleQueue()
    for engine in engines:
        idle.put(engine)

    def compute(task: Task) -> RunResult:
        engine = idle.get()
        try:
            (result,) = engine.run([task])
        finally:
            idle.put(engine)
        return result

    pool = ThreadPoolExecutor(max(len(engines), 1))
    try:
        for done in as_completed([pool.submit(compute, task) for task in tasks]):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for engine in engines:  # a thread that waits for a killed process gets no answer, and ends
            engine.close()
