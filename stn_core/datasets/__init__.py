"""Datasets: what they are, where they come from, and how they are distorted."""

from __future__ import annotations

from stn_core.datasets import digits, torchvision_sets  # noqa: F401 (they register themselves)
from stn_core.datasets.assembly import Sources, assemble, assemble_distorted
from stn_core.datasets.base import Dataset, Distortion, Split
from stn_core.datasets.distortions import AffineDistortion
from stn_core.datasets.registry import (
    check_dataset,
    list_datasets,
    load_dataset,
    register_dataset,
)

__all__ = [
    "AffineDistortion",
    "Dataset",
    "Distortion",
    "Sources",
    "Split",
    "assemble",
    "assemble_distorted",
    "check_dataset",
    "list_datasets",
    "load_dataset",
    "register_dataset",
]
