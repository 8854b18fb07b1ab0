"""How far the runs of a session are, as each training process reports in a small file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Beat:
    """How far a run is.

    Args:
        key: of its cell.
        seed: of the run.
        epoch: how many epochs are over.
        epochs: of the recipe; a run that stops early has fewer.
    """

    key: str
    seed: int
    epoch: int
    epochs: int


def write_beat(folder: Path, beat: Beat) -> None:
    """Report how far the run of this process is.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    unfinished = _file(folder).with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(beat)), encoding="utf-8")  # a power cut may take it
    unfinished.replace(_file(folder))


def end_beat(folder: Path) -> None:
    """Report that this process has finished its run."""
    _file(folder).unlink(missing_ok=True)


def read_beats(folder: Path) -> list[Beat]:
    """How far the runs of all processes are; unreadable and outdated files are skipped."""
    beats = []
    for file in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            beats.append(Beat(**json.loads(file.read_text(encoding="utf-8"))))
    return beats


def discard_beats(folder: Path) -> None:
    """Remove the files of a finished session."""
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def furthest_first(beats: Sequence[Beat]) -> list[Beat]:
    """The runs in the order in which they are likely to end."""
    return sorted(beats, key=lambda beat: -beat.epoch / max(beat.epochs, 1))


def _file(folder: Path) -> Path:
    return folder / f"{os.getpid()}.json"
