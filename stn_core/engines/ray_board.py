"""Where the runs on a Ray cluster report how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stn_core.training.callbacks.base import Callback, Run, Watcher
from stn_core.training.callbacks.progress import Heartbeat


def make_board() -> type[Any]:
    """The class of an actor that remembers the last heartbeat of each run.

    It is defined in a function so that Ray sends its code along, and its process imports next to
    nothing.
    """

    class Board:
        def __init__(self) -> None:
            self._beats: dict[int, Any] = {}

        def tell(self, number: int, beat: Any) -> None:
            """Note how far a run is, or None once it has ended."""
            if beat is None:
                self._beats.pop(number, None)
            else:
                self._beats[number] = beat

        def all(self) -> dict[int, Any]:
            """The last heartbeat of each run, by its number."""
            return self._beats

    return Board


@dataclass(frozen=True)
class TellBoard(Callback):
    """Reports each run's progress on the board, without waiting for an answer.

    Args:
        board: the handle of the actor.
        number: of the run.
    """

    board: Any
    number: int

    def watch(self, run: Run) -> Watcher:
        """The watcher that reports the run's progress."""
        tell, number = self.board.tell, self.number
        return Heartbeat(
            run,
            lambda beat: tell.remote(number, beat),
            end=lambda: tell.remote(number, None),
        )
