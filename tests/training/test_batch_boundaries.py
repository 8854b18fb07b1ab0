"""What runs in batches gives what one pass gives, whatever is left for the last batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor, nn

from stn_core.datasets import Split, load_dataset
from stn_core.layers.spatial_transformer import WarpedImages
from stn_core.models import create_model
from stn_core.models.normaliser import Normaliser
from stn_core.training.artifact_collection import MOST_THETAS, collect_artifacts
from stn_core.training.callbacks import Run
from stn_core.training.evaluation import evaluate
from stn_core.training.film import Film
from stn_core.training.history import History
from stn_core.training.robustness import CHANGES, Pose, misplaced, posed, robustness
from stn_core.training.warped_images import warp
from tests.examples import record

CPU = torch.device("cpu")
COUNTS = (1, 499, 500, 501, 999, 1000, 1001)


def images_of(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 1, 4, 6), dtype=torch.uint8, generator=generator)
    return images, torch.randint(5, (count,), generator=generator)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(24, 5))


class Counts(nn.Module):
    """Notes the size of each batch that it classifies or warps."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return torch.zeros(len(images), 2)

    def transform(self, images: Tensor) -> WarpedImages:
        self.batches.append(len(images))
        return WarpedImages(images, torch.zeros(len(images), 3, 4, 2), torch.zeros(len(images), 6))


@pytest.mark.parametrize("count", COUNTS)
def test_an_evaluation_is_one_pass(count: int) -> None:
    images, labels = images_of(count)
    model = network()
    found = evaluate(model, images, labels, lambda pixels: pixels / 255)
    expected = model(images / 255).detach()
    assert found.logits.shape == (count, 5)
    # Another number of rows may be multiplied in another order: float32 of sums of 24 products.
    torch.testing.assert_close(found.logits, expected, rtol=1e-5, atol=1e-6)
    probabilities = expected.double().softmax(1).numpy()
    loss = metrics.log_loss(labels.numpy(), probabilities, labels=np.arange(5))
    assert found.cross_entropy == pytest.approx(loss, rel=1e-5)
    assert found.accuracy == pytest.approx(float((expected.argmax(1) == labels).double().mean()))


@pytest.mark.parametrize(
    ("size_hw", "most"),
    [((4, 6), 500), ((64, 64), 500), ((112, 112), 500), ((224, 112), 250), ((448, 448), 31)],
)
def test_large_images_are_evaluated_in_smaller_batches(size_hw: tuple[int, int], most: int) -> None:
    images = torch.zeros(1, 3, 1, 1, dtype=torch.uint8).expand(501, 3, *size_hw)
    model = Counts()
    evaluate(model, images, torch.zeros(501, dtype=torch.int64), lambda pixels: pixels)
    assert max(model.batches) == most
    assert sum(model.batches) == 501


def test_large_images_are_warped_in_smaller_batches() -> None:
    images = torch.zeros(70, 1, 224, 448, dtype=torch.uint8)
    model = Counts()
    misplaced(model, images, [Pose(x=2)], (0.0,), lambda pixels: pixels)
    assert model.batches == [62, 62, 8, 8]  # each unchanged and changed


@pytest.mark.parametrize("count", [499, 501])
def test_robustness_counts_every_image(count: int) -> None:
    images, labels = images_of(count)
    model = network()
    changes = (dataclasses.replace(CHANGES[2], amounts=(0, 2)),)
    found = list(
        robustness(model, Split(images, labels), lambda pixels: pixels / 255, (0.0,), changes)
    )
    for one in found:
        rates = [
            (model(posed(images, pose, (0.0,)) / 255).argmax(1) == labels).double().mean()
            for pose in changes[0].poses(one.amount)
        ]
        assert one.accuracy == pytest.approx(float(torch.stack(rates).mean()))


@pytest.mark.parametrize("count", [99, 100, 101, MOST_THETAS - 1, MOST_THETAS, MOST_THETAS + 1])
def test_the_spread_of_a_warp_is_that_of_one_pass(count: int) -> None:
    digits = load_dataset("digits")
    places = torch.arange(count) % len(digits.val)
    val = Split(digits.val.images[places], digits.val.labels[places])
    run = Run(record(), dataclasses.replace(digits, val=val), CPU)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        run.model = create_model("stn", digits.image_shape, 10).eval()
        for parameter in run.model.parameters():  # or the warp would be the identity everywhere
            parameter.data += 0.02 * torch.randn_like(parameter)
    run.normalise, run.history = Normaliser.of(digits, CPU), History(kept_epoch=1)
    film = Film(run)
    film.take(0)
    warps = collect_artifacts(run, {1: film.frames[0]}).warps
    assert warps is not None
    chosen = np.linspace(0, count - 1, min(count, MOST_THETAS)).round().astype(int)
    expected = warp(run.model, val.images[chosen], run.normalise)  # type: ignore[arg-type]
    assert expected.theta.std(0).min() > 1e-3  # each image has a warp of its own
    assert np.array_equal(warps.theta_labels, val.labels[chosen].numpy())
    np.testing.assert_allclose(warps.theta, expected.theta.numpy(), rtol=1e-4, atol=1e-5)
