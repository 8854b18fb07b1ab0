"""The loop does what the recipe says, step by step."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stn_core.datasets import AffineDistortion, Split, load_dataset
from stn_core.datasets.keyed_random import Stream
from stn_core.models.normaliser import Normaliser
from stn_core.session.recipe import Recipe
from stn_core.training import train, training_state
from stn_core.training.batches import training_batches
from stn_core.training.optimization import create_optimizer, create_scheduler

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    """The digits, 200 of them to learn from."""
    dataset = load_dataset("digits")
    few = Split(dataset.train.images[:200], dataset.train.labels[:200])
    return dataclasses.replace(dataset, train=few)


def normaliser(dataset):
    return Normaliser.of(dataset, CPU)


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))


def test_plain_gradient_descent_written_out_gives_the_same_weights(digits):
    recipe = Recipe(
        optimizer="sgd", learning_rate=0.05, schedule="constant", batch_size=50, weight_decay=0.0
    )
    model, by_hand = linear(), linear()
    train(model, digits, recipe, seed=4, normalise=normaliser(digits))
    normalise = Normaliser.of(digits, CPU)
    for epoch in (1, 2):
        for images, labels in training_batches(
            digits.train.images, digits.train.labels, recipe, seed=4, epoch=epoch
        ):
            loss = F.cross_entropy(by_hand(normalise(images)), labels)
            gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(by_hand.parameters(), gradients, strict=True):
                    parameter -= 0.05 * gradient
    # The same float32 operations in the same order, but for the fused update's rounding.
    assert torch.allclose(model[1].weight, by_hand[1].weight, atol=1e-6)


def test_the_loss_of_every_step_is_kept_and_falls(digits):
    training = train(
        linear(), digits, Recipe(epochs=5, batch_size=50), seed=0, normalise=normaliser(digits)
    )
    losses = torch.cat(training.step_losses)
    assert losses.shape == (5 * 4,)
    assert training.images_seen == 5 * 200
    assert losses[-4:].mean() < 0.5 * losses[:4].mean()
    assert [result.epoch for result in training.epochs] == [1, 2, 3, 4, 5]
    assert training.epochs[1].train_loss == pytest.approx(float(losses[4:8].mean()))


def test_one_cycle_rises_to_the_peak_and_ends_at_nothing():
    recipe = Recipe(learning_rate=0.1, epochs=5, warmup_fraction=0.3)
    model = nn.Linear(1, 1)
    optimizer = create_optimizer(model, recipe)
    scheduler = create_scheduler(optimizer, recipe, steps_per_epoch=20)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.1, rel=1e-3)
    assert 28 <= peak <= 31
    assert rates[0] < 0.1 / 20
    assert rates == sorted(rates[: peak + 1]) + sorted(rates[peak + 1 :], reverse=True)
    assert rates[-1] < 0.1 / 100


def test_groups_scale_the_learning_rate_and_hold_every_parameter_once(digits):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    recipe = Recipe(learning_rate=0.1, learning_rate_scales=(("1.*", 0.01),))
    groups = create_optimizer(model, recipe).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rates) == 4
    assert [rates[id(p)] for p in model.parameters()] == pytest.approx([0.1, 0.1, 0.001, 0.001])


def test_early_stopping_keeps_the_best_epoch(digits):
    recipe = Recipe(epochs=30, batch_size=50, learning_rate=0.3, schedule="constant", patience=2)
    model = linear()
    training = train(model, digits, recipe, seed=0, normalise=normaliser(digits))
    losses = [result.validation_loss for result in training.epochs]
    assert len(losses) < 30
    assert training.kept_epoch == losses.index(min(losses)) + 1
    kept = F.cross_entropy(
        model.eval()(Normaliser.of(digits, CPU)(digits.val.images)), digits.val.labels
    )
    assert kept.item() == pytest.approx(min(losses), rel=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run(digits):
    recipe = Recipe(optimizer="sgd", learning_rate=1e30, schedule="constant", batch_size=50)
    training = train(linear(), digits, recipe, seed=0, normalise=normaliser(digits))
    assert "not finite at step" in training.divergence
    assert "epoch 1" in training.divergence
    assert training.epochs == []
    assert training.kept_epoch == 0


def test_a_validation_loss_that_is_not_finite_stops_the_run(digits):
    class OnlyTrains(nn.Sequential):
        def forward(self, images):
            return super().forward(images) * (1 if self.training else float("nan"))

    training = train(OnlyTrains(*linear()), digits, Recipe(), 0, normaliser(digits))
    assert training.divergence == "the validation loss was not finite after epoch 1"
    assert training.images_seen == 0


@pytest.mark.parametrize("warmup", [0.01, 0.5, 0.99])
def test_one_cycle_of_a_single_step(digits, warmup):
    recipe = Recipe(epochs=1, batch_size=10**6, warmup_fraction=warmup)
    assert train(linear(), digits, recipe, 0, normaliser(digits)).images_seen == 200


def test_bfloat16_trains_close_to_float32(digits):
    losses = {}
    for precision in ("float32", "bfloat16"):
        recipe = Recipe(epochs=3, batch_size=50, precision=precision)
        losses[precision] = (
            train(linear(), digits, recipe, 0, normaliser(digits)).epochs[-1].train_loss
        )
    assert losses["bfloat16"] != losses["float32"]
    # bfloat16 has 8 bits: each logit is off by up to 0.4 %, the mean loss by less than 5 %.
    assert math.isclose(losses["bfloat16"], losses["float32"], rel_tol=0.05)


def test_only_training_images_teach(digits):
    """Whatever the test set holds, the weights are the same; whatever val holds, too."""
    blank = Split(torch.zeros_like(digits.test.images), digits.test.labels)
    first, second = linear(), linear()
    train(first, digits, Recipe(epochs=1), 0, normaliser(digits))
    train(
        second,
        dataclasses.replace(digits, test=blank, val=blank),
        Recipe(epochs=1),
        0,
        normaliser(digits),
    )
    assert torch.equal(first[1].weight, second[1].weight)


def test_training_ends_where_its_schedule_does(digits, monkeypatch):
    made = []

    def remembered(*arguments):
        made.append(create_scheduler(*arguments))
        return made[-1]

    monkeypatch.setattr(training_state, "create_scheduler", remembered)
    recipe = Recipe(epochs=3, batch_size=60, learning_rate=0.01)
    train(linear(), digits, recipe, seed=0, normalise=normaliser(digits))
    (scheduler,) = made
    # OneCycleLR's last step: a 1e4-th of where it began, a 25th of the peak.
    assert scheduler.get_last_lr() == [pytest.approx(0.01 / 25 / 1e4)]


def test_every_epoch_is_distorted_afresh():
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Watched(AffineDistortion):
        def draw(self, count, seed, stream, index=0):
            seen.append((seed, stream, index))
            return super().draw(count, seed, stream, index)

    dataset = load_dataset("digits_rts")
    few = Split(dataset.train.images[:60], dataset.train.labels[:60])
    watched = Watched(**dataclasses.asdict(dataset.distortion))
    dataset = dataclasses.replace(dataset, train=few, distortion=watched)
    train(linear(), dataset, Recipe(epochs=3), seed=7, normalise=normaliser(dataset))
    assert seen == [(7, Stream.TRAIN_EPOCH, epoch) for epoch in (1, 2, 3)]
