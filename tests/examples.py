"""Records and baselines for the tests of the judging wing."""

import numpy as np

from stn_core.gate.baselines import BaselineRun, CellBaseline
from stn_core.session.artifacts import Artifacts, Mistakes, WarpPictures
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.session.records import Environment, RunRecord

CELL = Cell("stn", "digits", "smoke", Recipe())
DATA_HASH = "d0d0d0d0d0d0d0d0"


def environment(**changes):
    values = {
        "stn_core": "0.1.0",
        "python": "3.11.7",
        "torch": "2.11.0",
        "numpy": "2.2.0",
        "platform": "Linux-x86_64",
        "device_type": "cpu",
        "device_name": "a processor",
        "instruction_set": "AVX2",
        "threads": 1,
    }
    return Environment(**{**values, **changes})


def record(seed=0, accuracy=0.95, cell=CELL, **changes):
    values = {
        "model": cell.model,
        "dataset": cell.dataset,
        "budget": cell.budget,
        "seed": seed,
        "is_search": cell.is_search,
        "recipe": cell.recipe.to_dict(),
        "recipe_hash": cell.recipe.hash(),
        "data_hash": DATA_HASH,
        "environment": environment(),
        "parameters": 27_360,
        "test_images": 500,
        "test_accuracy": accuracy,
        "test_cross_entropy": 0.2,
        "validation": [{"epoch": 1, "train_loss": 0.5, "loss": 0.3, "accuracy": 0.9}],
        "kept_epoch": 1,
        "train_seconds": 2.0,
        "images_per_second": 5000.0,
        "digest": f"digest-{seed}",
    }
    return RunRecord(**{**values, **changes})


def baseline(accuracies, cell=CELL, first_seed=0, **changes):
    runs = tuple(
        BaselineRun(seed, accuracy, 0.2, 2.0, environment().key(), "cpu", f"stored-{seed}")
        for seed, accuracy in enumerate(accuracies, start=first_seed)
    )
    values = {
        "recipe_hash": cell.recipe.hash(),
        "data_hash": DATA_HASH,
        "test_images": 500,
        "date": "2026-01-01",
        "commit": "c0ffee",
        "runs": runs,
    }
    return CellBaseline(**{**values, **changes})


def artifacts(classes=3, images=2, size_hw=(4, 5), seed=0, digest="digest-0"):
    """Arrays of a run that never was, with every part."""
    random = np.random.default_rng(seed)

    def pixels(*shape):
        return random.integers(0, 256, (*shape, 1, *size_hw), dtype=np.uint8)

    labels = random.integers(0, classes, images)
    return Artifacts(
        digest=digest,
        class_names=np.array([f"class {label}" for label in range(classes)]),
        mistakes=Mistakes(
            worst_images=pixels(1),
            first_mistakes=np.array([[7.0, 0.0, 1.0, 0.75]] * images),
            first_images=pixels(images),
            worst_warped=pixels(1),
            first_warped=pixels(images),
            calibration=np.array([[3.0, 0.5, 0.25], [5.0, 0.9, 1.0]]),
        ),
        warps=WarpPictures(
            batch=pixels(images),
            batch_labels=labels,
            warped=pixels(images),
            grid=random.uniform(-1.2, 1.2, (images, *size_hw, 2)).astype(np.float32),
            det=random.uniform(-1, 3, (images, *size_hw)).astype(np.float32),
            film=pixels(3, images),
            film_epochs=np.array([0, 1, 4]),
            theta=random.normal(size=(9, 6)).astype(np.float32),
            theta_labels=random.integers(0, classes, 9),
            outside=random.uniform(0, 1, 9).astype(np.float32),
            least_det=random.normal(size=9).astype(np.float32),
            folded=random.uniform(0, 1, 9).astype(np.float32),
        ),
    )
