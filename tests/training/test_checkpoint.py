"""A training in pieces is the training in one; a checkpoint that is not right is not used."""

import dataclasses
import errno
import itertools
import json
import logging
import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stn_core.atomic_files import read_tensors, write_tensors
from stn_core.datasets import Split, load_dataset
from stn_core.models.normaliser import Normaliser
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training import train
from stn_core.training.callbacks import Run, SaveCheckpoints
from stn_core.training.callbacks.base import Watchers
from stn_core.training.checkpoint import Checkpoint, discard
from tests.examples import record
from tests.watching import OnEpoch

OWNER = {"cell": "smoke/digits/cnn", "seed": 0, "commit": None}
RECIPES = {
    "adamw_one_cycle": Recipe(epochs=4, batch_size=50),
    "sgd_momentum": Recipe(epochs=3, batch_size=50, optimizer="sgd", momentum=0.9),
    "sgd_constant": Recipe(epochs=3, batch_size=50, optimizer="sgd", schedule="constant"),
    "bfloat16": Recipe(epochs=3, batch_size=50, precision="bfloat16"),
    "scales": Recipe(epochs=3, batch_size=50, learning_rate_scales=(("0.*", 0.1), ("*bias", 0.0))),
    # So high a rate that the first epoch or the second is the best, and two worse ones follow.
    "patience": Recipe(
        epochs=9, batch_size=50, learning_rate=0.5, schedule="constant", patience=2, min_delta=0.01
    ),
}


class InterruptionError(BaseException):
    pass


@pytest.fixture(scope="module")
def digits():
    """The digits, cut to 28 x 20 pixels, 150 of them to learn from."""
    dataset = load_dataset("digits")

    def few(split, count):
        return Split(split.images[:count, :, :, 4:24], split.labels[:count])

    return dataclasses.replace(
        dataset, train=few(dataset.train, 150), val=few(dataset.val, 60), test=few(dataset.test, 2)
    )


def network(seed, memory_format=torch.contiguous_format):
    """A small network with dropout and running statistics; seeds the global generator, too."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.Dropout(0.3),
        nn.Conv2d(4, 6, (3, 2), stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(10),
    )
    model(torch.zeros(2, 1, 28, 20))
    return model.to(memory_format=memory_format)


def stop_after(epoch):
    def stop(result, run):
        if result.epoch == epoch:
            raise InterruptionError

    return OnEpoch(stop)


def follow(model, dataset, recipe, *callbacks):
    """The training, followed by callbacks."""
    run = Run(record(cell=Cell("own", "digits", "smoke", recipe)), dataset, torch.device("cpu"))
    run.model, run.normalise = model, normaliser(model, dataset)
    return train(model, dataset, recipe, 3, run.normalise, Watchers(callbacks, run))


def normaliser(model, dataset):
    """In the model's own memory format."""
    channels_last = model[3].weight.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return Normaliser.of(dataset, torch.device("cpu"), memory_format)


def train_in_pieces(path, dataset, recipe, memory_format=torch.contiguous_format):
    """The training, stopped after each epoch and taken up by a model and generator of other seeds.

    Returns:
        The model, the course of its training, and how many pieces it took.
    """
    for piece in itertools.count():
        model = network(piece, memory_format)
        callbacks = (SaveCheckpoints(str(path), seconds=0), stop_after(piece + 1))
        try:
            training = follow(model, dataset, recipe, *callbacks)
        except InterruptionError:
            continue
        return model, training, piece + 1


def train_in_one(dataset, recipe, memory_format=torch.contiguous_format, *callbacks):
    model = network(0, memory_format)
    return model, follow(model, dataset, recipe, *callbacks)


def course(training):
    """All of a training that is no time."""
    return (
        [dataclasses.replace(result, train_seconds=0) for result in training.epochs],
        [losses.tolist() for losses in training.step_losses],
        training.kept_epoch,
        training.images_seen,
        training.divergence,
    )


def assert_same_weights(first, second):
    for (name, value), other in zip(
        first.state_dict().items(), second.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_interrupted_after_every_epoch_and_resumed_it_is_the_same_training(
    digits, recipe, memory_format, tmp_path
):
    model, training = train_in_one(digits, recipe, memory_format)
    generator = torch.get_rng_state()
    resumed_model, resumed, pieces = train_in_pieces(
        tmp_path / "deep", digits, recipe, memory_format
    )
    assert pieces == len(training.epochs) + 1
    assert course(resumed) == course(training)
    assert_same_weights(resumed_model, model)
    assert torch.equal(torch.get_rng_state(), generator)


def test_the_recipe_of_patience_stops_early_and_not_at_its_best(digits):
    _, training = train_in_one(digits, RECIPES["patience"])
    assert training.kept_epoch < len(training.epochs) < RECIPES["patience"].epochs


def test_interrupted_within_an_epoch_it_is_the_same_training(digits, tmp_path):
    recipe = RECIPES["adamw_one_cycle"]
    saving = SaveCheckpoints(str(tmp_path), seconds=0)
    model, training = train_in_one(digits, recipe)
    frail = network(0)
    steps = itertools.count(1)

    def fail(module, inputs):
        if module.training and next(steps) == 8:  # of three an epoch: within the third
            raise InterruptionError

    frail.register_forward_pre_hook(fail)
    with pytest.raises(InterruptionError):
        follow(frail, digits, recipe, saving)
    (path,) = (file for file in tmp_path.rglob("*") if file.is_file())
    saved = read_tensors(path)[1]["state"]
    seen = []
    resumed_model = network(5)
    watching = OnEpoch(lambda result, _: seen.append(result))
    resumed = follow(resumed_model, digits, recipe, saving, watching)
    assert course(resumed) == course(training)
    assert_same_weights(resumed_model, model)
    assert seen == resumed.epochs
    # The two epochs before are those of the file, measured once.
    for result in seen[:2]:
        assert repr(result.train_seconds) in json.dumps(saved)


def test_saving_changes_nothing(digits, tmp_path):
    recipe = RECIPES["patience"]
    model, training = train_in_one(digits, recipe)
    saving_model, saving = train_in_one(
        digits, recipe, torch.contiguous_format, SaveCheckpoints(str(tmp_path), seconds=0)
    )
    assert course(saving) == course(training)
    assert_same_weights(saving_model, model)


@pytest.fixture
def saved(tmp_path):
    """A checkpoint with a state."""
    checkpoint = Checkpoint(tmp_path / "a.safetensors", OWNER, 0)
    checkpoint.maybe_save(lambda: {"weights": torch.arange(6.0).reshape(2, 3), "epoch": 4})
    return checkpoint


def test_a_damaged_byte_anywhere_is_noticed(saved, caplog):
    intact = saved.path.read_bytes()
    for position in range(0, len(intact), 7):
        damaged = bytearray(intact)
        damaged[position] ^= 0xFF
        saved.path.write_bytes(damaged)
        caplog.clear()
        assert saved.load() is None, position
        assert f"{saved.path} is damaged and not used" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_torn_file_is_noticed(saved, caplog, share):
    intact = saved.path.read_bytes()
    saved.path.write_bytes(intact[: int(share * len(intact))])
    assert saved.load() is None
    assert "is damaged and not used" in caplog.text
    saved.maybe_save(lambda: {"epoch": 5})
    assert saved.load() == {"epoch": 5}


def test_a_folder_or_another_kind_of_file_in_its_place_is_not_loaded(saved, caplog):
    from safetensors.torch import save_file

    save_file({"weights": torch.zeros(2)}, saved.path)
    assert saved.load() is None
    for document in ({"version": 1, "configuration": {}}, None, {"owner": 3, "state": {}}):
        write_tensors(saved.path, {"weights": torch.zeros(2)}, document)  # as a saved model is
        assert saved.load() is None
    saved.path.unlink()
    saved.path.mkdir()
    assert saved.load() is None
    discard(saved.path)
    assert len(caplog.messages) == 6


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        ({**OWNER, "seed": 1}, "seed"),
        ({**OWNER, "commit": "c0ffee", "cell": "full/mnist/stn"}, "cell, commit"),
        ({**OWNER, "data": "d0d0"}, "data"),
    ],
)
def test_a_checkpoint_of_something_else_is_not_used(saved, caplog, owner, names):
    assert Checkpoint(saved.path, owner).load() is None
    assert caplog.messages == [
        f"{saved.path} belongs to a run with another {names} and is not used"
    ]
    assert saved.load() is not None


def test_a_missing_checkpoint_is_not_logged(tmp_path, caplog):
    assert Checkpoint(tmp_path / "a.safetensors", OWNER).load() is None
    discard(tmp_path / "a.safetensors")
    assert caplog.messages == []


def test_a_full_disk_stops_nothing_and_costs_nothing(digits, saved, caplog, monkeypatch):
    before = saved.path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    model, training = train_in_one(digits, RECIPES["sgd_momentum"])
    other = Checkpoint(saved.path, {**OWNER, "seed": 3}, 0)
    state = {"weights": torch.zeros(2)}
    follower = OnEpoch(lambda result, run: other.maybe_save(lambda: state))
    saving_model, saving = train_in_one(
        digits, RECIPES["sgd_momentum"], torch.contiguous_format, follower
    )
    assert course(saving) == course(training)
    assert_same_weights(saving_model, model)
    assert "could not be written: [Errno 28] No space left on device" in caplog.text
    assert saved.path.read_bytes() == before
    assert list(saved.path.parent.iterdir()) == [saved.path]


def test_a_callbacks_state_that_is_not_json_does_not_stop_training(saved, caplog):
    saved.maybe_save(lambda: {"schedule": object()})
    assert "could not be written: Object of type object" in caplog.text
    assert saved.load()["epoch"] == 4


def test_interrupted_while_it_saves_it_leaves_the_last_state(saved, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        saved.maybe_save(lambda: {"epoch": 5})
    assert saved.load()["epoch"] == 4


def test_it_saves_only_when_it_is_due(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("stn_core.training.checkpoint.time", clock)
    checkpoint = Checkpoint(tmp_path / "a.safetensors", OWNER, seconds=60)
    asked = []

    def state():
        asked.append(clock.now)
        return {"at": clock.now}

    for clock.now in (101.0, 159.0, 160.0, 161.0, 219.0, 221.0):
        checkpoint.maybe_save(state)
    assert asked == [160.0, 221.0]
    assert checkpoint.load() == {"at": 221.0}


def test_the_log_says_where_a_training_goes_on_from(saved, caplog):
    with caplog.at_level(logging.INFO):
        saved.load()
    assert caplog.messages == [f"training continues from {saved.path}"]
