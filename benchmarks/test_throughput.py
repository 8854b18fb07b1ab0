"""How fast the training loop is: against the bare limit, and against the predecessors' own loop.

Nothing here judges a model. The loops run interleaved in one process, so that a machine whose
speed drifts slows all of them; the table shows medians and the spread of the ratios.
"""

import dataclasses
import statistics
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from stn_core.datasets import Split, load_dataset
from stn_core.errors import UsageError
from stn_core.models.normaliser import Normaliser
from stn_core.session.budgets import PREDECESSOR
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.suite.plugin import session_options
from stn_core.training import train
from stn_core.training.isolation import isolated
from stn_core.training.run_cell import RunSettings, prepare_model, run_cell

ROUNDS = 5
IMAGES = 6400
REFERENCE_EPOCH_SECONDS = 14.7  # a predecessor's epoch, training and test, on 2 cores
REFERENCE_EPOCHS = 20  # what it needed for 98.7 %

pytestmark = pytest.mark.throughput


@pytest.fixture(scope="module")
def images(pytestconfig):
    """6,400 training images: MNIST's where there is MNIST, else digits repeated."""
    try:
        dataset = load_dataset("mnist", root=session_options(pytestconfig).data_root)
    except UsageError:
        dataset = load_dataset("digits")
    index = torch.arange(IMAGES) % len(dataset.train)
    train_split = Split(dataset.train.images[index], dataset.train.labels[index])
    one = Split(dataset.val.images[:1], dataset.val.labels[:1])
    return dataclasses.replace(dataset, train=train_split, val=one)


class PilImages(Dataset):
    """The images as the predecessors read them: PIL pictures, one by one, transformed in Python."""

    def __init__(self, dataset):
        # Seconds to import, and every session of the benchmarks collects this file.
        from PIL import Image
        from torchvision.transforms import Compose, Normalize, ToTensor

        self.to_picture = Image.fromarray
        self.images = dataset.train.images[:, 0].numpy()
        self.labels = dataset.train.labels
        self.to_input = Compose([ToTensor(), Normalize(dataset.mean, dataset.std)])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.to_input(self.to_picture(self.images[index])), self.labels[index]


def our_loop(model, dataset, recipe, device):
    normalise = Normaliser.of(dataset, device, torch.channels_last)
    return train(model, dataset, recipe, seed=0, normalise=normalise).train_seconds


def bare_loop(model, dataset, recipe, device):
    """The limit: float32 channels-last tensors already on the device, and nothing else."""
    normalise = Normaliser.of(dataset, device, torch.channels_last)
    pixels = normalise(dataset.train.images.to(device))
    labels = dataset.train.labels.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, fused=True)
    model.train()
    synchronise(device)
    started = time.perf_counter()
    for start in range(0, len(labels), recipe.batch_size):
        batch = slice(start, start + recipe.batch_size)
        with torch.autocast(device.type, torch.bfloat16, recipe.precision == "bfloat16"):
            logits = model(pixels[batch])
        loss = F.cross_entropy(logits.float(), labels[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    synchronise(device)
    return time.perf_counter() - started


def reference_loop(model, dataset, recipe, device):
    """A DataLoader with four workers over PIL transforms, batch 64, plain SGD."""
    loader = DataLoader(PilImages(dataset), recipe.batch_size, shuffle=True, num_workers=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.learning_rate)
    model = model.to(memory_format=torch.contiguous_format).train()
    started = time.perf_counter()
    for pixels, labels in loader:
        pixels, labels = pixels.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(pixels), labels)
        loss.backward()
        optimizer.step()
        loss.item()
    return time.perf_counter() - started


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# Chosen on validation images: 98.66 ± 0.09 (n = 3, November 2026).
SPRINT = Recipe(learning_rate=0.008, batch_size=192, epochs=3, precision="bfloat16")
FAST = Recipe(epochs=1, batch_size=128)
LOOPS = {
    "bare loop, batch 128": (bare_loop, FAST),
    "ours, batch 128": (our_loop, FAST),
    "ours, batch 512, bfloat16": (
        our_loop,
        FAST.replace({"batch_size": 512, "precision": "bfloat16"}),
    ),
    "reference loop, batch 64": (reference_loop, PREDECESSOR),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["cnn", "stn"])
def test_throughput(name, threads, images, device, show):
    speeds = {loop: [] for loop in LOOPS}
    with isolated(0, device, threads):
        for _ in range(ROUNDS + 1):
            for loop, (run, recipe) in LOOPS.items():
                model = prepare_model(name, images, device)
                seconds = run(model, images, recipe.replace({"epochs": 1}), device)
                speeds[loop].append(IMAGES / seconds)
    timed = {loop: values[1:] for loop, values in speeds.items()}  # the first round warms up
    show(f"{name}, {device}, {threads} thread(s), {images.name}, {ROUNDS} rounds", timed)
    ratios = np.divide(timed["ours, batch 128"], timed["bare loop, batch 128"])
    assert np.median(ratios) >= 0.9


@pytest.fixture
def show(pytestconfig):
    """Print a table of speeds, and of their ratios to the bare and the reference loop."""
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")

    def print_table(title, speeds):
        rows = [
            [
                loop,
                f"{statistics.median(values):,.0f}",
                ratio_text(values, speeds["bare loop, batch 128"]),
                ratio_text(values, speeds["reference loop, batch 64"]),
            ]
            for loop, values in speeds.items()
        ]
        from tabulate import tabulate

        headers = ["loop", "images/s", "to the bare loop", "to the reference loop"]
        with capture.global_and_fixture_disabled():
            print(f"\n{title}\n{tabulate(rows, headers, disable_numparse=True)}")

    return print_table


def ratio_text(values, others):
    ratios = np.divide(values, others)
    return f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"


def test_time_to_accuracy(pytestconfig, device):
    """`stn` to 98.7 % on MNIST, a fixed number of epochs, validation and test included."""
    root = session_options(pytestconfig).data_root
    try:
        load_dataset("mnist", root=root)
    except UsageError as error:  # the target was measured on MNIST: no other data can replace it
        pytest.skip(str(error))
    cell = Cell("stn", "mnist", "quick", SPRINT, is_search=True)
    settings = RunSettings(device=str(device), threads=2, data_root=root, final=True)
    seconds, records, started = [], [], time.perf_counter()

    def note(record):
        nonlocal started
        seconds.append(time.perf_counter() - started)
        records.append(record)
        started = time.perf_counter()

    run_cell(cell, range(5), settings, note)
    accuracy = 100 * np.mean([record.test_accuracy for record in records])
    budget = REFERENCE_EPOCHS * REFERENCE_EPOCH_SECONDS / 20
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(
            f"\nstn on mnist, {cell.recipe.epochs} epochs, 5 seeds: {accuracy:.2f} %,"
            f" median {statistics.median(seconds):.1f} s a run"
            f" ({min(seconds):.1f} to {max(seconds):.1f}); a twentieth of the reference:"
            f" {budget:.1f} s"
        )
    assert accuracy >= 98.7
