"""A record of a seed holds what a training written out by hand gives with that seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stn_core.datasets import load_dataset
from stn_core.models import create_model
from stn_core.models.normaliser import Normaliser
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.batches import training_batches
from stn_core.training.run_cell import run_cell
from tests.liveness import assert_depends_on_its_input

RECIPE = Recipe(
    optimizer="sgd", learning_rate=0.1, schedule="constant", weight_decay=0.0, epochs=2,
    batch_size=200,
)  # fmt: skip


@pytest.mark.parametrize("seed", [0, 5])
def test_a_record_is_what_its_seed_gives_by_hand(seed: int) -> None:
    (record,) = run_cell(Cell("cnn", "digits", "smoke", RECIPE), [seed])
    digits = load_dataset("digits")
    normalise = Normaliser.of(digits, torch.device("cpu"), torch.channels_last)
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        model = create_model("cnn", digits.image_shape, 10).to(memory_format=torch.channels_last)
        for epoch in (1, 2):
            model.train()
            losses = []
            for images, labels in training_batches(
                digits.train.images, digits.train.labels, RECIPE, seed, epoch
            ):
                loss = F.cross_entropy(model(normalise(images)), labels)
                model.zero_grad()
                loss.backward()
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter -= 0.1 * parameter.grad
                losses.append(float(loss.detach()))
            noted = record.validation[epoch - 1]
            # The optimiser's fused update rounds otherwise.
            assert noted["train_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
        with torch.no_grad():
            logits = model.eval()(normalise(digits.test.images))
    torch.set_num_threads(threads)
    right = (logits.argmax(1) == digits.test.labels).double().mean()
    assert record.test_accuracy == pytest.approx(float(right), abs=2 / len(digits.test))
    loss = F.cross_entropy(logits, digits.test.labels)
    assert record.test_cross_entropy == pytest.approx(float(loss), rel=1e-3)
    assert_depends_on_its_input(model, normalise(digits.test.images[:20]))
