"""A run that was interrupted, killed or crashed continues, and gives the same record."""

import dataclasses
import logging
import math
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training import loop
from stn_core.training.callbacks import SaveCheckpoints
from stn_core.training.checkpoint import Checkpoint
from stn_core.training.run_cell import RunSettings, cached_dataset, run_cell
from tests.platforms import needs_posix_signals
from tests.training.test_run_cell import unchanging
from tests.watching import OnEpoch

pytestmark = pytest.mark.usefixtures("unruly_models", "few_digits")


CHECKPOINTED = Cell("cnn", "few_digits", "smoke", Recipe(epochs=3, batch_size=100, patience=2))
COMMITTED = RunSettings(checkout=("c0ffee", None))


@pytest.fixture
def saving(tmp_path):
    """What saves after every epoch."""
    return SaveCheckpoints(str(tmp_path), seconds=0)


def interrupt_after(epoch):
    def interrupt(result, run):
        if result.epoch == epoch:
            raise KeyboardInterrupt

    return OnEpoch(interrupt)


def files(saving):
    return [path for path in Path(saving.folder).rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def undisturbed():
    """The record of the cell, trained in one."""
    (record,) = run_cell(CHECKPOINTED, [4], COMMITTED)
    return unchanging(record)


def test_an_interrupted_run_goes_on_and_gives_the_same_record(saving, undisturbed, caplog):
    with pytest.raises(KeyboardInterrupt):
        run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving, interrupt_after(2)])
    (path,) = files(saving)
    seen = []
    with caplog.at_level(logging.INFO, "stn_core"):
        (resumed,) = run_cell(
            CHECKPOINTED, [4], COMMITTED, lambda record: seen.append(path.exists()), [saving]
        )
    assert caplog.messages == [f"training continues from {path}"]
    assert unchanging(resumed) == undisturbed
    assert seen == [True]  # deleted when the record is safe, not before
    assert files(saving) == []


@pytest.mark.parametrize(
    ("checkout", "said"),
    [
        ((None, None), ["the code is of no known commit"]),
        (("c0ffee", True), ["the code has uncommitted changes"]),
        (("c0ffee", False), []),
    ],
)
def test_a_run_that_continues_with_code_that_may_have_been_edited_warns(
    saving, caplog, checkout, said
):
    settings = RunSettings(checkout=checkout)
    with pytest.raises(KeyboardInterrupt):
        run_cell(CHECKPOINTED, [4], settings, callbacks=[saving, interrupt_after(2)])
    (path,) = files(saving)
    assert caplog.messages == []
    (record,) = run_cell(CHECKPOINTED, [4], settings, callbacks=[saving])
    assert record.status == "ok"
    assert caplog.messages == [
        f"few_digits-cnn-4: continues from {path}, but {one}: if it was edited since, delete the"
        " checkpoint"
        for one in said
    ]


def test_every_seed_has_a_checkpoint_of_its_own(saving, undisturbed):
    for seed in (4, 5):
        with pytest.raises(KeyboardInterrupt):
            run_cell(CHECKPOINTED, [seed], COMMITTED, callbacks=[saving, interrupt_after(1)])
    assert len(files(saving)) == 2
    records = run_cell(CHECKPOINTED, [5, 4], COMMITTED, callbacks=[saving])
    assert unchanging(records[1]) == undisturbed
    assert files(saving) == []


def test_a_second_folder_of_checkpoints_without_one_hides_none(saving, undisturbed, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving, interrupt_after(1)])
    another = SaveCheckpoints(str(Path(saving.folder, "another")), seconds=0)
    trained = []
    train_epoch = loop.train_epoch

    def counted(*arguments):
        trained.append(1)
        return train_epoch(*arguments)

    monkeypatch.setattr(loop, "train_epoch", counted)
    (record,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving, another])
    assert unchanging(record) == undisturbed
    assert len(trained) == len(record.validation) - 1
    assert files(saving) == []


def test_a_state_that_does_not_fit_is_not_used(saving, undisturbed, caplog, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving, interrupt_after(1)])
    load = Checkpoint.load

    def of_fewer_parameters(checkpoint):
        state = load(checkpoint)
        state["training"]["optimizer"]["param_groups"][0]["params"].pop()
        return state

    monkeypatch.setattr(Checkpoint, "load", of_fewer_parameters)
    (record,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving])
    assert unchanging(record) == undisturbed
    assert "its checkpoint does not fit and is not used: ValueError: loaded state" in caplog.text


@pytest.mark.parametrize(
    ("other", "changes", "named"),
    [
        (CHECKPOINTED, {"checkout": ("decade", None)}, "commit"),
        (CHECKPOINTED, {"checkout": ("c0ffee", True)}, "dirty"),
        (CHECKPOINTED, {"threads": 2}, "environment"),
        (dataclasses.replace(CHECKPOINTED, recipe=Recipe(epochs=2)), {}, "recipe"),
    ],
)
def test_a_checkpoint_of_another_run_is_not_used(
    saving, caplog, monkeypatch, other, changes, named
):
    def stop(*arguments):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving, interrupt_after(1)])
    (path,) = files(saving)
    monkeypatch.setattr("stn_core.training.loop.training_step", stop)
    seen = []
    with pytest.raises(KeyboardInterrupt):
        run_cell(
            other,
            [4],
            dataclasses.replace(COMMITTED, **changes),
            callbacks=[saving, OnEpoch(lambda result, _: seen.append(result))],
        )
    assert caplog.messages == [f"{path} belongs to a run with another {named} and is not used"]
    assert seen == []


def test_a_checkpoint_of_a_model_of_another_shape_is_not_used(saving, caplog, monkeypatch):
    def build(name, in_shape, num_classes, background):
        return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, num_classes, bias=False))

    with pytest.raises(KeyboardInterrupt):
        run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving, interrupt_after(1)])
    monkeypatch.setattr("stn_core.training.run_cell.create_model", build)
    (record,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving])
    assert caplog.messages[0].endswith("belongs to a run with another model and is not used")
    assert (record.status, len(record.validation)) == ("ok", 3)


def test_a_record_that_cannot_be_kept_leaves_the_checkpoint(saving, undisturbed):
    def full(record):
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        run_cell(CHECKPOINTED, [4], COMMITTED, full, [saving])
    assert len(files(saving)) == 1
    (record,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving])
    assert unchanging(record) == undisturbed


def test_a_crash_leaves_its_checkpoint_to_the_next_attempt(
    saving, undisturbed, monkeypatch, caplog
):
    def fail(*arguments):
        raise RuntimeError("the test set burnt")

    with monkeypatch.context() as patched:
        patched.setattr("stn_core.training.run_cell.evaluate", fail)
        (crashed,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving])
    assert (crashed.status, len(crashed.validation)) == ("crashed", 3)
    (path,) = files(saving)
    with caplog.at_level(logging.INFO, "stn_core"):
        (record,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving])
    assert caplog.messages == [f"training continues from {path}"]
    assert unchanging(record) == undisturbed
    assert files(saving) == []


def test_a_divergence_leaves_no_checkpoint(saving, monkeypatch):
    unusable = SimpleNamespace(cross_entropy=math.nan)
    monkeypatch.setattr("stn_core.training.run_cell.evaluate", lambda *arguments: unusable)
    (record,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving])
    assert (record.status, len(record.validation)) == ("diverged", 3)
    assert files(saving) == []


KILLED = """
import os, signal, sys
from stn_core import Cell, RunSettings, run_cell
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.callbacks import SaveCheckpoints
from stn_core.training.checkpoint import Checkpoint
from stn_core.suite.engine_choice import worker_number
from stn_core.training import loop
from tests.training.few_digits import register_few_digits

register_few_digits()
steps_left = int(sys.argv[2])
step = loop.training_step


def mortal_step(*arguments):
    global steps_left
    steps_left -= 1
    if not steps_left:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)


loop.training_step = mortal_step
cell = Cell("cnn", "few_digits", "smoke", Recipe(epochs=3, batch_size=100, patience=2))
saving = SaveCheckpoints(sys.argv[1], seconds=0)
run_cell(cell, [4], RunSettings(checkout=("c0ffee", None)), callbacks=[saving])
"""


@pytest.mark.nightly
@needs_posix_signals
def test_a_process_killed_within_an_epoch_is_taken_up_by_another(saving, undisturbed, caplog):
    steps = len(cached_dataset("few_digits", None, False).train) // CHECKPOINTED.recipe.batch_size
    step = 2 * steps + steps // 2  # within the third epoch
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, saving.folder, str(step)],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with caplog.at_level(logging.INFO, "stn_core"):
        (resumed,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving])
    assert "training continues from" in caplog.text
    assert unchanging(resumed) == undisturbed
