"""Any dataset in one .npz file: arrays named as Keras, MedMNIST or the STN tutorials name them."""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from stn_core.datasets.base import Dataset, Split
from stn_core.datasets.data_root import cannot_be_read
from stn_core.datasets.sources.found import Found, Labelled, Shape, load_found
from stn_core.datasets.sources.labels import check_label_shape, class_numbers
from stn_core.datasets.sources.memory import check_fits
from stn_core.datasets.sources.pixels import conversion_of, image_shape
from stn_core.errors import UsageError

ARRAYS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "val": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
"""The names of images and labels, in small letters: Keras', the tutorials', MedMNIST's."""

CHUNK_BYTES = 1 << 24
"""Of an array that are decoded at a time."""

_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,  # numpy: an invalid header, or fewer bytes than it announces
    tokenize.TokenError,  # numpy: a header that ends in the middle of a bracket
    RuntimeError,  # zipfile: encrypted, or compressed in a way that it does not know
)


def npz_shape(path: Path) -> Shape:
    """(C, H, W) of the images of an .npz file, from its headers alone.

    Raises:
        UsageError: it is damaged, an array is missing or no images or labels, or there is less
            memory than it unpacks to; names the file and the array.
    """
    with _opened(path) as archive:
        members = _members(archive, path)
        shapes = {split: image_shape(path, images) for split, (images, _) in members.items()}
        for images, labels in members.values():
            check_label_shape(path, labels.name, labels.shape, labels.dtype)
            if labels.shape[0] != images.shape[0]:
                raise UsageError(
                    f"{path}: {labels.name} holds {labels.shape[0]} labels, {images.name} "
                    f"{images.shape[0]} images"
                )
        for split, (images, _) in members.items():
            if shapes[split] != shapes["train"]:
                first = members["train"][0]
                raise UsageError(
                    f"{path}: {images.name} holds images of shape {images.shape[1:]}, "
                    f"{first.name} of {first.shape[1:]}"
                )
        check_fits(path, sum(math.prod(images.shape) for images, _ in members.values()))
    return shapes["train"]


def load_npz(
    name: str,
    path: Path,
    class_names: tuple[str, ...] | None = None,
    beside: tuple[str, ...] = (),
) -> Dataset:
    """Load an .npz file as a dataset; every image is decoded once, nothing is unpickled.

    Args:
        name: what to call the dataset.
        path: the file. Its own validation images are used; if it has none, a tenth of train, at
            most 5,000.
        class_names: one per class; None: the numbers.
        beside: what else is not read, apart from arrays of the file.

    Raises:
        UsageError: as `npz_shape`, or labels are out of range.
    """
    npz_shape(path)
    with _opened(path) as archive:
        members = _members(archive, path)
        splits = {
            split: Labelled(images, labels.whole(), labels.name)
            for split, (images, labels) in members.items()
        }
        read = {member.name for pair in members.values() for member in pair}
        unused = (*(n for n in _names(archive) if n not in read), *beside)
        return load_found(name, Found(path, splits, class_names, unused, files=(path,)))


def read_npz(path: Path) -> tuple[Split, Split]:
    """The official train and test of an .npz file, undivided.

    Raises:
        UsageError: as `load_npz`.
    """
    npz_shape(path)
    with _opened(path) as archive:
        splits = []
        for split in ("train", "test"):
            images, labels = _members(archive, path)[split]
            conversion = conversion_of(path, images)
            pixels = np.concatenate([conversion.apply(chunk) for chunk in images.chunks()])
            numbers = class_numbers(path, Labelled(images, labels.whole(), labels.name))
            splits.append(Split(torch.from_numpy(np.ascontiguousarray(pixels)), numbers))
    return splits[0], splits[1]


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
                f"{path} is damaged or not an .npz file ({reason}); write or fetch it again"
            ) from error


@dataclass(frozen=True)
class Member:
    """One array of an archive: its header is read at once, its contents when they are asked for."""

    archive: zipfile.ZipFile
    path: Path
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)"""
        return self._header[0]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of its entries."""
        return self._header[1]

    @cached_property
    def _header(self) -> tuple[tuple[int, ...], np.dtype[np.generic], bool]:
        """Shape, dtype and whether the columns come first; the bytes are counted, not decoded."""
        info = self.archive.getinfo(f"{self.name}.npy")
        with self.archive.open(info) as stream:
            shape, dtype, by_columns = _read_header(stream)
            num_bytes = info.file_size - stream.tell()
        if not dtype.hasobject and num_bytes != math.prod(shape) * dtype.itemsize:
            raise UsageError(
                f"{self.path}: {self.name} is damaged, {num_bytes:,} bytes are not {dtype} {shape}"
            )
        return shape, dtype, by_columns

    def whole(self) -> NDArray[np.generic]:
        """All of it."""
        with self.archive.open(f"{self.name}.npy") as stream:
            return npy.read_array(stream, allow_pickle=False)

    def chunks(self) -> Iterator[NDArray[np.generic]]:
        """Chunks of consecutive images; a single one if they are stored by columns."""
        shape, dtype, by_columns = self._header
        if by_columns:
            yield self.whole()
            return
        row_bytes = math.prod(shape[1:]) * dtype.itemsize
        rows = max(1, CHUNK_BYTES // max(1, row_bytes))
        with self.archive.open(f"{self.name}.npy") as stream:
            _read_header(stream)
            for start in range(0, shape[0], rows):
                count = min(rows, shape[0] - start)
                content = stream.read(count * row_bytes)
                yield np.frombuffer(content, dtype).reshape(count, *shape[1:])


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, tuple[Member, Member]]:
    """Images and labels by split, under whichever names the archive has them."""
    arrays = [name for name in archive.namelist() if name.endswith(".npy")]
    spelt = {name.lower(): name for name in map(_name, arrays)}
    found = {}
    for split, choices in ARRAYS.items():
        there = [pair for pair in choices if any(name in spelt for name in pair)]
        if not there and split == "val":
            continue
        pair = (there or choices)[0]
        for name in pair:
            if name not in spelt:
                holds = ", ".join(sorted(_names(archive))) or "nothing"
                raise UsageError(f"{path}: no array {name}; the file holds {holds}")
        images, labels = (Member(archive, path, spelt[name]) for name in pair)
        found[split] = images, labels
    return found


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [_name(each) for each in archive.namelist()]


def _name(member: str) -> str:
    """What numpy calls an array; one in a folder of the archive has the folder in its name."""
    return member.removesuffix(".npy")


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic], bool]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_columns, dtype = read(stream)
    return shape, dtype, by_columns
