"""A session's folder: made for one session, in use by one at a time, and in order among the others.

The order does not depend on times, since clocks are set back, and files are copied and touched:
the plan of each session has a number, one more than the highest of the sessions beside it.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stn_core.atomic_files import is_unfinished
from stn_core.errors import UsageError, check_regular, needs_extra
from stn_core.session.beats import discard_beats
from stn_core.session.file_names import BEATS_FOLDER, LOCK_FILE, PLAN_FILE, RECORDS_FILE

if TYPE_CHECKING:
    from filelock import BaseFileLock


def claim_folder(folder: Path) -> Path:
    """Make a session's folder, under a name that no other session has.

    Args:
        folder: its name; if that is taken, a number is added: "_2", "_3" …

    Raises:
        UsageError: it cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for claimed in _names(folder):
            with contextlib.suppress(FileExistsError):  # the process that makes it has it
                claimed.mkdir(parents=True)
                break
    except OSError as error:
        raise UsageError(f"cannot write results to {folder}: {error.strerror}") from None
    return claimed


def _names(folder: Path) -> Iterator[Path]:
    yield folder
    yield from (folder.with_name(f"{folder.name}_{number}") for number in itertools.count(2))


def hold_folder(folder: Path) -> BaseFileLock:
    """Keep a folder for the session of this process, until the lock is released or it ends.

    Half-written files of a killed session are removed, and so is its progress.

    Raises:
        UsageError: another session is running in it, or it cannot be written to.
    """
    with needs_extra("suite"):
        from filelock import FileLock, Timeout
    lock = FileLock(folder / LOCK_FILE)
    try:
        if not folder.is_dir():
            raise UsageError(f"there is no results folder {folder}")
        lock.acquire(blocking=False)
        for left in folder.rglob("*.tmp"):
            if is_unfinished(left.name):
                left.unlink(missing_ok=True)
        discard_beats(folder / BEATS_FOLDER)
    except Timeout:
        raise UsageError(
            f"{folder}: another session is running in it; wait for its end, or stop it"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot write results to {folder}: {error.strerror}") from None
    return lock


def hold_if_free(folder: Path) -> BaseFileLock | None:
    """Hold a folder of a running session whose process that held it has died.

    Returns:
        None if a process still holds it, or it cannot be held.
    """
    with needs_extra("suite"):
        from filelock import FileLock, Timeout
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return None
    return lock


def discard_locks(folder: Path) -> None:
    """Remove the hidden locks by which a session's processes took turns, once they have ended.

    Args:
        folder: of the session.
    """
    for lock in folder.glob(".*.lock"):
        with contextlib.suppress(OSError):  # a lock that stays is only untidy
            lock.unlink()


def discard_folder(folder: Path, *, with_parent: bool) -> None:
    """Remove the folder of a session in which nothing was selected.

    Args:
        folder: of the session.
        with_parent: also remove the folder of all sessions.
    """
    with contextlib.suppress(OSError):  # it has other files
        if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
        folder.rmdir()
        if with_parent:
            folder.parent.rmdir()


def session_folders(results: Path) -> list[Path]:
    """The folders of sessions in a folder of results, the last one that ran first.

    Args:
        results: has the dated folders; it need not exist.
    """
    folders = {
        file.parent for name in (PLAN_FILE, RECORDS_FILE) for file in results.glob(f"*/{name}")
    }
    return sorted(folders, key=_order, reverse=True)


def next_number(results: Path) -> int:
    """The number of a session that begins or is resumed: above those of all sessions beside it."""
    return 1 + max(map(_number, session_folders(results)), default=0)


def _order(folder: Path) -> tuple[int, str, int]:
    """A sort key: the number in the plan, then the date, then the suffix ("_10" after "_9")."""
    name, separator, last = folder.name.rpartition("_")
    is_counted = bool(separator) and last.isdecimal() and last.isascii()
    return _number(folder), name if is_counted else folder.name, int(last) if is_counted else 1


def _number(folder: Path) -> int:
    """The number in a session's plan, 0 if it has none."""
    try:
        check_regular(folder / PLAN_FILE)
        with (folder / PLAN_FILE).open("rb") as file:
            found = re.match(rb'\s*\{\s*"number":\s*(\d{1,15}),', file.read(100))
    except (OSError, UsageError):
        return 0
    return int(found[1]) if found else 0
