"""What the runs of a cluster report on the board; no cluster is needed for it."""

from __future__ import annotations

import pytest

from stn_core.engines.ray_board import TellBoard, make_board
from stn_core.session.beats import Beat
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.callbacks import progress
from stn_core.training.run_cell import run_cell
from tests.watching import OnEpoch

CELL = Cell("cnn", "digits", "smoke", Recipe(epochs=1))


class Handle:
    """The part of an actor's handle that is needed."""

    def __init__(self) -> None:
        self.board = make_board()()
        self.tell = self

    def remote(self, number: int, beat: Beat | None) -> None:
        self.board.tell(number, beat)


def test_a_run_is_on_the_board_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LEAST_SECONDS", 1e6)
    handle = Handle()
    other = Beat("smoke/digits/stn", 0, 3, 10)
    handle.remote(7, other)
    seen = []
    watch = OnEpoch(lambda result, run: seen.append(dict(handle.board.all())))
    run_cell(CELL, [5], callbacks=[TellBoard(handle, 8), watch])
    assert seen == [{7: other, 8: Beat(CELL.key, 5, 0, 1)}]
    assert handle.board.all() == {7: other}
