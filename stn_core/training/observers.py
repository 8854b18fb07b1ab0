"""Who watches a training: several at once, and a progress bar for a person at a terminal."""

from __future__ import annotations

from types import TracebackType

from stn_core.errors import needs_extra
from stn_core.training.loop import EpochResult, Observer, Training

with needs_extra("suite"):
    from tqdm import tqdm


def together(*observers: Observer | None) -> Observer:
    """One observer that tells several, in this order; those that are None are left out."""
    present = [observer for observer in observers if observer]

    def tell(result: EpochResult, training: Training) -> None:
        for observer in present:
            observer(result, training)

    return tell


class ProgressBar:
    """A bar over the epochs of a cell's seeds, with loss, validation accuracy and the time left.

    Used as a context manager; call it with each epoch's result.

    Args:
        title: what is trained.
        epochs: how many epochs all seeds together may take.
    """

    def __init__(self, title: str, epochs: int) -> None:
        self._bar = tqdm(total=epochs, desc=title, unit="epoch", leave=False, dynamic_ncols=True)

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, result: EpochResult, training: Training) -> None:
        """Show an epoch."""
        self._bar.set_postfix_str(
            f"epoch {result.epoch} loss {result.train_loss:.3f}"
            f" val {100 * result.validation_accuracy:.2f}%",
            refresh=False,
        )
        self._bar.update()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()
