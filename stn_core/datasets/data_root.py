"""Looking into the data folder: what it holds, or one line if it cannot be read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from stn_core.errors import UsageError, user_path

PASS_IT = "pass it as root=, with --data-root or as STN_DATA"
"""What to do if the data folder is missing or the wrong one, in Python and in the benchmarks."""


def data_folder(root: str | os.PathLike[str] | None) -> Path | None:
    """The data folder as a path, with ``~`` for the user's home."""
    return None if root is None else user_path(root)


def is_file(path: Path) -> bool:
    """Whether there is a file of that path.

    Raises:
        UsageError: a folder may not be read, or a name is too long.
    """
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether there is a folder of that path; raises as `is_file`."""
    return stat.S_ISDIR(_mode(path))


def entries(folder: Path) -> list[Path]:
    """The entries of a folder, without hidden ones.

    Raises:
        UsageError: the folder may not be read.
    """
    try:
        return [each for each in folder.iterdir() if not is_hidden(each.name)]
    except OSError as error:
        raise cannot_be_read(folder, error) from error


def is_hidden(name: str) -> bool:
    """Whether a file is hidden or left by the operating system: .DS_Store, ._1.png, __MACOSX."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db")


def unread(folder: Path, read: Sequence[Path]) -> tuple[str, ...]:
    """What was not read in a dataset's folder and in those of its subfolders that were.

    Args:
        folder: the dataset's.
        read: files in it, at any depth.

    Returns:
        Paths relative to the folder, sorted.
    """
    opened = {folder, *(parent for path in read for parent in path.parents)}
    known = {*read, *opened}
    return tuple(
        sorted(
            str(each.relative_to(folder))
            for place in opened
            if place.is_relative_to(folder)
            for each in entries(place)
            if each not in known
        )
    )


def state_of(root: Path) -> str:
    """What changes whenever a file below the data root is added, removed or written: a hash.

    Paths, sizes and modification times decide it, so a change of the content alone is not noticed
    if it keeps both. Links to folders are followed; what cannot be looked into is left out.
    """
    digest = hashlib.sha256(os.fsencode(root.absolute()))
    seen: set[Path] = set()
    for folder, inner, files in os.walk(root, followlinks=True):
        place = Path(folder).resolve()
        if place in seen:  # a link to a folder that it lies in
            inner.clear()
            continue
        seen.add(place)
        inner.sort()
        for name in sorted(files):
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                state = path.stat()
                digest.update(os.fsencode(path))
                digest.update(f" {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def cannot_be_read(path: Path, error: OSError) -> UsageError:
    """The error for a file that is there, but not to be read."""
    return UsageError(f"{path} cannot be read: {error.strerror or error}")


def _mode(path: Path) -> int:
    """The kind of what is there; 0 where nothing is."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: no name of a file
        return 0
    except OSError as error:
        raise cannot_be_read(path, error) from error
