"""run_cell: the same call gives the same record, leaves no trace, survives what a model does."""

import dataclasses
import logging
import math
import pickle
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stn_core.errors import UsageError
from stn_core.models import register_model
from stn_core.models.saved_models import read_saved_model
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.suite.context import worker_number
from stn_core.training import run_cell as running
from stn_core.training.callbacks import SaveCheckpoints, SaveModels
from stn_core.training.devices import resolve_device
from stn_core.training.evaluation import evaluate
from stn_core.training.run_cell import RunSettings, cached_dataset, run_cell, run_seed
from tests.backgrounds import backgrounds_of
from tests.liveness import assert_depends_on_its_input
from tests.platforms import needs_posix_signals
from tests.watching import OnEpoch

RECIPE = Recipe(epochs=2, batch_size=100)
UNRULY = (
    "falls_over",
    "says_nan",
    "says_too_much",
    "builds_nothing",
    "leaves",
    "tutorial",
    "asks_for_too_much",
    "fills_the_card",
    "fills_the_memory",
)
CELL = Cell("stn_coordcls", "digits_rts", "smoke", RECIPE)


@pytest.fixture(scope="module", autouse=True)
def unruly_models():
    """Models that fail in their own ways, known for this module only."""
    from stn_core.models import registry

    @register_model
    def falls_over(in_shape, num_classes):
        raise RuntimeError("no luck\ntoday")

    @register_model
    def says_nan(in_shape, num_classes):
        network = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, num_classes))
        nn.init.constant_(network[1].weight, float("nan"))
        return network

    @register_model
    def says_too_much(in_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 2 * num_classes))

    @register_model
    def builds_nothing(in_shape, num_classes):
        return None

    @register_model
    def leaves(in_shape, num_classes):
        raise SystemExit("bye")

    class Tutorial(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 5), nn.Linear(4 * 24 * 24, 10)

        def forward(self, images):
            return self.head(self.conv(images).view(-1, 4 * 24 * 24))

    @register_model
    def tutorial(in_shape, num_classes):
        return Tutorial()

    @register_model
    def asks_for_too_much(in_shape, num_classes):
        return torch.empty(2**55)

    @register_model
    def fills_the_card(in_shape, num_classes):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    @register_model
    def fills_the_memory(in_shape, num_classes):
        raise MemoryError

    yield
    for name in UNRULY:
        del registry._MODELS._entries[name]


def unchanging(record):
    return dataclasses.replace(
        record, train_seconds=0, evaluate_seconds=0, images_per_second=0, peak_memory_mb=0
    )


def test_the_same_seed_gives_the_same_record_and_another_does_not():
    first, other = run_cell(CELL, [5, 6])
    torch.rand(3)  # whatever else draws from the global generator
    (again,) = run_cell(CELL, [5])
    assert unchanging(again) == unchanging(first)
    assert other.digest != first.digest


def test_a_seed_decides_the_first_weights(monkeypatch):
    drawn = []
    monkeypatch.setattr(running, "create_model", remembering(running.create_model, drawn))
    run_cell(dataclasses.replace(CELL, model="cnn", dataset="digits"), [5, 6, 5])
    first, other, again = drawn
    assert torch.equal(first, again)
    assert not torch.isclose(first, other).any()


def remembering(create, drawn):
    """create_model, which keeps the first layer's weights as they were made."""

    def create_and_remember(*arguments, **options):
        model = create(*arguments, **options)
        drawn.append(next(model.parameters()).detach().clone())
        return model

    return create_and_remember


def test_nothing_global_is_touched():
    torch.manual_seed(11)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    run_cell(Cell("cnn", "digits", "smoke", Recipe(epochs=1)), [0], RunSettings(threads=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_record_is_complete_and_plain():
    (record,) = run_cell(CELL, [0])
    assert pickle.loads(pickle.dumps(record)) == record
    assert record.status == "ok"
    assert record.parameters == 28_860
    assert record.test_images == len(cached_dataset("digits_rts", None, False).test)
    assert record.test_accuracy == pytest.approx(
        sum(row[i] for i, row in enumerate(record.confusion)) / record.test_images
    )
    assert [epoch["epoch"] for epoch in record.validation] == [1, 2]
    assert record.images_per_second > 0
    assert record.environment.device_type == "cpu"


def test_each_record_is_handed_over_before_the_next_seed_starts():
    seen = []

    def on_epoch(result, run):
        seen.append(("epoch", result.epoch))

    def on_record(record):
        seen.append(("record", record.seed))

    cell = Cell("cnn", "digits", "smoke", Recipe(epochs=1))
    run_cell(cell, [3, 4], None, on_record, [OnEpoch(on_epoch)])
    assert seen == [("epoch", 1), ("record", 3), ("epoch", 1), ("record", 4)]


def test_a_search_keeps_the_test_set_closed_unless_it_is_final(monkeypatch):
    search = dataclasses.replace(CELL, is_search=True)
    (record,) = run_cell(search, [0])
    assert record.test_accuracy is None
    assert record.test_images == 0
    assert record.confusion == []
    assert record.validation_accuracy is not None
    (final,) = run_cell(search, [0], RunSettings(final=True))
    assert final.test_accuracy is not None


def test_a_model_that_falls_over_is_recorded_and_the_rest_goes_on():
    records = run_cell(Cell("falls_over", "digits", "smoke", RECIPE), [0, 1])
    assert [record.status for record in records] == ["crashed", "crashed"]
    assert records[0].message == "RuntimeError: no luck today"


def test_an_unknown_model_is_a_crash_in_the_users_words():
    (record,) = run_cell(Cell("stm", "digits", "smoke", RECIPE), [0])
    assert record.message.startswith("unknown model 'stm'; did you mean stn")


def test_a_loss_that_is_not_finite_is_a_divergence():
    (record,) = run_cell(Cell("says_nan", "digits", "smoke", RECIPE), [0])
    assert record.status == "diverged"
    assert "step 1 of epoch 1" in record.message
    assert record.test_accuracy is None
    assert record.to_json()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("says_too_much", "the model must give logits of shape (2, 10), not (2, 20)"),
        ("builds_nothing", "model 'builds_nothing': its builder returned None, not an nn.Module"),
        ("leaves", "SystemExit: bye"),
    ],
)
def test_a_model_that_is_none_is_a_crash_in_clear_words(model, message):
    (record,) = run_cell(Cell(model, "digits", "smoke", RECIPE), [0])
    assert (record.status, record.message) == ("crashed", message)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("asks_for_too_much", "RuntimeError: "),
        ("fills_the_card", "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("fills_the_memory", "MemoryError"),
    ],
)
def test_out_of_memory_is_a_crash_and_the_next_seed_goes_on(model, message):
    records = run_cell(Cell(model, "digits", "smoke", RECIPE), [0, 1])
    assert [record.status for record in records] == ["crashed", "crashed"]
    assert records[0].message.startswith(message)
    assert len(records[0].message.splitlines()) == 1


def test_a_dead_model_is_gone_before_the_next_seed_starts(monkeypatch):
    built, alive = [], []

    class Hoarder(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(28 * 28, 10)
            self.cycle = [self]  # only the collector of cycles can free it

        def forward(self, images):
            if self.training:
                raise RuntimeError("full")
            return self.head(images.flatten(1))

    def build(name, **options):
        alive.append([model() is not None for model in built])
        model = Hoarder()
        built.append(weakref.ref(model))
        return model

    monkeypatch.setattr("stn_core.training.run_cell.create_model", build)
    records = run_cell(Cell("cnn", "digits", "smoke", RECIPE), [0, 1, 2])
    assert [record.message for record in records] == ["RuntimeError: full"] * 3
    assert alive == [[], [False], [False, False]]


def test_a_model_that_views_its_feature_maps_is_trained_all_the_same():
    (record,) = run_cell(Cell("tutorial", "digits", "smoke", RECIPE), [0])
    assert record.status == "ok"


def test_an_unknown_dataset_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean digits"):
        run_cell(Cell("cnn", "digitz", "smoke", RECIPE), [0])


def test_keyboard_interrupt_is_not_swallowed():
    def interrupt(result, run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(CELL, [0], callbacks=[OnEpoch(interrupt)])


CHECKPOINTED = Cell("cnn", "digits", "smoke", Recipe(epochs=3, batch_size=100, patience=2))


COMMITTED = RunSettings(commit="c0ffee")


def interrupt_after(epoch):
    def interrupt(result, run):
        if result.epoch == epoch:
            raise KeyboardInterrupt

    return OnEpoch(interrupt)


@pytest.fixture
def saving(tmp_path):
    """What saves after every epoch."""
    return SaveCheckpoints(str(tmp_path), seconds=0)


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
    assert caplog.messages == [f"the training goes on from {path}"]
    assert unchanging(resumed) == undisturbed
    assert seen == [True]  # deleted when the record is safe, not before
    assert files(saving) == []


def test_every_seed_has_a_checkpoint_of_its_own(saving, undisturbed):
    for seed in (4, 5):
        with pytest.raises(KeyboardInterrupt):
            run_cell(CHECKPOINTED, [seed], COMMITTED, callbacks=[saving, interrupt_after(1)])
    assert len(files(saving)) == 2
    records = run_cell(CHECKPOINTED, [5, 4], COMMITTED, callbacks=[saving])
    assert unchanging(records[1]) == undisturbed
    assert files(saving) == []


@pytest.mark.parametrize(
    ("other", "changes", "named"),
    [
        (CHECKPOINTED, {"commit": "decade"}, "commit"),
        (CHECKPOINTED, {"dirty": True}, "dirty"),
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
    assert (crashed.status, len(crashed.validation)) == ("crashed", 0)
    (path,) = files(saving)
    with caplog.at_level(logging.INFO, "stn_core"):
        (record,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving])
    assert caplog.messages == [f"the training goes on from {path}"]
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
from stn_core.session.recipe import Recipe
from stn_core.suite.context import worker_number
from stn_core.training import loop
from stn_core.training.callbacks import SaveCheckpoints

steps_left = int(sys.argv[2])
step = loop.training_step


def mortal_step(*arguments):
    global steps_left
    steps_left -= 1
    if not steps_left:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)


loop.training_step = mortal_step
cell = Cell("cnn", "digits", "smoke", Recipe(epochs=3, batch_size=100, patience=2))
saving = SaveCheckpoints(sys.argv[1], seconds=0)
run_cell(cell, [4], RunSettings(commit="c0ffee"), callbacks=[saving])
"""


@needs_posix_signals
def test_a_process_killed_within_an_epoch_is_taken_up_by_another(saving, undisturbed, caplog):
    steps = len(cached_dataset("digits", None, False).train) // CHECKPOINTED.recipe.batch_size
    step = 2 * steps + steps // 2  # within the third epoch
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, saving.folder, str(step)],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with caplog.at_level(logging.INFO, "stn_core"):
        (resumed,) = run_cell(CHECKPOINTED, [4], COMMITTED, callbacks=[saving])
    assert "goes on from" in caplog.text
    assert unchanging(resumed) == undisturbed


LIVELY = Recipe(epochs=30, batch_size=100, schedule="constant", patience=1, min_delta=0.05)


def test_a_saved_model_is_the_one_that_was_measured(tmp_path):
    cell = Cell("stn", "digits", "smoke", LIVELY)
    keeping = SaveModels(str(tmp_path / "models"), imports=("my_models",))
    saving, plain = (
        unchanging(run_cell(cell, [4], callbacks=callbacks)[0]) for callbacks in ([keeping], [])
    )
    assert saving == plain
    assert saving.test_accuracy > 0.5
    assert saving.kept_epoch < len(saving.validation)  # these are not the last weights
    (path,) = (tmp_path / "models").iterdir()
    assert path.name == "digits-stn-4.safetensors"
    saved = read_saved_model(path)
    dataset = cached_dataset("digits", None, False)
    test = dataset.test
    assert_depends_on_its_input(saved.model, saved.normalise(test.images[:20]))
    (background,) = backgrounds_of(saved.model)
    assert torch.equal(background, torch.tensor(dataset.normalised_background))
    again = evaluate(saved.model, test.images, test.labels, saved.normalise)
    assert again.cross_entropy == saving.test_cross_entropy
    shared = {name: getattr(saving, name) for name in SHARED}
    assert {name: getattr(saved.configuration, name) for name in SHARED} == shared
    assert saved.configuration.class_names == tuple("0123456789")
    assert saved.configuration.imports == ("my_models",)


SHARED = (
    "model",
    "dataset",
    "data_hash",
    "budget",
    "seed",
    "recipe_hash",
    "kept_epoch",
    "test_accuracy",
)
"""What a record and the configuration of a saved model both say of their run."""


@pytest.mark.parametrize(("final", "accuracy"), [(False, type(None)), (True, float)])
def test_a_search_saves_its_model_too(tmp_path, final, accuracy):
    search = Cell("cnn", "digits", "smoke", Recipe(epochs=1), is_search=True)
    run_cell(search, [0], RunSettings(final=final), callbacks=[SaveModels(str(tmp_path))])
    (path,) = tmp_path.iterdir()
    assert type(read_saved_model(path).configuration.test_accuracy) is accuracy


@pytest.mark.parametrize("model", ["says_nan", "falls_over"])
def test_a_run_that_failed_saves_no_model(tmp_path, model):
    saving = SaveModels(str(tmp_path))
    (record,) = run_cell(Cell(model, "digits", "smoke", RECIPE), [0], callbacks=[saving])
    assert record.status != "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_test_loss_that_is_not_finite_saves_no_model(tmp_path, monkeypatch):
    unusable = SimpleNamespace(cross_entropy=math.nan)
    monkeypatch.setattr("stn_core.training.run_cell.evaluate", lambda *arguments: unusable)
    (record,) = run_cell(CHECKPOINTED, [4], callbacks=[SaveModels(str(tmp_path))])
    assert record.status == "diverged"
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_written_costs_no_run(tmp_path, caplog):
    (tmp_path / "models").write_text("a file where the folder should be")
    saving = SaveModels(str(tmp_path / "models"))
    cell = Cell("cnn", "digits", "smoke", Recipe(epochs=1))
    result = run_seed(cell, 0, RunSettings(), [saving])
    assert unchanging(result.record) == unchanging(run_cell(cell, [0])[0])
    (note,) = result.notes
    assert note.startswith("SaveModels failed: ")
    assert f"digits-cnn-0: {note}" in caplog.text


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "CPU", ""])
def test_a_device_nobody_knows(name):
    with pytest.raises(UsageError, match="unknown device"):
        resolve_device(name)


def test_workers_take_the_cards_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    workers = [worker_number(told) for told in ({}, {"workerid": "gw0"}, {"workerid": "gw4"})]
    cards = [resolve_device("cuda", worker).index for worker in workers]
    assert cards == [0, 0, 1]
    assert resolve_device("cuda:2", 4).index == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda():
    with pytest.raises(UsageError, match="use --device cpu"):
        resolve_device("cuda")


def test_training_works_on_the_chosen_device(device):
    settings = RunSettings(device=str(device))
    (record,) = run_cell(Cell("stn", "digits_rts", "smoke", RECIPE), [0], settings)
    assert record.status == "ok"
    assert record.environment.device_type == device.type
