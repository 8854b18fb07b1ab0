"""Datasets: what they are, where they come from, and how they are distorted."""

from __future__ import annotations

from stn_core.datasets.assembly import Sources, assemble, assemble_distorted
from stn_core.datasets.base import Dataset, Distortion, Split

# Importing a source registers its datasets.
from stn_core.datasets.distortions import distorted_mnist as distorted_mnist
from stn_core.datasets.distortions.affine import AffineDistortion
from stn_core.datasets.distortions.channelwise import ChannelwiseDistortion
from stn_core.datasets.distortions.clutter import ClutterDistortion
from stn_core.datasets.distortions.elastic import ElasticDistortion
from stn_core.datasets.distortions.projective import ProjectiveDistortion
from stn_core.datasets.registry import (
    check_dataset,
    is_dataset,
    list_datasets,
    load_dataset,
    register_dataset,
)
from stn_core.datasets.sources import birds as birds
from stn_core.datasets.sources import cifar10 as cifar10
from stn_core.datasets.sources import coordinates as coordinates
from stn_core.datasets.sources import digits as digits
from stn_core.datasets.sources import torchvision_sets as torchvision_sets

__all__ = [
    "AffineDistortion",
    "ChannelwiseDistortion",
    "ClutterDistortion",
    "Dataset",
    "Distortion",
    "ElasticDistortion",
    "ProjectiveDistortion",
    "Sources",
    "Split",
    "assemble",
    "assemble_distorted",
    "check_dataset",
    "is_dataset",
    "list_datasets",
    "load_dataset",
    "register_dataset",
]
