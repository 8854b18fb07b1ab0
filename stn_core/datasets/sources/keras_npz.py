"""Any dataset in one .npz file of the Keras layout: x_train, y_train, x_test, y_test."""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.assembly import Sources, assemble
from stn_core.datasets.base import Dataset, Split
from stn_core.datasets.data_root import cannot_be_read
from stn_core.datasets.splits import MIN_TRAIN_IMAGES, carve_validation
from stn_core.errors import UsageError

SPLIT_NAMES = ("train", "test")
MAX_CHANNELS = 4  # a last axis that is longer is not channels: (N, C, H, W), say

Shape = tuple[int, ...]
Labels = dict[str, NDArray[np.int64]]

_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,  # numpy: a header that is none, or fewer bytes than it promises
    tokenize.TokenError,  # numpy: a header that ends in the middle of a bracket
    RuntimeError,  # zipfile: encrypted, or compressed in a way that it does not know
)


def check_npz(path: Path) -> None:
    """Check an .npz file in the Keras layout without reading its images.

    Args:
        path: the file.

    Raises:
        UsageError: it is damaged, or an array is missing, or of the wrong dtype or shape, or a
            label is out of range; names the file and the array.
    """
    npz_layout(path)


def npz_layout(path: Path) -> tuple[Shape, int]:
    """The shape of an image as it is stored, and the number of classes; checks as `check_npz`."""
    with _opened(path) as archive:
        labels = _read_labels(archive, path)
        shape, _ = _header(archive, path, "x_train")
    return shape[1:], int(labels["train"].max()) + 1


def npz_channels(path: Path) -> int:
    """How many channels the images of an .npz file have; checks as `check_npz`."""
    _, _, *channels = npz_layout(path)[0]
    return channels[0] if channels else 1


def load_npz(name: str, path: Path) -> Dataset:
    """Load an .npz file in the Keras layout as a dataset.

    Args:
        name: what to call the dataset.
        path: the file; a tenth of train, at most 5,000, becomes validation.

    Raises:
        UsageError: as `check_npz`.
    """
    official_train, test = read_npz(path)
    train, val = carve_validation(official_train.images, official_train.labels)
    class_names = tuple(str(label) for label in range(int(official_train.labels.max()) + 1))
    return assemble(name, Sources(train, val, test, class_names))


def read_npz(path: Path) -> tuple[Split, Split]:
    """Read an .npz file in the Keras layout; every array is decoded once, nothing is unpickled.

    Args:
        path: the file: images uint8 ``(N, H, W)`` or ``(N, H, W, C)``; labels integers 0 to K-1,
            ``(N,)`` or ``(N, 1)``.

    Returns:
        Train and test.

    Raises:
        UsageError: as `check_npz`.
    """
    with _opened(path) as archive:
        labels = _read_labels(archive, path)
        train, test = (
            Split(_read_images(archive, f"x_{split}"), torch.from_numpy(labels[split]))
            for split in SPLIT_NAMES
        )
    return train, test


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever goes wrong while it is read becomes one line that names it."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise cannot_be_read(path, error) from error
    with file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except UsageError:
            raise
        except _READ_ERRORS as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UsageError(
                f"{path} is damaged or no .npz file ({reason}); write it again, or fetch it again"
            ) from error


def _read_labels(archive: zipfile.ZipFile, path: Path) -> Labels:
    """The labels of both splits, int64 ``(N,)``, once all that needs no image has been checked."""
    shapes = {split: _checked_shape(archive, path, split) for split in SPLIT_NAMES}
    if shapes["train"][1:] != shapes["test"][1:]:
        raise UsageError(
            f"{path}: x_test holds images of shape {shapes['test'][1:]}, "
            f"x_train of {shapes['train'][1:]}"
        )
    if shapes["train"][0] < MIN_TRAIN_IMAGES:
        raise UsageError(
            f"{path}: x_train holds {shapes['train'][0]} images; at least {MIN_TRAIN_IMAGES} are "
            "needed, a tenth of which validates"
        )
    labels = {
        split: _read(archive, f"y_{split}").astype(np.int64).reshape(-1) for split in SPLIT_NAMES
    }
    _check_label_values(labels, path)
    return labels


def _checked_shape(archive: zipfile.ZipFile, path: Path, split: str) -> Shape:
    """Shape of a split's images, from headers alone."""
    shape, dtype = _header(archive, path, f"x_{split}")
    grey_or_channels = len(shape) == 3 or (len(shape) == 4 and shape[3] <= MAX_CHANNELS)
    if dtype != np.uint8 or not grey_or_channels:
        raise UsageError(
            f"{path}: x_{split} is {dtype} {shape}; it must be uint8 (N, H, W) or (N, H, W, C) "
            f"with C at most {MAX_CHANNELS}"
        )
    if math.prod(shape) == 0:
        raise UsageError(f"{path}: x_{split} is empty, its shape is {shape}")
    label_shape, label_dtype = _header(archive, path, f"y_{split}")
    if label_dtype.kind not in "iu" or label_shape[1:] not in ((), (1,)) or not label_shape:
        raise UsageError(
            f"{path}: y_{split} is {label_dtype} {label_shape}; it must be integers (N,) or (N, 1)"
        )
    if label_shape[0] != shape[0]:
        raise UsageError(
            f"{path}: y_{split} holds {label_shape[0]} labels, x_{split} {shape[0]} images"
        )
    return shape


def _header(archive: zipfile.ZipFile, path: Path, array: str) -> tuple[Shape, np.dtype[np.generic]]:
    """Shape and dtype of an array, whose bytes are counted but not decoded."""
    try:
        info = archive.getinfo(f"{array}.npy")
    except KeyError:
        found = ", ".join(sorted(Path(name).stem for name in archive.namelist())) or "nothing"
        raise UsageError(f"{path}: no array {array}; the file holds {found}") from None
    with archive.open(info) as stream:
        shape, dtype = _read_header(stream)
        num_bytes = info.file_size - stream.tell()
    if not dtype.hasobject and num_bytes != math.prod(shape) * dtype.itemsize:
        raise UsageError(f"{path}: {array} is damaged, {num_bytes:,} bytes are not {dtype} {shape}")
    return shape, dtype


def _read_header(stream: IO[bytes]) -> tuple[Shape, np.dtype[np.generic]]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _check_label_values(labels: Labels, path: Path) -> None:
    """Train must hold K classes numbered 0 to K-1, and test no other."""
    num_classes = len(np.unique(labels["train"]))
    if num_classes < 2:
        raise UsageError(f"{path}: y_train holds one class only; at least two are needed")
    for split, values in labels.items():
        for label in (int(values.min()), int(values.max())):
            if not 0 <= label < num_classes:
                raise UsageError(
                    f"{path}: label {label} in y_{split} is out of range; the {num_classes} "
                    f"classes of y_train must be numbered 0 to {num_classes - 1}"
                )


def _read(archive: zipfile.ZipFile, array: str) -> NDArray[np.generic]:
    with archive.open(f"{array}.npy") as stream:
        return npy.read_array(stream, allow_pickle=False)


def _read_images(archive: zipfile.ZipFile, array: str) -> Tensor:
    """Images as uint8 ``(N, C, H, W)``."""
    images = torch.from_numpy(_read(archive, array))
    return images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
