"""Write runs for TensorBoard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stn_core.errors import require_package
from stn_core.training.callbacks.base import CallbackWithFolder, Run, Watcher


@dataclass(frozen=True)
class WriteTensorBoard(CallbackWithFolder):
    """Gives every run a folder of event files, which TensorBoard can show while it trains.

    It is called ``<dataset>-<model>-<seed>``. A run of another budget or recipe in the same folder
    overwrites it.

    Args:
        folder: where those folders go.

    Raises:
        UsageError: TensorBoard's package is not installed.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        require_package("tensorboard", "WriteTensorBoard", "tensorboard")

    def watch(self, run: Run) -> Watcher:
        """The watcher that writes one run."""
        from stn_core.training.event_file import EventFile  # imports the package

        return EventFile(Path(self.folder, run.record.run_name), run)
