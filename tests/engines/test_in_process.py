"""An engine takes plain data and returns plain data, as each run ends."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pickle
from collections.abc import Sequence

import pytest
import torch

from stn_core.engines import Engine, InProcess, Task
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.session.records import RunRecord
from stn_core.training import loop
from stn_core.training.callbacks import KeepArtifacts, SaveCheckpoints, SaveModels, TellProgress
from stn_core.training.run_cell import RunResult, RunSettings, run_cell
from tests.watching import OnEpoch

CELL = Cell("cnn", "digits", "smoke", Recipe(epochs=1))


def timeless(record: RunRecord) -> RunRecord:
    times = dict.fromkeys(("train_seconds", "evaluate_seconds", "images_per_second"), 0.0)
    return dataclasses.replace(record, **times, peak_memory_mb=0, other_load=None)


def run_all(engine: Engine, tasks: Sequence[Task]) -> list[RunResult]:
    for task in tasks:
        engine.submit(task)
    outcomes = [engine.next_outcome() for _ in tasks]
    return [outcome.result for outcome in outcomes if outcome.result]


def test_tasks_and_results_travel_and_are_what_run_cell_gives() -> None:
    engine: Engine = InProcess()
    callbacks = (KeepArtifacts("a"), SaveModels("b"), SaveCheckpoints("c"), TellProgress("d"))
    travelling = Task(CELL, 1, RunSettings(), callbacks)
    assert pickle.loads(pickle.dumps(travelling)) == travelling
    results = run_all(engine, [Task(CELL, seed, RunSettings()) for seed in (3, 1)])
    assert [result.record.seed for result in results] == [3, 1]
    assert pickle.loads(pickle.dumps(results)) == results
    expected = run_cell(CELL, [3, 1])
    assert [timeless(one.record) for one in results] == [timeless(one) for one in expected]


def test_a_run_starts_when_its_outcome_is_asked_for_and_a_cancelled_one_never_does() -> None:
    started = []
    watched = (OnEpoch(lambda result, run: started.append(run.record.seed)),)
    engine = InProcess()
    for seed in (0, 1):
        engine.submit(Task(CELL, seed, RunSettings(), watched))
    assert started == []
    assert engine.next_outcome().task.seed == 0
    engine.cancel()
    engine.submit(Task(CELL, 2, RunSettings(), watched))
    assert engine.next_outcome().task.seed == 2
    assert started == [0, 2]


def test_every_run_starts_from_the_settings_that_torch_had_when_the_engine_was_made() -> None:
    engine = InProcess()
    (before,) = run_all(engine, [Task(CELL, 0, RunSettings())])
    torch.set_float32_matmul_precision("medium")
    try:
        (after,) = run_all(engine, [Task(CELL, 0, RunSettings())])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert after.record.environment == before.record.environment
    assert after.record.digest == before.record.digest


def test_few_functions_are_between_an_engine_and_a_training_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roads = []

    def step(*arguments: object) -> None:
        ours = [frame for frame in inspect.stack() if f"{os.sep}stn_core{os.sep}" in frame.filename]
        roads.append([frame.function for frame in ours if frame.function[0] != "<"])
        raise RuntimeError("seen")

    monkeypatch.setattr(loop, "training_step", step)
    run_all(InProcess(), [Task(CELL, 0, RunSettings())])
    assert roads == [["train_epoch", "train", "run_seed", "next_outcome"]]
