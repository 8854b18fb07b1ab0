"""idx files (LeCun's format): as they come or gzipped, under the names that they go by.

MNIST's own family, EMNIST (stored with rows and columns swapped: transposed here), KMNIST,
Fashion-MNIST and QMNIST, whose labels have eight columns of which the first is the class.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from stn_core.datasets.base import Dataset
from stn_core.datasets.data_root import cannot_be_read, entries, is_file, is_folder, unread
from stn_core.datasets.sources.found import Found, Labelled, Shape, load_found
from stn_core.errors import UsageError

_DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""By the third byte of an idx file."""

PARTS = {"train": ("train",), "test": ("t10k", "test")}
"""What the names of a split's files hold."""

INNER_FOLDERS = ("raw", "gzip")
"""Where torchvision keeps the files, and where EMNIST's archive has them."""

CHUNK_BYTES = 1 << 24

LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ALL = "0123456789" + LETTERS.upper() + LETTERS
EMNIST_CLASSES = {
    "letters": tuple(LETTERS),
    "digits": tuple("0123456789"),
    "mnist": tuple("0123456789"),
    "byclass": tuple(_ALL),
    "bymerge": tuple("0123456789" + LETTERS.upper() + "abdefghnqrt"),
    "balanced": tuple("0123456789" + LETTERS.upper() + "abdefghnqrt"),
}
"""Cohen et al. 2017, arXiv 1702.05373: of the merged sets some small letters are the capitals'."""


@dataclass(frozen=True)
class IdxFile:
    """One idx file, of which the header is read at once and the contents when they are asked for.

    Args:
        path: of the file; gzipped if it ends in .gz.
        upright: rows and columns of each image are to change places.
    """

    path: Path
    upright: bool = False

    @property
    def name(self) -> str:
        """What an error calls it."""
        return self.path.name

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...), as its header states."""
        shape = self._header()[0]
        return (shape[0], *shape[:0:-1]) if self.upright else shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of its entries."""
        return self._header()[1]

    def chunks(self) -> Iterator[NDArray[np.generic]]:
        """Consecutive entries of the first axis."""
        shape, dtype = self._header()
        row_bytes = math.prod(shape[1:]) * dtype.itemsize
        rows = max(1, CHUNK_BYTES // max(1, row_bytes))
        try:
            with self._opened() as stream:
                stream.seek(4 * (1 + len(shape)))
                for start in range(0, shape[0], rows):
                    count = min(rows, shape[0] - start)
                    content = stream.read(count * row_bytes)
                    if len(content) < count * row_bytes:
                        raise self._damaged(f"it ends before the {shape[0]:,} that it promises")
                    chunk = np.frombuffer(content, dtype).reshape(count, *shape[1:])
                    yield chunk.swapaxes(1, 2) if self.upright else chunk
                if stream.read(1):
                    raise self._damaged(f"it holds more than the {shape[0]:,} that it promises")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self._damaged(str(error)) from error
        except OSError as error:
            raise cannot_be_read(self.path, error) from error

    def whole(self) -> NDArray[np.generic]:
        """All of it."""
        return np.concatenate(list(self.chunks()))

    def _header(self) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        try:
            with self._opened() as stream:
                magic = stream.read(4)
                if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
                    raise self._damaged("it is not an idx file")
                sizes = stream.read(4 * magic[3])
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self._damaged(str(error)) from error
        except OSError as error:
            raise cannot_be_read(self.path, error) from error
        if len(sizes) < 4 * magic[3] or not magic[3]:
            raise self._damaged("it is not an idx file")
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        if math.prod(shape) == 0:
            raise self._damaged(f"it is empty, its shape is {shape}")
        return shape, np.dtype(_DTYPES[magic[2]])

    def _opened(self) -> IO[bytes]:
        if self.path.suffix == ".gz":
            return cast(IO[bytes], gzip.open(self.path, "rb"))
        return self.path.open("rb")

    def _damaged(self, reason: str) -> UsageError:
        return UsageError(f"{self.path} is damaged: {reason}; fetch it again")


def spellings(name: str) -> list[str]:
    """The names that a file of MNIST's family goes by: gzipped, and as 7-Zip unpacks it."""
    dotted = re.sub(r"-(idx\d)", r".\1", name)
    return [name, f"{name}.gz", dotted, f"{dotted}.gz"]


def find_file(folder: Path, name: str) -> Path | None:
    """A file of MNIST's family by its usual name, under any of its spellings."""
    return next((folder / each for each in spellings(name) if is_file(folder / each)), None)


@dataclass(frozen=True)
class IdxSet:
    """The four files of a dataset.

    Args:
        folder: where they lie.
        files: (images, labels) by split.
        kind: of EMNIST, "letters" say; "" for others.
    """

    folder: Path
    files: dict[str, tuple[Path, Path]]
    kind: str = ""

    def shape(self) -> Shape:
        """(C, H, W), from a header.

        Raises:
            UsageError: the file is damaged or holds no images.
        """
        shape = self._images("train").shape
        if len(shape) != 3:
            raise UsageError(f"{self.files['train'][0]} holds {shape}, not images (N, H, W)")
        return 1, shape[1], shape[2]

    def load(self, name: str) -> Dataset:
        """The dataset; raises as `shape`, and if labels do not fit."""
        said = (
            ["transposed to be upright (EMNIST stores rows and columns swapped)"]
            if self.kind
            else []
        )
        splits = {}
        for split, (_, labels_file) in self.files.items():
            labels = IdxFile(labels_file).whole()
            if labels.ndim == 2:  # QMNIST's: class, writer and so on
                said.append(f"{labels_file.name}: only the first of {labels.shape[1]} columns")
                labels = labels[:, 0]
            if self.kind == "letters":  # numbered from 1
                labels = labels.astype(np.int64) - 1
            splits[split] = Labelled(self._images(split), labels, labels_file.name)
        files = tuple(path for pair in self.files.values() for path in pair)
        found = Found(
            self.folder,
            splits,
            EMNIST_CLASSES.get(self.kind),
            unused=unread(self.folder, files),
            files=files,
            said=tuple(said),
        )
        return load_found(name, found)

    def _images(self, split: str) -> IdxFile:
        return IdxFile(self.files[split][0], upright=bool(self.kind))


def find_idx_set(folder: Path, name: str) -> IdxSet | None:
    """The idx files of a dataset in a folder, or in its raw/ or gzip/.

    Args:
        folder: where to look.
        name: the dataset's; of several sets in one folder (EMNIST's) its last part chooses.

    Raises:
        UsageError: some of the files exist and others are missing.
    """
    whole = name.lower().replace("_", "-")
    kind = whole.partition("emnist-")[2]
    prefixes = [f"{whole}-"] if kind else ["", f"{whole}-"]
    for place in (folder, *(folder / each for each in INNER_FOLDERS)):
        for prefix in prefixes:
            files = _four_files(place, prefix)
            if files:
                return IdxSet(place, files, kind)
    return None


def emnist_sets(folder: Path) -> set[str]:
    """The names of the datasets in EMNIST's folder, such as emnist_letters."""
    places = (folder, *(folder / each for each in INNER_FOLDERS))
    names = (each.name for place in places if is_folder(place) for each in entries(place))
    found = (re.match(r"emnist-(\w+)-train-images", name) for name in names)
    return {f"emnist_{each[1]}" for each in found if each}


def _four_files(folder: Path, prefix: str) -> dict[str, tuple[Path, Path]] | None:
    """Images and labels by split; None if the folder has none of them."""
    pairs = {}
    for split, parts in PARTS.items():
        found = [_images_and_labels(folder, f"{prefix}{part}") for part in parts]
        pairs[split] = next(filter(any, found), (None, None))
    there = [path for pair in pairs.values() for path in pair if path]
    complete = {
        split: (images, labels) for split, (images, labels) in pairs.items() if images and labels
    }
    for split, (images, _) in pairs.items():
        if there and split not in complete:
            part = f"{prefix}{PARTS[split][-1 if prefix else 0]}"
            lacking = f"{part}-labels-idx1-ubyte" if images else f"{part}-images-idx3-ubyte"
            raise UsageError(f"{folder} holds {there[0].name}, but no {lacking}, gzipped or not")
    return complete or None


def _images_and_labels(folder: Path, start: str) -> tuple[Path | None, Path | None]:
    labels = (find_file(folder, f"{start}-labels-{kind}") for kind in ("idx1-ubyte", "idx2-int"))
    return find_file(folder, f"{start}-images-idx3-ubyte"), next(filter(None, labels), None)
