"""Files written in one piece: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import glob
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNFINISHED = re.compile(r".+\.[0-9a-f]{32}\.tmp")


def encoded(text: str) -> bytes:
    """A text as UTF-8; half of a surrogate pair, which no encoding has, becomes its escape."""
    return text.encode("utf-8", errors="backslashreplace")


def write_at_once(path: Path, text: str) -> None:
    """Write a text file so that neither a reader nor a crash ever meets half of it."""
    with replaced_at_once(path) as unfinished:
        unfinished.write_bytes(encoded(text))


def append_text(path: Path, text: str) -> None:
    """Add a text to the end of a file that others write to as well."""
    with path.open("ab") as file:
        file.write(encoded(text))


@contextmanager
def replaced_at_once(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write a file to, which takes its place once it is whole.

    Its name is one that no other writer has, in whatever thread, process or container. Where the
    block raises, ``path`` stays as it was and nothing is left beside it. A process that is killed
    leaves an unfinished file: `is_unfinished` tells it, `remove_unfinished` takes it away.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield unfinished
        with unfinished.open("r+b") as written:
            os.fsync(written.fileno())  # or a power cut could leave the new name without content
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def is_unfinished(name: str) -> bool:
    """Whether a file's name, or its path, is one that `replaced_at_once` makes."""
    return bool(_UNFINISHED.fullmatch(name))


def remove_unfinished(path: Path) -> None:
    """Remove what killed writers of a file left beside it.

    Nobody else may be writing the file meanwhile: call this under its lock.
    """
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        if is_unfinished(left.name):
            left.unlink(missing_ok=True)
