"""What a user's own files hold, and the dataset it becomes: one road for every format.

A reader finds images and labels split by split, in whatever numbers and order the format has. Here
they are checked, brought to uint8 ``(N, C, H, W)`` and int64, divided, and copied once, a chunk at
a time, to where they stay (see `decoded`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.assembly import Sources, assemble
from stn_core.datasets.base import Dataset, Split
from stn_core.datasets.sources.decoded import Arrays, Tensors, filled_once
from stn_core.datasets.sources.labels import MOST_NAMED, check_classes, class_numbers
from stn_core.datasets.sources.memory import check_fits
from stn_core.datasets.sources.pixels import Conversion, conversion_of
from stn_core.datasets.splits import (
    MIN_TRAIN_IMAGES,
    SPLIT_VERSION,
    keep_every_class,
    validation_indices,
)
from stn_core.errors import UsageError

_LOGGER = logging.getLogger(__name__)

READING_VERSION = 2
"""Of how files become images; part of a kept copy's name."""

KEPT_FROM = 1 << 27
"""From this many bytes of images, they are kept decoded and shared; fewer are read each time."""

Shape = tuple[int, int, int]


class Rows(Protocol):
    """Images of one split, as a format holds them."""

    @property
    def name(self) -> str:
        """What an error calls them: an array, a file."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)"""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of the pixels."""
        ...

    def chunks(self) -> Iterator[NDArray[np.generic]]:
        """Consecutive images, from the first to the last."""
        ...


@dataclass(frozen=True)
class Labelled:
    """A split as it was found.

    Args:
        images: in the form in which the format stores them.
        labels: in that form too, one entry or row per image.
        labels_name: what an error calls them.
    """

    images: Rows
    labels: NDArray[np.generic]
    labels_name: str


@dataclass(frozen=True)
class Found:
    """All that a reader found.

    Args:
        path: the file or folder.
        splits: "train" and "test", and "val" if the files have one; a missing "test" is carved out
            of train, as validation is.
        class_names: one name per class; None: the numbers.
        unused: what the files hold that is not read.
        files: what was read, for the name of a kept copy.
        reading: the other settings that the images depend on.
        digest: see `Sources`.
        said: further remarks on how the files were read.
    """

    path: Path
    splits: Mapping[str, Labelled]
    class_names: tuple[str, ...] | None = None
    unused: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    reading: str = ""
    digest: str | None = None
    said: tuple[str, ...] = ()


def load_found(name: str, found: Found) -> Dataset:
    """Make a dataset of what was found, and say in one line how.

    Raises:
        UsageError: it is no dataset; names the file and what is wrong with it.
    """
    labels = {split: class_numbers(found.path, part) for split, part in found.splits.items()}
    conversions = {
        split: conversion_of(found.path, part.images) for split, part in found.splits.items()
    }
    _check_shapes(found, conversions)
    _check_scales(found, conversions)
    num_classes = check_classes(found.path, found.splits, labels, found.class_names)
    division = _divide(found, labels)
    check_fits(
        found.path,
        sum(part.images.shape[0] for part in found.splits.values())
        * int(np.prod(conversions["train"].shape)),
    )
    tensors = _filled(name, found, labels, conversions, division)
    splits = {
        split: Split(tensors[f"{split}_images"], tensors[f"{split}_labels"])
        for split in ("train", "val", "test")
    }
    class_names = found.class_names or tuple(map(str, range(num_classes)))
    dataset = assemble(name, Sources(**splits, class_names=class_names, digest=found.digest))
    notes = "; ".join([*_described(dataset), *division.said, *_said_of(found, conversions, labels)])
    _LOGGER.info("%s: %s", found.path, notes)
    return replace(dataset, notes=notes)


@dataclass(frozen=True)
class _Division:
    """Where each image goes: by name of the result's split, that of the source and its indices."""

    parts: Mapping[str, tuple[str, Tensor]]
    said: tuple[str, ...]


def _divide(found: Found, labels: Mapping[str, Tensor]) -> _Division:
    """Which images train, validate and test: as the files say, else by the fixed permutation."""
    train, parts, said = labels["train"], {}, []
    chosen = torch.arange(len(train))
    missing = [split for split in ("test", "val") if split not in labels]
    for split in missing:
        if len(chosen) < MIN_TRAIN_IMAGES:
            left = "" if len(chosen) == len(train) else f", {len(chosen)} without those for test"
            raise UsageError(
                f"{found.path}: {found.splits['train'].images.name} holds {len(train)} images"
                f"{left}; at least {MIN_TRAIN_IMAGES} are needed, a tenth of which is used for"
                " validation"
            )
        rest, carved = validation_indices(train[chosen])
        rest, carved, lost = keep_every_class(train[chosen], rest, carved)
        parts[split] = ("train", chosen[carved])
        said.append(f"{len(carved):,} of train set aside for {split}")
        if len(lost):
            names = _listed([_class_name(found, int(k)) for k in lost])
            shared = (
                ""
                if len(rest) + len(carved) == len(chosen)
                else (
                    f"; {split} shares its images with train, which has no second one of any class"
                )
            )
            said.append(f"the only images of class {names} stay in train{shared}")
        chosen = chosen[rest]
    for split in ("val", "test"):
        if split not in missing:
            parts[split] = (split, torch.arange(len(labels[split])))
    if "val" not in missing:
        said.append("validation split as in the files")
    return _Division({"train": ("train", chosen), **parts}, tuple(said))


def _class_name(found: Found, number: int) -> str:
    return found.class_names[number] if found.class_names else str(number)


def _filled(
    name: str,
    found: Found,
    labels: Mapping[str, Tensor],
    conversions: Mapping[str, Conversion],
    division: _Division,
) -> Tensors:
    """The images and labels of each split, copied once."""
    shape = conversions["train"].shape
    layout: dict[str, tuple[str, tuple[int, ...]]] = {}
    for split, (_, indices) in division.parts.items():
        layout[f"{split}_images"] = "U8", (len(indices), *shape)
    for split, (_, indices) in division.parts.items():
        layout[f"{split}_labels"] = "I64", (len(indices),)

    def fill(arrays: Arrays) -> None:
        for source, part in found.splits.items():
            targets = {
                split: indices for split, (of, indices) in division.parts.items() if of == source
            }
            for split, indices in targets.items():
                arrays[f"{split}_labels"][:] = labels[source][indices].numpy()
            images = {split: arrays[f"{split}_images"] for split in targets}
            _scatter(part.images, conversions[source], targets, images)

    num_bytes = sum(len(indices) for _, indices in division.parts.values()) * int(np.prod(shape))
    if not found.files or num_bytes < KEPT_FROM:
        arrays = {
            key: np.empty(size, np.uint8 if dtype == "U8" else np.int64)
            for key, (dtype, size) in layout.items()
        }
        fill(arrays)
        return {key: torch.from_numpy(array) for key, array in arrays.items()}
    reading = f"reading {READING_VERSION}, split {SPLIT_VERSION}, {found.reading}, {shape}"
    return filled_once(name, found.files, reading, layout, fill)


def _scatter(
    rows: Rows, conversion: Conversion, targets: Mapping[str, Tensor], images: Arrays
) -> None:
    """Write each image to every place that it has in the result."""
    places = {}
    for split, indices in targets.items():
        place = np.full(rows.shape[0], -1)
        place[indices.numpy()] = np.arange(len(indices))
        places[split] = place
    start = 0
    for chunk in rows.chunks():
        pixels = conversion.apply(chunk)
        for split, place in places.items():
            target = place[start : start + len(chunk)]
            images[split][target[target >= 0]] = pixels[target >= 0]
        start += len(chunk)


def _check_shapes(found: Found, conversions: Mapping[str, Conversion]) -> None:
    train = conversions["train"].shape
    for split, conversion in conversions.items():
        if conversion.shape != train:
            of, of_train = found.splits[split].images, found.splits["train"].images
            raise UsageError(
                f"{found.path}: {of.name} holds images of shape {of.shape[1:]}, "
                f"{of_train.name} of {of_train.shape[1:]}"
            )


def _check_scales(found: Found, conversions: Mapping[str, Conversion]) -> None:
    """Refuse a mix of floats in [0, 1] and in [0, 255]: both would be scaled to the same range."""
    images = {split: part.images for split, part in found.splits.items()}
    floats = [split for split in images if images[split].dtype.kind == "f"]
    by_scale = {conversions[split].scale: images[split] for split in floats}
    if len(by_scale) > 1:
        parts = (f"{rows.name} in [0, {255 / scale:g}]" for scale, rows in by_scale.items())
        raise UsageError(f"{found.path} holds {' and '.join(parts)}; scale all images alike")


def _described(dataset: Dataset) -> list[str]:
    counts = torch.bincount(dataset.train.labels, minlength=dataset.num_classes)
    low, high = int(counts.min()), int(counts.max())
    sizes = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    absent = [
        f"{split} has no image of class {_listed([dataset.class_names[k] for k in missing])}"
        for split, part in (("val", dataset.val), ("test", dataset.test))
        if (missing := _absent(part.labels, dataset.num_classes))
    ]
    parts = " / ".join(f"{len(part):,}" for part in (dataset.train, dataset.val, dataset.test))
    return [
        f"{parts} images (train / val / test) of {dataset.num_classes} classes, {sizes} a class in "
        "train",
        *absent,
    ]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _absent(labels: Tensor, num_classes: int) -> list[int]:
    return (torch.bincount(labels, minlength=num_classes) == 0).nonzero().flatten().tolist()


def _said_of(
    found: Found, conversions: Mapping[str, Conversion], labels: Mapping[str, Tensor]
) -> Sequence[str]:
    said = [*found.said, *dict.fromkeys(c.said for c in conversions.values() if c.said)]
    if any(part.labels.ndim == 2 and part.labels.shape[1] > 1 for part in found.splits.values()):
        said.append("labels were one-hot")
    if found.unused:
        said.append(f"not read: {_listed(found.unused)}")
    return said
