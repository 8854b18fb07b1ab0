"""Noise that spells its own number, so that a shift of images or labels is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stn_core.datasets import load_dataset
from stn_core.errors import UsageError

TRAIN, VAL, TEST = 60, 12, 20


def images(count: int, seed: int, *shape: int) -> NDArray[np.uint8]:
    made = np.random.default_rng(seed).integers(1, 256, (count, *shape), np.uint8)
    made.reshape(count, -1)[:, 0] = np.arange(count)
    return made


def labels(count: int, seed: int, classes: int = 3) -> NDArray[np.int64]:
    drawn = np.random.default_rng(seed).integers(0, classes, count)
    first = np.arange(min(classes, count))
    drawn[: len(first)] = first[::-1]
    return drawn


def complaint(root: Path, name: str = "mine", load: Callable = load_dataset) -> str:
    with pytest.raises(UsageError) as caught:
        load(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_folder(
    folder: Path, classes: dict[str, int], size: tuple[int, int] = (12, 14), seed: int = 0
) -> dict[bytes, str]:
    """Grey noise of a class each; returns the class by an image's pixels."""
    made = {}
    for number, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for image, pixels in enumerate(images(count, 100 * seed + number, *size)):
            Image.fromarray(pixels).save(folder / name / f"{image}.png")
            made[pixels.tobytes()] = name
    return made
