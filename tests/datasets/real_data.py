"""The real files, where STN_DATA names a folder that holds them: all of them or some."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stn_core.datasets import Dataset

DATA_ROOT = os.environ.get("STN_DATA")

# One of these is what a dataset is read from. What is there and damaged must fail, not be skipped.
_READ_FROM = {
    "birds": ("CUB_200_2011",),
    "cifar10": ("cifar10.npz", "cifar-10-batches-py"),
    "fashion_mnist": ("FashionMNIST",),
    "mnist": ("MNIST",),
}


NUM_SPECIES = 50
"""What the birds are expected of: a part of the official 200."""


def what_is_missing(dataset: str) -> str | None:
    """What to do to have a registered dataset, distorted ones included; None where it is there."""
    for plain, places in _READ_FROM.items():
        if dataset == plain or dataset.startswith(f"{plain}_"):
            if DATA_ROOT and any(Path(DATA_ROOT, place).exists() for place in places):
                return None
            return f"set STN_DATA to a folder that holds {' or '.join(places)}"
    return None


def needs_real(dataset: str) -> pytest.MarkDecorator:
    """Leaves a test out where the dataset's files are not there, and says so."""
    missing = what_is_missing(dataset)
    return pytest.mark.skipif(missing is not None, reason=missing or "")


def need_the_expected_species(birds: Dataset) -> None:
    """Leave the test out where the folder holds other species than it knows."""
    if birds.num_classes != NUM_SPECIES:
        pytest.skip(f"they are of {birds.num_classes} species, expected are {NUM_SPECIES}")
