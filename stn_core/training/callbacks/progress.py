"""Show a person at a terminal how far a run is, or say it in a file for others to show."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stn_core.errors import needs_extra
from stn_core.session.beats import Beat, end_beat, write_beat
from stn_core.training.callbacks.base import Callback, Run, Watcher
from stn_core.training.history import EpochResult


@dataclass(frozen=True)
class ShowProgress(Callback):
    """A bar over the epochs of each run, with loss, validation accuracy and the time left."""

    stays: ClassVar[bool] = True

    def watch(self, run: Run) -> Watcher:
        """The bar of one run."""
        return _ProgressBar(run)


class _ProgressBar(Watcher):
    def __init__(self, run: Run) -> None:
        with needs_extra("suite"):
            from tqdm import tqdm
        record = run.record
        self._bar = tqdm(
            total=record.recipe["epochs"],
            desc=f"{record.key} seed {record.seed}",
            unit="epoch",
            leave=False,
            dynamic_ncols=True,
        )

    def epoch(self, result: EpochResult) -> None:
        self._bar.set_postfix_str(
            f"epoch {result.epoch} loss {result.train_loss:.3f}"
            f" val {100 * result.validation_accuracy:.2f}%",
            refresh=False,
        )
        self._bar.update()

    def end(self) -> None:
        self._bar.close()


LEAST_SECONDS = 0.5
"""Between two times that a run says how far it is."""


@dataclass(frozen=True)
class TellProgress(Callback):
    """Each run says in a small file how far it is.

    Args:
        folder: of the files, one for each process; the folder around it is there.
    """

    stays: ClassVar[bool] = True
    folder: str

    def watch(self, run: Run) -> Watcher:
        """What writes the file of one run."""
        return _BeatWriter(Path(self.folder), run)


class _BeatWriter(Watcher):
    def __init__(self, folder: Path, run: Run) -> None:
        self._folder = folder
        self._record = run.record
        self._told = float("-inf")

    def start(self) -> None:
        self._tell(0)

    def epoch(self, result: EpochResult) -> None:
        if time.monotonic() - self._told >= LEAST_SECONDS:
            self._tell(result.epoch)

    def end(self) -> None:
        end_beat(self._folder)

    def _tell(self, epoch: int) -> None:
        record = self._record
        write_beat(self._folder, Beat(record.key, record.seed, epoch, record.recipe["epochs"]))
        self._told = time.monotonic()
