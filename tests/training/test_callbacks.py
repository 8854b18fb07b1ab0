"""Callbacks are told what happens, in their order, and nothing that they do changes a run."""

from __future__ import annotations

import dataclasses
import pickle
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.session.records import RunRecord
from stn_core.training.callbacks import Callback, Run, SaveCheckpoints, Watcher
from stn_core.training.history import EpochResult
from stn_core.training.run_cell import RunSettings, run_cell, run_seed

pytestmark = pytest.mark.usefixtures("few_digits")
CELL = Cell("cnn", "few_digits", "smoke", Recipe(epochs=2))
TOLD: list[tuple[str, object]] = []
"""What the callbacks of these tests were told."""


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    TOLD.clear()


@dataclass(frozen=True)
class Note(Callback):
    """Notes what it is told, and raises where it is asked to."""

    name: str
    fails_at: str = ""
    stops_after: int = 0

    def watch(self, run: Run) -> Watcher:
        return NoteWatcher(self, run)

    def record_kept(self, record: RunRecord) -> None:
        TOLD.append((self.name, "kept"))


@dataclass(frozen=True)
class LastNote(Note):
    last: ClassVar[bool] = True


class NoteWatcher(Watcher):
    def __init__(self, settings: Note, run: Run) -> None:
        self.settings, self.run, self.remembered = settings, run, 0
        self.note("watch")

    def note(self, event: str) -> None:
        TOLD.append((self.settings.name, event))
        if event == self.settings.fails_at:
            raise RuntimeError("no luck")

    def start(self) -> None:
        self.note(f"start with {sum(p.numel() for p in self.run.model.parameters()) > 0}")

    def epoch(self, result: EpochResult) -> None:
        self.remembered += 10
        self.note(f"epoch {result.epoch}")
        if result.epoch == self.settings.stops_after:
            raise KeyboardInterrupt

    def replay(self, result: EpochResult) -> None:
        self.note(f"replay {result.epoch} with {self.remembered}")

    def end(self) -> None:
        self.note(f"end {self.run.record.status}")

    def state_dict(self) -> dict[str, Any]:
        return {"remembered": self.remembered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.remembered = state["remembered"]


def test_each_is_called_for_everything_in_order() -> None:
    run_cell(CELL, [0], callbacks=[LastNote("z"), Note("a"), Note("b")])
    events = ["watch", "start with True", "epoch 1", "epoch 2", "end ok"]
    expected: list[tuple[str, object]] = [(who, event) for event in events for who in "abz"]
    assert [*expected, *[(who, "kept") for who in "zab"]] == TOLD


def test_a_watchers_state_is_restored_with_the_run(tmp_path: Path) -> None:
    saving = SaveCheckpoints(str(tmp_path), seconds=0)
    with pytest.raises(KeyboardInterrupt):
        run_cell(CELL, [0], callbacks=[Note("a"), saving, LastNote("stop", stops_after=1)])
    TOLD.clear()
    (resumed,) = run_cell(CELL, [0], callbacks=[saving, Note("a"), Note("new")])
    told = {name: [event for who, event in TOLD if who == name] for name in ("a", "new")}
    assert told["a"] == [
        *("watch", "start with True", "replay 1 with 10", "epoch 2", "end ok", "kept")
    ]
    assert told["new"][2] == "replay 1 with 0"  # it was not there before
    assert resumed.digest == run_cell(CELL, [0])[0].digest


@pytest.mark.parametrize("where", ["watch", "start with True", "epoch 1", "end ok"])
def test_a_failing_callback_is_left_out_and_costs_nothing(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = run_seed(CELL, 0, RunSettings(), [Note("a", fails_at=where), Note("b")])
    assert result.record.digest == run_cell(CELL, [0])[0].digest
    assert result.notes == ("Note failed: RuntimeError: no luck",)
    assert caplog.messages == ["few_digits-cnn-0: Note failed: RuntimeError: no luck"]
    assert [event for who, event in TOLD if who == "a"][-1] == where
    assert ("b", "end ok") in TOLD
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_crashed_run_ends_too() -> None:
    cell = dataclasses.replace(CELL, model="no_such_model")
    result = run_seed(cell, 0, RunSettings(), [Note("a")])
    assert TOLD == [("a", "watch"), ("a", "end crashed")]
    assert result.notes == ()


@dataclass(frozen=True)
class Meddles(Callback):
    """Draws from every generator and changes settings, whenever it is told something."""

    def watch(self, run: Run) -> Watcher:
        return MeddlingWatcher()


class MeddlingWatcher(Watcher):
    def start(self) -> None:
        torch.rand(3)
        np.random.rand()  # noqa: NPY002
        random.random()
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)

    def epoch(self, result: EpochResult) -> None:
        self.start()


def test_no_callback_can_change_a_result() -> None:
    cell = dataclasses.replace(CELL, model="vit")  # with dropout: each step draws
    result = run_seed(cell, 0, RunSettings(), [Meddles()])
    assert result.record.digest == run_cell(cell, [0])[0].digest
    assert result.notes == ()
