"""Files written in one piece: whoever reads one sees the old content or the new, never a part."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_at_once(path: Path, text: str) -> None:
    """Write a text file so that neither a reader nor a crash ever meets half of it."""
    with replaced_at_once(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@contextmanager
def replaced_at_once(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write a file to, which takes its place once it is whole.

    Its name is one that no other writer has, in whatever thread, process or container. Where the
    block raises, ``path`` stays as it was and nothing is left beside it.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield unfinished
        with unfinished.open("r+b") as written:
            os.fsync(written.fileno())  # or a power cut could leave the new name without content
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
