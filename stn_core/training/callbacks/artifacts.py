"""Keep the arrays that pictures of a run need: its mistakes, its warps and their film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.session.artifacts import artifacts_path, write_artifacts
from stn_core.training.artifact_collection import collect_artifacts
from stn_core.training.callbacks.base import CallbackWithFolder, Run, Watcher
from stn_core.training.film import Film
from stn_core.training.history import EpochResult


@dataclass(frozen=True)
class KeepArtifacts(CallbackWithFolder):
    """Keeps the arrays of every run whose training ends well.

    Its file is called ``<dataset>-<model>-<seed>.npz``. A run of another budget or recipe in the
    same folder overwrites it.

    Args:
        folder: where to.
    """

    def watch(self, run: Run) -> Watcher:
        """The watcher that films one run and keeps its arrays."""
        return _ArtifactsKeeper(Path(self.folder), run)


class _ArtifactsKeeper(Watcher):
    def __init__(self, folder: Path, run: Run) -> None:
        self._folder = folder
        self._run = run
        self._film = Film(run)

    def start(self) -> None:
        self._film.take(0)

    def epoch(self, result: EpochResult) -> None:
        self._film.take(result.epoch)

    def replay(self, result: EpochResult) -> None:
        """Do nothing: the film has that epoch."""

    def end(self) -> None:
        record = self._run.record
        if record.is_trained:
            path = artifacts_path(self._folder, record.run_name)
            write_artifacts(path, collect_artifacts(self._run, self._film.frames))

    def state_dict(self) -> dict[str, Any]:
        return self._film.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._film.load_state_dict(state)
