"""What the processes of a session agree on under xdist, where none knows the others."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stn_core.errors import needs_extra

if TYPE_CHECKING:
    from filelock import FileLock


@dataclass(frozen=True)
class Agreed:
    """What the first worker to plan decides for all.

    Args:
        results: the session's folder.
        made_parent: whether the folder around it was made too.
        commit, dirty: the checkout as the session found it.
        tests: by the id of each test of a cell, the cell's place in the plan; empty before the plan
            is written.
    """

    results: str
    made_parent: bool
    commit: str | None
    dirty: bool | None
    tests: dict[str, int] = field(default_factory=dict)


class Agreement:
    """A small file that exists as long as the session; if no process plans, nothing is written.

    Args:
        session_id: xdist's name of the session, the same in all of its processes.
    """

    def __init__(self, session_id: str) -> None:
        self._path = Path(tempfile.gettempdir()) / f"stn_core-{session_id}.json"

    @functools.cached_property
    def _lock(self) -> FileLock:
        with needs_extra("suite"):
            from filelock import FileLock

        return FileLock(self._path.with_suffix(".lock"))

    @property
    def exists(self) -> bool:
        """Whether a process has planned; asked in every project that uses xdist."""
        return self._path.exists()

    def read(self) -> Agreed | None:
        """What was agreed on, None if nothing has been yet."""
        if not self.exists:
            return None
        with self._lock:
            return Agreed(**json.loads(self._path.read_text(encoding="utf-8")))

    def decide(self, make: Callable[[], Agreed]) -> Agreed:
        """What was agreed on; the first caller decides it."""
        with self._lock:
            if not self.exists:
                self._write(make())
            return Agreed(**json.loads(self._path.read_text(encoding="utf-8")))

    def note_tests(self, tests: dict[str, int], write_plan: Callable[[], None]) -> None:
        """Write the plan, once, and note which test belongs to which of its cells."""
        with self._lock:
            agreed = Agreed(**json.loads(self._path.read_text(encoding="utf-8")))
            if not agreed.tests:
                write_plan()
                self._write(replace(agreed, tests=tests))

    def _write(self, agreed: Agreed) -> None:
        self._path.write_text(json.dumps(asdict(agreed)), encoding="utf-8")

    def discard(self) -> None:
        """Remove the file, after the last worker has ended."""
        for path in (self._path, self._path.with_suffix(".lock")):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
