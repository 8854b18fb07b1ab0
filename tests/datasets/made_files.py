"""A dataset in the files of every format, of the same real digits, for the common laws."""

from __future__ import annotations

import bz2
import gzip
import struct
from pathlib import Path

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from PIL import Image

from stn_core.datasets import load_dataset

NAMES = (
    "keras",
    "keras_rts",
    "flat_floats",
    "medical",
    "kmnist",
    "kmnist_rts",
    "emnist_digits",
    "svhn",
    "affnist",
    "torchvision:USPS",
    "pictures",
    "pictures_p",
    "gtsrb",
)
"""What `write_everything` makes, and a few of their distorted versions."""

FROM_IMAGE_FILES = ("pictures", "pictures_p", "gtsrb")
"""Their hashes cover the files' bytes, which differ between versions of Pillow."""


def idx(array: NDArray, kind: int = 8) -> bytes:
    """The content of an idx file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return header + array.tobytes()


def usps_lines(images: NDArray, labels: NDArray) -> bytes:
    """The content of one of USPS' files: labels from 1, pixels in [-1, 1] by number."""
    lines = [
        f"{label + 1} " + " ".join(f"{k}:{v / 255 * 2 - 1:.8f}" for k, v in enumerate(row, 1))
        for row, label in zip(images.reshape(len(images), -1), labels, strict=True)
    ]
    return bz2.compress("\n".join(lines).encode())


def write_everything(root: Path) -> None:
    """Write scikit-learn's digits as each format has them, 28×24 where it may be no square."""
    digits = load_dataset("digits")
    learnt = torch.cat([digits.train.images, digits.val.images])[:, 0].numpy()
    numbers = torch.cat([digits.train.labels, digits.val.labels]).numpy()
    squares = {"train": (learnt, numbers)}
    squares["test"] = digits.test.images[:, 0].numpy(), digits.test.labels.numpy()
    splits = {name: (pixels[:, :, 2:-2], n) for name, (pixels, n) in squares.items()}
    _write_npz(root, splits, squares)
    _write_idx(root / "kmnist" / "raw", "", splits, "t10k")
    lying = {name: (pixels.swapaxes(1, 2), n) for name, (pixels, n) in splits.items()}
    _write_idx(root / "EMNIST" / "raw", "emnist-digits-", lying, "test")
    _write_mat(root, splits, squares)
    for name, (pixels, labels) in {"usps": squares["train"], "usps.t": squares["test"]}.items():
        halved = np.pad(pixels[:, ::2, ::2], ((0, 0), (1, 1), (1, 1)))  # 16×16
        (root / f"{name}.bz2").write_bytes(usps_lines(halved, labels))
    for name, (pixels, labels) in splits.items():
        _write_pictures(root / "pictures" / name, pixels, labels, "{:d}")
    _write_gtsrb(root / "gtsrb", splits)


Splits = dict[str, tuple[NDArray, NDArray]]


def _write_npz(root: Path, splits: Splits, squares: Splits) -> None:
    (train, train_labels), (test, test_labels) = splits["train"], splits["test"]
    of_keras = {"x_train": train, "y_train": train_labels, "x_test": test, "y_test": test_labels}
    np.savez_compressed(root / "keras.npz", **of_keras)
    floats = {name: pixels.reshape(len(pixels), -1) / 255 for name, (pixels, _) in squares.items()}
    np.savez_compressed(
        root / "flat_floats.npz",
        x_train=floats["train"].astype(np.float32),
        y_train=np.eye(10)[train_labels],
        x_test=floats["test"].astype(np.float32),
        y_test=np.eye(10)[test_labels],
    )
    # The classes stand in the same share in every stretch of the digits.
    of_medmnist = {
        "train_images": train[200:],
        "train_labels": train_labels[200:, None].astype(np.uint8),
        "val_images": train[:200],
        "val_labels": train_labels[:200, None].astype(np.uint8),
        "test_images": test,
        "test_labels": test_labels[:, None].astype(np.uint8),
    }
    np.savez_compressed(root / "medical.npz", **of_medmnist)


def _write_idx(folder: Path, prefix: str, splits: Splits, test: str) -> None:
    folder.mkdir(parents=True)
    for split, (pixels, labels) in splits.items():
        part = f"{prefix}{test if split == 'test' else split}"
        images = gzip.compress(idx(np.ascontiguousarray(pixels)))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(images)
        numbers = gzip.compress(idx(labels.astype(np.uint8)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(numbers)


def _write_mat(root: Path, splits: Splits, squares: Splits) -> None:
    for name in ("svhn", "affnist"):
        (root / name).mkdir()
    for split, (pixels, labels) in splits.items():
        coloured = np.stack([pixels, pixels // 2 * 2, pixels], axis=-1)
        content = {"X": np.moveaxis(coloured, 0, -1), "y": np.where(labels, labels, 10)[:, None]}
        scipy.io.savemat(root / "svhn" / f"{split}_32x32.mat", content)
    for split, name in {"train": "training", "test": "test"}.items():
        pixels, labels = squares[split]
        flat = pixels.reshape(len(pixels), -1).T
        data = {"image": flat, "label_int": labels[None].astype(np.uint8)}
        scipy.io.savemat(root / "affnist" / f"{name}.mat", {"affNISTdata": data})


def _write_pictures(folder: Path, images: NDArray, labels: NDArray, class_name: str) -> None:
    for number, (pixels, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path = folder / class_name.format(label) / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=1)


def _write_gtsrb(folder: Path, splits: Splits) -> None:
    """As torchvision keeps it."""
    _write_pictures(folder / "GTSRB" / "Training", *splits["train"], "{:05d}")
    pixels, labels = splits["test"]
    _write_pictures(folder / "GTSRB" / "Final_Test", pixels, np.zeros_like(labels), "Images")
    rows = [f"{number:05d}.png;{label}" for number, label in enumerate(labels.tolist())]
    (folder / "GT-final_test.csv").write_text("\n".join(["Filename;ClassId", *rows]))
