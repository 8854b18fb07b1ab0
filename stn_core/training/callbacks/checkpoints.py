"""Save the state of unfinished runs, so that they continue from there when they are run again."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from stn_core.session.file_names import file_stem
from stn_core.session.records import RunRecord
from stn_core.training.callbacks.base import CallbackWithFolder, Run, Watcher
from stn_core.training.checkpoint import Checkpoint, discard
from stn_core.training.history import EpochResult

_LOGGER = logging.getLogger(__name__)

FORMAT = 2
"""The format of what a checkpoint holds; other formats are not used."""


@dataclass(frozen=True)
class SaveCheckpoints(CallbackWithFolder):
    """Saves each run's state, so that one that is interrupted or crashes can be resumed.

    A checkpoint of another commit is not used. Where the commit is not known, as in `RunSettings`
    by default, or the checkout has uncommitted changes, nothing tells whether the code was edited
    since: the run continues, and the log warns. Delete the checkpoint to start from the beginning.

    Args:
        folder: where to.
        seconds: the shortest time between two checkpoints; 0 saves after every epoch.
    """

    last: ClassVar[bool] = True
    stays: ClassVar[bool] = True
    seconds: float = 60.0

    def watch(self, run: Run) -> Watcher:
        """The watcher that saves one run, and finds where it was interrupted."""
        return _CheckpointSaver(self, run)

    def record_kept(self, record: RunRecord) -> None:
        """Delete the checkpoint of a finished run; one that crashed may be resumed."""
        if record.status != "crashed":
            discard(self.path_of(record))

    def path_of(self, record: RunRecord) -> Path:
        """The file of a run."""
        name = file_stem(record.budget, record.dataset, record.model, str(record.seed))
        return Path(self.folder, f"{name}.safetensors")


class _CheckpointSaver(Watcher):
    def __init__(self, settings: SaveCheckpoints, run: Run) -> None:
        self._settings = settings
        self._run = run

    def start(self) -> None:
        path = self._settings.path_of(self._run.record)
        self._file = Checkpoint(path, _owner(self._run), self._settings.seconds)
        found = self._file.load()
        if found is not None:  # else one that saves elsewhere may have found its own
            self._run.resumed_from = found
            self._warn_of_edited_code(path)

    def _warn_of_edited_code(self, path: Path) -> None:
        record = self._run.record
        if record.environment.commit is not None and not record.environment.dirty:
            return
        of_code = "has uncommitted changes" if record.environment.dirty else "is of no known commit"
        _LOGGER.warning(
            "%s: continues from %s, but the code %s: if it was edited since, delete the checkpoint",
            record.run_name,
            path,
            of_code,
        )

    def epoch(self, result: EpochResult) -> None:
        self._file.maybe_save(self._run.state_dict)

    def replay(self, result: EpochResult) -> None:
        """Do nothing: the checkpoint has that epoch."""


def _owner(run: Run) -> dict[str, Any]:
    """What distinguishes a run's checkpoint from others: its record and its model's shapes."""
    record, environment = run.record, run.record.environment
    shapes = {name: list(getattr(v, "shape", ())) for name, v in run.model.state_dict().items()}
    return {
        "format": FORMAT,
        "cell": record.key,
        "seed": record.seed,
        "recipe": record.recipe_hash,
        "data": record.data_hash,
        "model": hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:12],
        "environment": environment.key(),
        "stn_core": environment.stn_core,
        "commit": environment.commit,
        "dirty": environment.dirty,
    }
