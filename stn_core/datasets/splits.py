"""How images are divided into train, validation and test: once, by a versioned permutation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stn_core.datasets.base import Split
from stn_core.datasets.keyed_random import Stream, permutation

SPLIT_VERSION = 1
"""Part of every dataset's hash: another split is another dataset."""

MAX_VALIDATION = 5_000
"""A tenth of the official training images validates, but no more than this."""

MIN_TRAIN_IMAGES = 10
"""Fewer official training images would leave none to validate with."""


def stratified_order(labels: Tensor) -> Tensor:
    """A fixed random order of which every beginning holds each class in its share.

    Each class is shuffled, and its r-th of n images is placed at (r + 1/2) / n of the way. Among
    the first k of N images, a class of n images has about k n / N; if all classes are of the same
    size, this is exact to within one image.

    Args:
        labels: int64 ``(N,)``, not negative.

    Returns:
        int64 ``(N,)``: a permutation of the indices.
    """
    shuffled = permutation(len(labels), SPLIT_VERSION, Stream.SPLIT)
    classes = labels.numpy()[shuffled]
    class_sizes = np.bincount(classes)
    class_starts = np.cumsum(class_sizes) - class_sizes
    rank = np.empty(len(classes), dtype=np.int64)
    rank[np.argsort(classes, kind="stable")] = np.arange(len(classes)) - np.repeat(
        class_starts, class_sizes
    )
    place = (rank + 0.5) / class_sizes[classes]
    return torch.from_numpy(shuffled[np.argsort(place, kind="stable")])


def carve_validation(images: Tensor, labels: Tensor) -> tuple[Split, Split]:
    """Divide the official training images into train and validation.

    Args:
        images: uint8 ``(N, C, H, W)``, at least `MIN_TRAIN_IMAGES`.
        labels: int64 ``(N,)``, not negative.

    Returns:
        Train and validation; no image is in both.
    """
    train, val = validation_indices(labels)
    return Split(images[train], labels[train]), Split(images[val], labels[val])


def validation_indices(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The indices of train and of validation; arguments as for `carve_validation`."""
    order = stratified_order(labels)
    val, train = order.tensor_split([min(MAX_VALIDATION, len(labels) // 10)])
    return train, val


def keep_every_class(labels: Tensor, train: Tensor, val: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Move classes without a training image from validation back to train.

    Args:
        labels: as for `carve_validation`.
        train, val: indices from `validation_indices`.

    Returns:
        Train and validation, and the classes that were moved. If that leaves no validation image,
        validation shares its images with train.
    """
    lost = torch.tensor(sorted(set(labels[val].tolist()) - set(labels[train].tolist())))
    if not len(lost):
        return train, val, lost
    given_back = torch.isin(labels[val], lost)
    kept = val[~given_back]
    return torch.cat([train, val[given_back]]), kept if len(kept) else val, lost
