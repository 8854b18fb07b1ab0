"""Show a person at a terminal how far a run is."""

from __future__ import annotations

from dataclasses import dataclass

from stn_core.errors import needs_extra
from stn_core.training.callbacks.base import Callback, Run, Watcher
from stn_core.training.history import EpochResult


@dataclass(frozen=True)
class ShowProgress(Callback):
    """A bar over the epochs of each run, with loss, validation accuracy and the time left."""

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
