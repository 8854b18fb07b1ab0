"""From splits to a dataset: statistics, background, fixed distorted splits and the hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.base import Dataset, Distortion, Split
from stn_core.datasets.chunks import images_at_once
from stn_core.datasets.keyed_random import Stream
from stn_core.datasets.splits import SPLIT_VERSION
from stn_core.errors import UsageError
from stn_core.geometry.option_values import whole_number

DRAW_VERSION = 1
"""Seed of the fixed distorted copies; another version is another dataset."""

_COUNTED_AT_ONCE = 10_000
"""Images, fewer of large ones."""


@dataclass(frozen=True)
class Sources:
    """The splits of a dataset before any distortion.

    Args:
        train: images to learn from.
        val: images for early stopping and search.
        test: images to be judged on.
        class_names: one name per class; a dataset has them as a tuple, also if a text or a list
            is given.
        digest: what the hash covers in place of the pixels, if decoding the same files may give
            other pixels on another machine: a digest of the files and of how they are read.
    """

    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    digest: str | None = None


def assemble(name: str, sources: Sources) -> Dataset:
    """A dataset whose images are used as they are.

    Args:
        name: the name it is loaded by.
        sources: its splits, all of one image shape.

    Raises:
        UsageError: shapes differ between splits, a label has no class name, one is not text, or a
            channel of the training images is the same everywhere.
    """
    _check_sources(name, sources)
    mean, std = _mean_std(name, sources.train.images)
    return Dataset(
        name=name,
        train=sources.train,
        val=sources.val,
        test=sources.test,
        class_names=tuple(sources.class_names),
        mean=mean,
        std=std,
        background=border_median(sources.train.images),
        distortion=None,
        hash=_hash(sources),
        digest=sources.digest,
    )


def assemble_distorted(
    name: str, sources: Sources, distortion: Distortion, val_copies: int, test_copies: int
) -> Dataset:
    """A dataset whose training images are distorted afresh each epoch.

    Args:
        name: the name it is loaded by.
        sources: its undistorted splits, all of one image shape.
        distortion: what to do to them.
        val_copies: distorted copies of each validation image, fixed; at least 1.
        test_copies: distorted copies of each test image, fixed; at least 1.

    Raises:
        UsageError: as `assemble`, or there would be no copy.
    """
    whole_number("val_copies", val_copies, least=1)
    whole_number("test_copies", test_copies, least=1)
    _check_sources(name, sources)
    background = border_median(sources.train.images)
    val, val_applied = _distorted_split(sources.val, distortion, background, val_copies, Stream.VAL)
    test, test_applied = _distorted_split(
        sources.test, distortion, background, test_copies, Stream.TEST
    )
    train_copy, _ = _distorted_split(
        sources.train, distortion, background, 1, Stream.TRAIN_STATISTICS
    )
    mean, std = _mean_std(name, train_copy.images)
    return Dataset(
        name=name,
        train=sources.train,
        val=val,
        test=test,
        class_names=tuple(sources.class_names),
        mean=mean,
        std=std,
        background=background,
        distortion=distortion,
        hash=_hash(sources, distortion, val_applied, test_applied),
        digest=sources.digest,
    )


def border_median(images: Tensor) -> tuple[float, ...]:
    """Median of the outermost pixels, per channel.

    Args:
        images: uint8 ``(N, C, H, W)``.

    Returns:
        C values in 0 to 255.
    """
    border = torch.ones(images.shape[-2:], dtype=torch.bool)
    border[1:-1, 1:-1] = False
    counts = _value_counts(images, border)
    ranks = counts.cumsum(1)
    middle = torch.tensor([(int(counts[0].sum()) - 1) // 2, int(counts[0].sum()) // 2])
    return tuple(
        float(torch.searchsorted(rank, middle, right=True).double().mean()) for rank in ranks
    )


def _value_counts(images: Tensor, where: Tensor | None = None) -> Tensor:
    """How often each of the 256 values occurs in each channel, (C, 256).

    Counted some images at a time: large sets are mapped from a file, and no copy of them is made.

    Args:
        images: uint8 ``(N, C, H, W)``.
        where: ``(H, W)``, true where pixels count; None for everywhere.
    """
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    height, width = images.shape[-2:]
    for chunk in images.split(images_at_once(_COUNTED_AT_ONCE, (height, width))):
        seen = chunk.flatten(2) if where is None else chunk[:, :, where]
        for channel, pixels in enumerate(seen.unbind(1)):
            counts[channel] += torch.bincount(pixels.flatten(), minlength=256)
    return counts


def _check_sources(name: str, sources: Sources) -> None:
    names: Any = sources.class_names
    for label, class_name in enumerate(names):
        if not isinstance(class_name, str):  # a saved model of it could not be read
            line = f"class_names[{label}] must be text, not {class_name!r}"
            raise UsageError(f"dataset {name!r}: {line}")
    image_shape = sources.train.images.shape[1:]
    splits = {"train": sources.train, "val": sources.val, "test": sources.test}
    for split_name, split in splits.items():
        if split.images.shape[1:] != image_shape:
            raise UsageError(
                f"dataset {name!r}: {split_name} images have shape "
                f"{tuple(split.images.shape[1:])}, train images {tuple(image_shape)}"
            )
        for label in (int(split.labels.min()), int(split.labels.max())):
            if not 0 <= label < len(sources.class_names):
                raise UsageError(
                    f"dataset {name!r}: label {label} in {split_name} is out of range for "
                    f"{len(sources.class_names)} classes"
                )


def _mean_std(name: str, images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation per channel, of pixels scaled to [0, 1]."""
    # Sums of integers below 2^53 are exact in float64.
    counts = _value_counts(images).to(torch.float64)
    values = torch.arange(256, dtype=torch.float64)
    num_pixels = counts.sum(1)
    mean = (counts * values).sum(1) / num_pixels
    variance = (counts * values.square()).sum(1) / num_pixels - mean.square()
    for channel, value in enumerate(variance.tolist()):
        if value <= 0:
            raise UsageError(
                f"dataset {name!r}: channel {channel} of the training images is the same "
                "everywhere; leave it out"
            )
    return tuple((mean / 255).tolist()), tuple((variance.sqrt() / 255).tolist())


def _distorted_split(
    split: Split,
    distortion: Distortion,
    background: tuple[float, ...],
    copies: int,
    stream: Stream,
) -> tuple[Split, NDArray[np.int64]]:
    """A fixed split of several distorted copies of each image, and what was done to them."""
    draws = distortion.draw(copies * len(split), DRAW_VERSION, stream)
    sources = split.images.repeat_interleave(copies, dim=0)
    images = distortion.apply(sources, draws, background)
    applied = distortion.applied(draws, (sources.shape[-2], sources.shape[-1]))
    return Split(images, split.labels.repeat_interleave(copies)), applied


def _hash(
    sources: Sources, distortion: Distortion | None = None, *applied: NDArray[np.int64]
) -> str:
    digest = hashlib.sha256(f"split {SPLIT_VERSION}, {distortion!r}".encode())
    if sources.digest is not None:
        digest.update(sources.digest.encode())
    for split in (sources.train, sources.val, sources.test):
        digest.update(str(tuple(split.images.shape)).encode())
        if sources.digest is None:
            digest.update(split.images.contiguous().numpy().data)
        digest.update(split.labels.numpy().astype("<i8").data)
    for numbers in applied:
        digest.update(np.ascontiguousarray(numbers, dtype="<i8").data)
    return digest.hexdigest()[:16]
