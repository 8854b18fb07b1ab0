"""Where the runs of a Ray cluster say how far they are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from stn_core.session.beats import Beat
from stn_core.training.callbacks.base import Callback, Run, Watcher
from stn_core.training.callbacks.progress import LEAST_SECONDS
from stn_core.training.history import EpochResult


def make_board() -> type[Any]:
    """The class of an actor that remembers the last that each run said.

    It is made here so that it is sent whole, and its process imports next to nothing.
    """

    class Board:
        def __init__(self) -> None:
            self._beats: dict[int, Any] = {}

        def tell(self, number: int, beat: Any) -> None:
            """Note how far a run is; None of one that is over."""
            if beat is None:
                self._beats.pop(number, None)
            else:
                self._beats[number] = beat

        def all(self) -> dict[int, Any]:
            """What the runs said last, by their numbers."""
            return self._beats

    return Board


@dataclass(frozen=True)
class TellBoard(Callback):
    """Each run says on the board how far it is, and waits for no answer.

    Args:
        board: a handle of the actor.
        number: of the run.
    """

    board: Any
    number: int

    def watch(self, run: Run) -> Watcher:
        """What speaks for one run."""
        return _Speaker(self, run)


class _Speaker(Watcher):
    def __init__(self, settings: TellBoard, run: Run) -> None:
        self._settings = settings
        self._record = run.record
        self._told = float("-inf")

    def start(self) -> None:
        self._tell(0)

    def epoch(self, result: EpochResult) -> None:
        if time.monotonic() - self._told >= LEAST_SECONDS:
            self._tell(result.epoch)

    def end(self) -> None:
        self._settings.board.tell.remote(self._settings.number, None)

    def _tell(self, epoch: int) -> None:
        record = self._record
        beat = Beat(record.key, record.seed, epoch, record.recipe["epochs"])
        self._settings.board.tell.remote(self._settings.number, beat)
        self._told = time.monotonic()
