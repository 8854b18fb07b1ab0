"""CIFAR-10 (Krizhevsky 2009), from a cifar10.npz in the Keras layout or from torchvision's files.

If both are there, the .npz is read, because it holds plain arrays. The result is the same: the
images of each official split are sorted first, so the same images give the same dataset, with the
same splits and the same hash, whichever files they come from. They are decoded once and cached (see
`decoded`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from stn_core.datasets.assembly import Sources, assemble
from stn_core.datasets.base import Dataset, Split
from stn_core.datasets.data_root import PASS_IT, is_file
from stn_core.datasets.registry import register_dataset
from stn_core.datasets.sources.cifar_batches import IMAGE_SHAPE, NUM_CLASSES, read_batches
from stn_core.datasets.sources.decoded import Tensors, decoded_once
from stn_core.datasets.sources.npz_files import npz_shape, read_npz
from stn_core.datasets.sources.torchvision_sets import fetch
from stn_core.datasets.splits import MIN_TRAIN_IMAGES, carve_validation
from stn_core.errors import UsageError

NPZ_FILE = "cifar10.npz"
FOLDER = "cifar-10-batches-py"
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

ORDER_VERSION = 1
"""Of the order that the images are put in; in another one they are divided otherwise."""


def _check(root: Path | None, download: bool) -> None:
    """Check that either kind of files is there, or may be fetched."""
    folder = _data_folder(root)
    if not (is_file(folder / NPZ_FILE) or download):
        _check_there(folder)


@register_dataset("cifar10", check=_check, shape=IMAGE_SHAPE)
def cifar10(root: Path | None, download: bool) -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 45,000 / 5,000 / 10,000 photographs of 32×32 in colour."""
    folder = _data_folder(root)
    npz = folder / NPZ_FILE
    if is_file(npz):
        decoded = _decoded_once([npz], lambda: _read_npz(npz))
    else:
        if download and _missing_files(folder):
            fetch("CIFAR10", "CIFAR-10", folder, folder)
        _check_there(folder)
        decoded = _decoded_once(_files(folder), lambda: _read_batches(folder))
    train, val = carve_validation(decoded["train_images"], decoded["train_labels"])
    test = Split(decoded["test_images"].clone(), decoded["test_labels"].clone())
    return assemble("cifar10", Sources(train, val, test, CLASSES))


def _data_folder(root: Path | None) -> Path:
    if root is None:
        raise UsageError(
            f"no folder to look for {NPZ_FILE} or {FOLDER} in; {PASS_IT} (--download fetches the "
            "files into it)"
        )
    return root


def _read_npz(path: Path) -> tuple[Split, Split]:
    shape = npz_shape(path)
    if shape != IMAGE_SHAPE:
        raise UsageError(
            f"{path} holds images of shape {shape}, CIFAR-10 has {IMAGE_SHAPE}; give the file "
            "another name"
        )
    train, test = read_npz(path)
    num_classes = len(train.labels.unique())
    if num_classes != NUM_CLASSES or int(test.labels.max()) >= NUM_CLASSES:
        raise UsageError(
            f"{path} holds {num_classes} classes, CIFAR-10 has {NUM_CLASSES}; give the file "
            "another name"
        )
    return train, test


def _files(root: Path) -> list[Path]:
    """The files that torchvision fetches, train before test."""
    return [root / FOLDER / name for name in (*TRAIN_FILES, TEST_FILE)]


def _missing_files(root: Path) -> list[Path]:
    return [path for path in _files(root) if not is_file(path)]


def _check_there(root: Path) -> None:
    missing = _missing_files(root)
    if missing:
        raise UsageError(
            f"no {NPZ_FILE} in {root}, and no {missing[0].name} in {missing[0].parent}; if "
            f"another folder holds one of them, {PASS_IT}; otherwise fetch them with --download"
        )


def _read_batches(root: Path) -> tuple[Split, Split]:
    """Train and test from the files that torchvision fetches."""
    *train_files, test_file = _files(root)
    train, test = read_batches(train_files), read_batches([test_file])
    if len(train) < MIN_TRAIN_IMAGES:
        raise UsageError(
            f"{root / FOLDER} holds {len(train)} images to train with; at least "
            f"{MIN_TRAIN_IMAGES} are needed"
        )
    return train, test


def _decoded_once(files: list[Path], read: Callable[[], tuple[Split, Split]]) -> Tensors:
    """Images and labels of both official splits, in their own order."""

    def decode() -> Tensors:
        train, test = (_in_own_order(split) for split in read())
        return {
            "train_images": train.images,
            "train_labels": train.labels,
            "test_images": test.images,
            "test_labels": test.labels,
        }

    return decoded_once("cifar10", files, f"order {ORDER_VERSION}", decode)


def _in_own_order(split: Split) -> Split:
    """The images by the SHA-256 of label and pixels: an order of their own that looks random."""
    labelled = zip(split.labels.tolist(), split.images.numpy(), strict=True)
    keys = [hashlib.sha256(bytes([label]) + image.tobytes()).digest() for label, image in labelled]
    order = torch.tensor(sorted(range(len(split)), key=keys.__getitem__))
    return Split(split.images[order], split.labels[order])
