"""run_cell: the same call gives the same record, leaves no trace, survives what a model does."""

import dataclasses
import pickle
import shutil
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from stn_core.errors import UsageError
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.suite.engine_choice import worker_number
from stn_core.training import run_cell as running
from stn_core.training.callbacks import SaveModels
from stn_core.training.devices import resolve_device
from stn_core.training.run_cell import RunSettings, cached_dataset, run_cell
from tests.datasets.noise import write_folder
from tests.watching import OnEpoch

RECIPE = Recipe(epochs=2, batch_size=100)
pytestmark = pytest.mark.usefixtures("unruly_models", "few_digits")
CELL = Cell("stn_coordcls", "few_digits_rts", "smoke", RECIPE)


def unchanging(record):
    """A record without what the machine and its other programs have a part in."""
    return dataclasses.replace(
        record,
        train_seconds=0,
        evaluate_seconds=0,
        images_per_second=0,
        peak_memory_mb=0,
        other_load=None,
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
    run_cell(dataclasses.replace(CELL, model="cnn", dataset="few_digits"), [5, 6, 5])
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
    run_cell(Cell("cnn", "few_digits", "smoke", Recipe(epochs=1)), [0], RunSettings(threads=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_record_is_complete_and_plain():
    (record,) = run_cell(CELL, np.arange(1))
    assert type(record.seed) is int
    assert pickle.loads(pickle.dumps(record)) == record
    assert record.status == "ok"
    assert record.parameters == 28_860
    assert record.test_images == len(cached_dataset("few_digits_rts", None, False).test)
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

    cell = Cell("cnn", "few_digits", "smoke", Recipe(epochs=1))
    run_cell(cell, [3, 4], None, on_record, [OnEpoch(on_epoch)])
    assert seen == [("epoch", 1), ("record", 3), ("epoch", 1), ("record", 4)]


def test_a_search_uses_the_test_set_only_with_final(monkeypatch):
    search = dataclasses.replace(CELL, is_search=True)
    (record,) = run_cell(search, [0])
    assert record.test_accuracy is None
    assert record.test_images == 0
    assert record.confusion == []
    assert record.validation_accuracy is not None
    (final,) = run_cell(search, [0], RunSettings(final=True))
    assert final.test_accuracy is not None


def test_a_model_that_raises_is_recorded_and_the_rest_goes_on():
    records = run_cell(Cell("falls_over", "few_digits", "smoke", RECIPE), [0, 1])
    assert [record.status for record in records] == ["crashed", "crashed"]
    assert records[0].message == "RuntimeError: no luck today"


def test_an_unknown_model_is_a_crash_in_the_users_words():
    (record,) = run_cell(Cell("stm", "few_digits", "smoke", RECIPE), [0])
    assert record.message.startswith("unknown model 'stm'; did you mean stn")


def test_a_loss_that_is_not_finite_is_a_divergence():
    (record,) = run_cell(Cell("says_nan", "few_digits", "smoke", RECIPE), [0])
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
def test_a_builder_without_a_usable_model_crashes_its_cell_with_a_clear_message(model, message):
    (record,) = run_cell(Cell(model, "few_digits", "smoke", RECIPE), [0])
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
    records = run_cell(Cell(model, "few_digits", "smoke", RECIPE), [0, 1])
    assert [record.status for record in records] == ["crashed", "crashed"]
    assert records[0].message.startswith(message)
    assert len(records[0].message.splitlines()) == 1


def test_the_memory_of_a_finished_model_is_freed_before_the_next_seed(monkeypatch):
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
    records = run_cell(Cell("cnn", "few_digits", "smoke", RECIPE), [0, 1, 2])
    assert [record.message for record in records] == ["RuntimeError: full"] * 3
    assert alive == [[], [False], [False, False]]


def test_a_model_that_views_its_feature_maps_is_still_trained():
    (record,) = run_cell(Cell("tutorial", "few_digits", "smoke", RECIPE), [0])
    assert record.status == "ok"


def test_an_unknown_dataset_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean digits"):
        run_cell(Cell("cnn", "digitz", "smoke", RECIPE), [0])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"threads": 0}, "threads must be a whole number of at least 1, not 0"),
        ({"threads": 1.5}, "threads must be a whole number of at least 1, not 1.5"),
        ({"threads": True}, "threads must be a whole number of at least 1, not True"),
        ({"image_size": [28, 28]}, r"image_size is a tuple \(height, width\), not \[28, 28\]"),
        ({"device": "gpu"}, "unknown device 'gpu'; use auto, cpu, cuda"),
        ({"device": "cuda:99"}, "device cuda:99: "),
    ],
)
def test_settings_that_no_run_can_have_are_reported_before_the_training(monkeypatch, wrong, said):
    monkeypatch.setattr(running, "train", lambda *_: pytest.fail("was trained"))
    with pytest.raises(UsageError, match=said):
        run_cell(CELL, [0], RunSettings(**wrong))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "3", None, True])
def test_a_seed_that_is_none_is_reported_before_the_first_one_is_trained(monkeypatch, seed):
    monkeypatch.setattr(running, "train", lambda *_: pytest.fail("was trained"))
    with pytest.raises(UsageError, match=r"a seed is a whole number from 0 to 2\*\*53, not"):
        run_cell(CELL, [0, seed])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": 3}, r"seeds are several, such as \[0, 1, 2\], not 3"),
        ({"callbacks": SaveModels("models")}, "callbacks are several, such as"),
        ({"callbacks": [SaveModels]}, "each of callbacks is a Callback, not <class"),
        ({"cell": "smoke/digits/cnn"}, "the cell is a Cell, not 'smoke/digits/cnn'"),
        ({"cell": dataclasses.replace(CELL, recipe={"epochs": 1})}, "a cell's recipe is a Recipe"),
        ({"settings": {"device": "cpu"}}, "settings is a RunSettings, not {'device': 'cpu'}"),
        ({"settings": {}}, "settings is a RunSettings, not {}"),
        ({"on_record": []}, r"on_record is a function, not \[\]"),
    ],
)
def test_arguments_of_another_type_are_told_before_the_training(monkeypatch, wrong, said):
    monkeypatch.setattr(running, "train", lambda *_: pytest.fail("was trained"))
    with pytest.raises(UsageError, match=said):
        run_cell(**{"cell": CELL, "seeds": [0], **wrong})


def test_a_variant_has_one_name_in_records_however_it_is_spelt():
    spelt = ("cnn[hidden=9]", "cnn[ hidden=9.0, channels=(10,20) ]")
    cells = [dataclasses.replace(CELL, model=name) for name in spelt]
    records = [record for cell in cells for record in run_cell(cell, [0])]
    assert [record.key for record in records] == ["smoke/few_digits_rts/cnn[hidden=9]"] * 2
    assert records[0].digest == records[1].digest


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_where_gradients_are_off_no_model_is_blamed(off):
    with off(), pytest.raises(UsageError, match="gradients are off here"):
        run_cell(CELL, [0])


def test_a_run_may_choose_its_device_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cell = Cell("cnn", "few_digits", "smoke", Recipe(epochs=1))
    (record,) = run_cell(cell, [0], RunSettings(device="auto"))
    assert (record.status, record.environment.device_type) == ("ok", "cpu")


def test_data_that_changed_since_the_last_call_are_loaded_afresh(monkeypatch, tmp_path):
    monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))
    cell = Cell("cnn", "mine", "smoke", Recipe(epochs=1))
    for number, name in enumerate(("one", "other")):
        write_folder(tmp_path / name / "data" / "mine", {"a": 30, "b": 30}, (28, 28), number)

    def hashes(folder):
        monkeypatch.chdir(folder)
        return [r.data_hash for r in run_cell(cell, [0, 1], RunSettings(data_root="data"))]

    calls = []
    monkeypatch.setattr(running, "load_dataset", remembering_calls(running.load_dataset, calls))
    first, second = hashes(tmp_path / "one"), hashes(tmp_path / "one")
    assert first == second
    assert len(calls) == 1
    assert hashes(tmp_path / "other") != first
    assert hashes(tmp_path / "one") == first
    shutil.rmtree(tmp_path / "one" / "data" / "mine" / "b")
    write_folder(tmp_path / "one" / "data" / "mine", {"c": 30}, (28, 28), 5)
    assert hashes(tmp_path / "one") != first


def remembering_calls(load, calls):
    def load_and_remember(*arguments, **options):
        calls.append(arguments)
        return load(*arguments, **options)

    return load_and_remember


def test_keyboard_interrupt_is_not_swallowed():
    def interrupt(result, run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(CELL, [0], callbacks=[OnEpoch(interrupt)])


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "CPU", ""])
def test_an_unknown_device_is_reported(name):
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
    (record,) = run_cell(Cell("stn", "few_digits_rts", "smoke", RECIPE), [0], settings)
    assert record.status == "ok"
    assert record.environment.device_type == device.type
