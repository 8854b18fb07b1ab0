"""MNIST and Fashion-MNIST in torchvision's layout: the official idx files.

torchvision fetches the files; they are read here, because its own reader prefers a pickled copy
in ``processed/`` if there is one, and reports a damaged file as a failed assertion.
"""

from __future__ import annotations

import gzip
import math
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.assembly import Sources, assemble
from stn_core.datasets.base import Dataset, Split
from stn_core.datasets.data_root import PASS_IT, cannot_be_read, is_file
from stn_core.datasets.registry import register_dataset
from stn_core.datasets.sources.idx_files import find_file
from stn_core.datasets.splits import MIN_TRAIN_IMAGES, carve_validation
from stn_core.errors import UsageError, needs_extra

IDX_UINT8 = 0x0800  # an idx file of bytes begins with this plus its number of dimensions
NUM_CLASSES = 10
PARTS = {"train": "train", "test": "t10k"}  # split: how its files begin

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def _check(class_name: str, root: Path | None, download: bool) -> None:
    """Check that the files of torchvision's dataset of that class are there, or may be fetched."""
    folder = _raw_folder(class_name, root)
    if not download:
        _check_there(folder)


@register_dataset("mnist", check=partial(_check, "MNIST"), shape=(1, 28, 28))
def mnist(root: Path | None, download: bool) -> Dataset:
    """MNIST (LeCun et al. 1998): 55,000 / 5,000 / 10,000 digits of 28×28."""
    return assemble("mnist", _sources("MNIST", tuple("0123456789"), root, download))


@register_dataset("fashion_mnist", check=partial(_check, "FashionMNIST"), shape=(1, 28, 28))
def fashion_mnist(root: Path | None, download: bool) -> Dataset:
    """Fashion-MNIST (Xiao et al. 2017): 55,000 / 5,000 / 10,000 articles of 28×28."""
    return assemble("fashion_mnist", _sources("FashionMNIST", FASHION_CLASSES, root, download))


def _sources(
    class_name: str, class_names: tuple[str, ...], root: Path | None, download: bool
) -> Sources:
    """Splits of one of torchvision's datasets, downloaded first if requested and necessary."""
    folder = _raw_folder(class_name, root)
    if download and _missing_files(folder):
        fetch(class_name, class_name, folder.parents[1], folder)
    _check_there(folder)
    _check_image_shapes(folder)
    labels = {split: _checked_labels(folder, split) for split in PARTS}
    images = {split: _read_images(folder, split) for split in PARTS}
    train, val = carve_validation(images["train"], labels["train"])
    return Sources(train, val, Split(images["test"], labels["test"]), class_names)


def _raw_folder(class_name: str, root: Path | None) -> Path:
    if root is None:
        raise UsageError(
            f"no folder to look for {class_name}/raw in; {PASS_IT} (--download fetches the files "
            "into it)"
        )
    return root / class_name / "raw"


def _file(folder: Path, split: str, content: str, dimensions: int) -> Path:
    """The path of a file, gzipped or not; under its official name if there is none."""
    name = f"{PARTS[split]}-{content}-idx{dimensions}-ubyte"
    return find_file(folder, name) or folder / name


def _image_file(folder: Path, split: str) -> Path:
    return _file(folder, split, "images", 3)


def _label_file(folder: Path, split: str) -> Path:
    return _file(folder, split, "labels", 1)


def _missing_files(folder: Path) -> list[Path]:
    files = [find(folder, split) for split in PARTS for find in (_image_file, _label_file)]
    return [path for path in files if not is_file(path)]


def fetch(class_name: str, title: str, root: Path, folder: Path) -> None:
    """Let torchvision fetch a dataset's files.

    Args:
        class_name: torchvision's.
        title: what an error calls the dataset.
        root: the data folder.
        folder: where in it an error says that the files should go.

    Raises:
        UsageError: they could not be fetched.
    """
    with needs_extra("data"):
        import torchvision.datasets  # seconds to import, so only where it is needed

    try:
        getattr(torchvision.datasets, class_name)(root, download=True)
    except (RuntimeError, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise UsageError(
            f"{title} could not be fetched into {folder} ({reason}); fetch it into "
            f"another folder and {PASS_IT}"
        ) from error


def _check_there(folder: Path) -> None:
    missing = _missing_files(folder)
    if missing:
        raise UsageError(
            f"no {missing[0].name} in {folder}; if another folder holds {folder.parent.name}/raw,"
            f" {PASS_IT}; otherwise fetch the files with --download"
        )


def _check_image_shapes(folder: Path) -> None:
    train, test = (_idx_shape(_image_file(folder, split), 3) for split in PARTS)
    if test[1:] != train[1:]:
        path = _image_file(folder, "test")
        raise _damaged(path, f"its images are {test[1:]}, those of train {train[1:]}")
    if train[0] < MIN_TRAIN_IMAGES:
        path = _image_file(folder, "train")
        raise _damaged(path, f"it holds {train[0]} images, at least {MIN_TRAIN_IMAGES} are needed")


def _checked_labels(folder: Path, split: str) -> Tensor:
    path = _label_file(folder, split)
    labels = _read_idx(path, 1)
    num_images = _idx_shape(_image_file(folder, split), 3)[0]
    if len(labels) != num_images:
        raise _damaged(path, f"it holds {len(labels)} labels for {num_images} images")
    if labels.max() >= NUM_CLASSES:
        raise _damaged(path, f"label {labels.max()} is out of range, 0 to {NUM_CLASSES - 1}")
    return torch.from_numpy(labels.astype(np.int64))


def _read_images(folder: Path, split: str) -> Tensor:
    """Images of a split as uint8 ``(N, 1, H, W)``."""
    return torch.from_numpy(_read_idx(_image_file(folder, split), 3)).unsqueeze(1)


def _idx_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape in an idx file's header, compared with the file's size unless it is gzipped."""
    header_bytes = 4 * (1 + dimensions)
    header = np.frombuffer(_content(path, header_bytes), dtype=">u4")
    if len(header) < 1 + dimensions or header[0] != IDX_UINT8 + dimensions:
        raise _damaged(path, f"it is not an idx file of bytes in {dimensions} dimensions")
    shape = tuple(int(size) for size in header[1:])
    if path.suffix != ".gz":
        _check_size(path, path.stat().st_size, shape)
    if math.prod(shape) == 0:
        raise _damaged(path, f"it is empty, its shape is {shape}")
    return shape


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    shape = _idx_shape(path, dimensions)
    content = _content(path)
    _check_size(path, len(content), shape)
    return np.frombuffer(content, np.uint8, offset=4 * (1 + dimensions)).reshape(shape).copy()


def _check_size(path: Path, num_bytes: int, shape: tuple[int, ...]) -> None:
    expected_bytes = 4 * (1 + len(shape)) + math.prod(shape)
    if num_bytes != expected_bytes:
        raise _damaged(path, f"it has {num_bytes:,} bytes and should have {expected_bytes:,}")


def _content(path: Path, num_bytes: int = -1) -> bytes:
    """A whole file, or its first bytes up to a multiple of four, unpacked if it is gzipped."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(num_bytes)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise cannot_be_read(path, error) from error
    return content if num_bytes < 0 else content[: len(content) // 4 * 4]


def _damaged(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} is damaged: {reason}; delete it and fetch it again with --download")
