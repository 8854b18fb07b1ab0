"""An engine takes plain data and gives plain data back, as each run ends."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pickle

import pytest
import torch

from stn_core.engines import Engine, InProcess, Task
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.session.records import RunRecord
from stn_core.training import loop
from stn_core.training.callbacks import KeepArtifacts, SaveCheckpoints, SaveModels, ShowProgress
from stn_core.training.run_cell import RunResult, RunSettings, run_cell

CELL = Cell("cnn", "digits", "smoke", Recipe(epochs=1))


def timeless(record: RunRecord) -> RunRecord:
    return dataclasses.replace(
        record, train_seconds=0, evaluate_seconds=0, images_per_second=0, peak_memory_mb=0
    )


def test_tasks_and_results_travel_and_are_what_run_cell_gives() -> None:
    engine: Engine = InProcess()
    callbacks = (KeepArtifacts("a"), SaveModels("b"), SaveCheckpoints("c"), ShowProgress())
    travelling = Task(CELL, 1, RunSettings(), callbacks)
    assert pickle.loads(pickle.dumps(travelling)) == travelling
    results = list(engine.run(Task(CELL, seed, RunSettings()) for seed in (3, 1)))
    assert [result.record.seed for result in results] == [3, 1]
    assert pickle.loads(pickle.dumps(results)) == results
    expected = run_cell(CELL, [3, 1])
    assert [timeless(one.record) for one in results] == [timeless(one) for one in expected]


def test_a_run_starts_when_its_result_is_asked_for() -> None:
    asked = []

    def tasks() -> object:
        for seed in (0, 1):
            asked.append(seed)
            yield Task(CELL, seed, RunSettings())

    results = InProcess().run(tasks())  # type: ignore[arg-type]
    assert asked == []
    assert isinstance(next(results), RunResult)
    assert asked == [0]


def test_every_run_starts_from_the_settings_that_torch_had_when_the_engine_was_made() -> None:
    engine = InProcess()
    (before,) = engine.run([Task(CELL, 0, RunSettings())])
    torch.set_float32_matmul_precision("medium")
    try:
        (after,) = engine.run([Task(CELL, 0, RunSettings())])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert after.record.environment == before.record.environment
    assert after.record.digest == before.record.digest


def test_few_functions_lie_between_an_engine_and_a_training_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roads = []

    def step(*arguments: object) -> None:
        ours = [frame for frame in inspect.stack() if f"{os.sep}stn_core{os.sep}" in frame.filename]
        roads.append([frame.function for frame in ours if frame.function[0] != "<"])
        raise RuntimeError("seen")

    monkeypatch.setattr(loop, "training_step", step)
    list(InProcess().run([Task(CELL, 0, RunSettings())]))
    assert roads == [["train_epoch", "train", "run_seed", "run"]]
