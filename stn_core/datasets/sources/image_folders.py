"""Folders of images, one per class: NAME/train/CLASS/*, or NAME/CLASS/* without a split.

Each image is decoded and resized once and cached (see `decoded`), and so are the headers: a second
start opens no image file.
"""

from __future__ import annotations

import collections
import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stn_core.datasets.base import Dataset
from stn_core.datasets.data_root import entries, is_file, is_folder, is_hidden, unread
from stn_core.datasets.sources.decoded import decoded_once
from stn_core.datasets.sources.decoding import decode_files
from stn_core.datasets.sources.found import Found, Labelled, Shape, load_found
from stn_core.datasets.sources.image_files import MODES, decode_image, image_layout
from stn_core.datasets.sources.memory import check_fits
from stn_core.errors import UsageError, needs_extra

with needs_extra("data"):
    import PIL
    from PIL import Image

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What the folder of a split may be called, in lower case."""

NOT_DECODED = ("BUFR", "EMF", "GRIB", "HDF5", "MPEG", "PALM", "PDF", "WMF")
"""Formats whose suffix Pillow registers, but whose pixels it cannot read on every system."""

DECODING_VERSION = 1
"""Of how an image file becomes an image; part of the hash."""

KEPT_VERSION = 3
"""Of how headers and pixels are read; part of the names of their kept copies.

It also changes when files that were misread are read correctly; the hash covers what they hold.
"""

Files = Sequence[tuple[Path, str]]
"""Image files with the name of their class, in order."""


@dataclass(frozen=True)
class ImageFolder:
    """A tree of image files.

    Args:
        folder: the dataset's.
        image_size: (height, width) that images are resized to; None: what they all have.
        listed: finds the image files of each split.
        tables: other files that say which classes the images are of.
    """

    folder: Path
    image_size: tuple[int, int] | None
    listed: Callable[[], Mapping[str, Files]]
    tables: tuple[Path, ...] = ()

    def shape(self) -> Shape:
        """(C, H, W), from the headers of the image files.

        Raises:
            UsageError: there are none, or they are of several sizes and no size is chosen.
        """
        return self._shape([path for files in self.listed().values() for path, _ in files])

    def load(self, name: str) -> Dataset:
        """The dataset; raises as `shape`, and if an image is broken or a class is missing."""
        listed = self.listed()
        paths = [path for files in listed.values() for path, _ in files]
        shape = self._shape(paths)
        check_fits(self.folder, len(paths) * int(np.prod(shape)))
        class_names = tuple(sorted({label for files in listed.values() for _, label in files}))
        if len(class_names) < 2:
            raise UsageError(
                f"{self.folder} holds one class only, {class_names[0]}; at least two are needed"
            )
        decoded = decoded_once(
            name if name.isascii() else "images",
            paths,
            f"folders {KEPT_VERSION}, Pillow {PIL.__version__}, {shape}",
            lambda: _decode_all(paths, shape),
        )
        images, start, splits = decoded["images"].numpy(), 0, {}
        digest = hashlib.sha256(f"folders {DECODING_VERSION}, {shape}".encode())
        digest.update(decoded["digests"].numpy().data)
        for split, files in listed.items():
            labels = np.array([class_names.index(label) for _, label in files], np.int64)
            rows = _Decoded(split, images[start : start + len(files)])
            splits[split] = Labelled(rows, labels, f"{self.folder.name}/{split}")
            start += len(files)
        found = Found(
            self.folder,
            splits,
            class_names,
            files=(*paths, *self.tables),
            reading=f"folders {KEPT_VERSION}, Pillow {PIL.__version__}",
            said=_said(shape, self.image_size, int(decoded["deep"]), int(decoded["transparent"])),
            unused=unread(self.folder, [*paths, *self.tables]),
            digest=digest.hexdigest(),
        )
        return load_found(name, found)

    def _shape(self, paths: Sequence[Path]) -> Shape:
        layouts = decoded_once(
            "layouts",
            paths,
            f"layouts {KEPT_VERSION}, Pillow {PIL.__version__}",
            lambda: {"layouts": _layouts(paths)},
        )["layouts"]
        sound = [(h, w, channels) for h, w, channels in layouts.tolist() if channels]
        sizes = collections.Counter((height, width) for height, width, _ in sound)
        if not sizes:
            raise UsageError(f"{self.folder}: none of the {len(paths)} files can be read as images")
        if self.image_size is None and len(sizes) > 1:
            (height, width), count = sizes.most_common(1)[0]
            raise UsageError(
                f"{self.folder}: its images have {len(sizes)} sizes ({count} are {height}x{width});"
                " choose one with --image-size N or HxW, or image_size="
            )
        height, width = self.image_size or next(iter(sizes))
        return max(channels for *_, channels in sound), height, width


@dataclass(frozen=True)
class _Decoded:
    """Decoded images of one split, (N, H, W, C)."""

    name: str
    images: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.images.dtype

    def chunks(self) -> Iterator[NDArray[np.generic]]:
        yield from np.array_split(self.images, max(1, len(self.images) // 1000))


def find_image_folder(folder: Path, image_size: tuple[int, int] | None) -> ImageFolder | None:
    """The tree of image files in a folder, if there is one; its contents are listed later."""
    if not is_folder(folder):
        return None
    return ImageFolder(folder, image_size, lambda: _by_split(folder))


def _by_split(folder: Path) -> dict[str, Files]:
    """The image files of each split, in the order of their names."""
    folders = sorted(each for each in entries(folder) if each.is_dir())
    parts = {}
    for split, names in SPLITS.items():
        places = [each for each in folders if each.name.lower() in names]
        if len(places) > 1:
            both = " and ".join(each.name for each in places)
            raise UsageError(f"{folder} holds {both}, which both mean {split}; keep one of them")
        if places:
            parts[split] = places[0]
    if not parts:
        return {"train": files_by_class(folder)}
    if "train" not in parts:
        raise UsageError(
            f"{folder} holds {' and '.join(place.name for place in parts.values())}, but no train"
        )
    listed = {split: _files_of_split(split, place) for split, place in parts.items()}
    known = {label for _, label in listed["train"]}
    for split, files in listed.items():
        strangers = sorted({label for _, label in files} - known)
        if strangers:
            raise UsageError(
                f"{parts[split]} has images of class {strangers[0]}, but {parts['train']} has none"
            )
    return listed


def _files_of_split(split: str, folder: Path) -> Files:
    if split != "train" and not any(each.is_dir() for each in entries(folder)):
        raise UsageError(
            f"{folder} holds no folders of classes, so its images have no labels; move it"
            f" elsewhere, and a tenth of train is split off for {split}"
        )
    return files_by_class(folder)


def files_by_class(folder: Path) -> Files:
    """The image files of a folder of classes, by the names of both.

    Raises:
        UsageError: there are none, a class is empty, or two look like one.
    """
    classes = sorted(each for each in entries(folder) if each.is_dir())
    found = [(path, each.name) for each in classes for path in _image_files(each)]
    if not found:
        raise UsageError(
            f"{folder} holds no images in folders of classes, as CLASS/image.png, in a format that"
            " Pillow reads, nor idx or .mat files under their usual names"
        )
    _refuse_two_spellings(folder, sorted({label for _, label in found}))
    empty = [each.name for each in classes if each.name not in {label for _, label in found}]
    if empty:
        raise UsageError(f"{folder / empty[0]} holds no image; fill it or remove it")
    return found


def _image_files(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders whose suffix Pillow can read."""
    formats = Image.registered_extensions().items()
    suffixes = {suffix for suffix, name in formats if name not in NOT_DECODED}
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and not any(map(is_hidden, path.relative_to(folder).parts))
        and is_file(path)
    )


def _refuse_two_spellings(folder: Path, names: Sequence[str]) -> None:
    by_sound: dict[str, str] = {}
    for name in names:
        letters = unicodedata.normalize("NFKC", name).casefold()  # accents are spelt in two ways
        other = by_sound.setdefault(" ".join(letters.replace("_", " ").split()), name)
        if other != name:
            raise UsageError(
                f"{folder}: {other!r} and {name!r} look like one class; give it one folder"
            )


def _layouts(paths: Sequence[Path]) -> torch.Tensor:
    """Height, width and channels of each image, int64 (N, 3); zeros of one that cannot be read."""
    layouts = np.zeros((len(paths), 3), np.int64)
    for row, path in enumerate(paths):
        try:
            layout = image_layout(path)
        except UsageError:
            continue  # decoding tells of it, with the others
        layouts[row] = *layout.size_hw, 3 if layout.is_coloured else 1
    return torch.from_numpy(layouts)


def _decode_all(paths: Sequence[Path], shape: Shape) -> dict[str, torch.Tensor]:
    """Images (N, H, W, C), the SHA-256 of each file, the highest value of any of 16 bits, and how
    many images are transparent somewhere.
    """
    channels, height, width = shape
    deepest = transparent = 0

    def decode(row: int, content: bytes) -> NDArray[np.uint8]:
        nonlocal deepest, transparent
        decoded = decode_image(paths[row], MODES[channels], (0,) * channels)
        deepest = max(deepest, decoded.deepest)
        transparent += decoded.is_transparent
        resized = decoded.image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized).reshape(height, width, channels)

    images, digests = decode_files(
        paths, (height, width, channels), decode, "repair or remove them"
    )
    counted = {"deep": torch.tensor(deepest), "transparent": torch.tensor(transparent)}
    return {"images": images, "digests": digests, **counted}


def _said(
    shape: Shape, chosen: tuple[int, int] | None, deep: int, transparent: int
) -> tuple[str, ...]:
    said = ["images are " + ("coloured" if shape[0] == 3 else "grey")]
    if chosen:
        said.append(f"resized to {shape[1]}x{shape[2]}")
    if 0 < deep < 1 << 15:
        said.append(
            f"16-bit files hold values up to {deep:,}, {deep.bit_length()} bits of them, and come "
            "out dark"
        )
    if transparent:
        have = "image has" if transparent == 1 else "images have"
        said.append(f"{transparent:,} {have} transparent pixels, shown on black")
    return tuple(said)
