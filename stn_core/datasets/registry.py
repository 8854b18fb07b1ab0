"""Datasets by name: registered ones, files in the data folder, and both of them distorted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.datasets.base import Dataset
from stn_core.datasets.data_root import data_folder
from stn_core.datasets.distortions.distorted_sets import (
    KINDS,
    check_distortable,
    distorted,
    distorted_shape,
)
from stn_core.datasets.sources.by_name import (
    Source,
    can_be_file,
    find_source,
    names_in,
    npz_file,
    refused_size,
)
from stn_core.errors import UsageError, unknown_name
from stn_core.geometry.option_values import is_whole_number
from stn_core.registry import Registry, check_name

Builder = Callable[[Path | None, bool], Dataset]
"""Makes a dataset from the data folder, or None, and whether missing files may be fetched."""

Shape = tuple[int, int, int]
"""(C, H, W) of a dataset's images."""

MAX_SIDE = 4_096
"""Pixels of a side that images are resized to."""

Check = Callable[[Path | None, bool], None]
"""Raises a UsageError where the builder, called with the same arguments, would find no files."""


@dataclass(frozen=True)
class _Entry:
    build: Builder
    check: Check
    channels: Callable[[], int | None]
    is_distorted: bool = False
    shape: Callable[[], Shape | None] = lambda: None


_DATASETS: Registry[_Entry] = Registry("dataset")


def _always_there(root: Path | None, download: bool) -> None:
    """The check of a dataset that needs no files."""


def register_dataset(
    name: str,
    check: Check = _always_there,
    channels: int | None = None,
    is_distorted: bool = False,
    shape: Shape | None = None,
) -> Callable[[Builder], Builder]:
    """Decorate a function that makes a dataset, so that `load_dataset` finds it.

    Args:
        name: what to load it by; not taken yet.
        check: sees that the files are there; what is in them is checked when they are read.
        channels: how many its images have, so that `check_dataset` knows whether they can be
            distorted; None: that is found out when it is loaded.
        is_distorted: whether it has a distortion of its own.
        shape: (C, H, W) of its images, so that `check_dataset` knows it; it makes `channels`
            superfluous.

    Raises:
        UsageError: the name is taken, or is no printable text, such as the function itself.
    """
    check_name("dataset", name)  # used without parentheses, nothing would be registered
    known_channels = shape[0] if shape else channels

    def register(build: Builder) -> Builder:
        entry = _Entry(build, check, lambda: known_channels, is_distorted, lambda: shape)
        _DATASETS.add(name, entry)
        return build

    return register


def register_distorted(plain_name: str) -> None:
    """Add every kind of distorted set of a registered dataset to what `list_datasets` shows.

    `load_dataset` finds ``<plain name>_<kind>`` in any case.
    """
    for kind in KINDS:
        name = f"{plain_name}_{kind}"
        _DATASETS.add(name, _distorted_entry(name, kind, plain_name, _DATASETS[plain_name]))


def list_datasets(pattern: str = "*") -> list[str]:
    """Names of the registered datasets that match a shell pattern, sorted."""
    return _DATASETS.names(pattern)


def load_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    image_size: int | tuple[int, int] | None = None,
) -> Dataset:
    """Load a dataset.

    Args:
        name: a registered name, or that of files in ``root``: ``<root>/<name>.npz``, or a folder
            ``<root>/<name>`` of images or of idx or .mat files; ``torchvision:<class>``; or one of
            these of grey images, then "_" and how it is distorted: ``r``, ``rts``, ``p``, ``e``,
            ``tc`` or ``add`` (see `distorted_sets`). docs/own-data.md lists the formats.
        root: the data folder; None if the dataset needs none.
        download: whether missing files may be fetched into ``root``.
        image_size: (height, width) that a folder's images are resized to, or one number for both;
            None keeps the size that they all have.

    Raises:
        UsageError: the name is unknown, files are missing or damaged, what should be distorted is
            not grey, a size is chosen for images that are not in a folder, or a registered
            function returns no dataset.
    """
    folder = data_folder(root)
    with _hidden_file_told(name, folder):
        entry = _entry(name, folder, download, _height_and_width(image_size))
        dataset: Any = entry.build(folder, download)
    if not isinstance(dataset, Dataset):
        made = type(dataset).__name__
        raise UsageError(f"the function of the dataset {name!r} returned {made}, not a Dataset")
    return dataset


def check_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    image_size: int | tuple[int, int] | None = None,
) -> Shape | None:
    """Say, without loading it, whether `load_dataset` with the same arguments will find its data.

    Of a registered dataset the files are looked for, and of a user's own the headers are read too,
    which say the images' shape. Everything else is checked when the dataset is loaded.

    Returns:
        (C, H, W) of its images, if the files or the registration say it; else None.

    Raises:
        UsageError: the name is unknown, files are missing, a header is damaged, or what should be
            distorted is known not to be grey.
    """
    folder = data_folder(root)
    with _hidden_file_told(name, folder):
        entry = _entry(name, folder, download, _height_and_width(image_size))
        entry.check(folder, download)
        return entry.shape()


def is_dataset(name: str, root: str | os.PathLike[str] | None = None) -> bool:
    """Whether a dataset of that name is registered or has files in ``root``, however damaged."""
    try:
        _entry(name, data_folder(root), download=False, image_size=None)
    except UsageError:
        return False
    return True


def _height_and_width(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """The size that images are to have.

    Raises:
        UsageError: it is none.
    """
    if image_size is None:
        return None
    sides = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    if len(sides) != 2 or not all(is_whole_number(n) and 1 <= n <= MAX_SIDE for n in sides):
        raise UsageError(
            f"image_size is one whole number of pixels or (height, width), 1 to {MAX_SIDE:,} each,"
            f" not {image_size!r}"
        )
    return int(sides[0]), int(sides[1])


def _entry(
    name: str, root: Path | None, download: bool, image_size: tuple[int, int] | None
) -> _Entry:
    """How to make a dataset; an error if the name is unknown."""

    def known(name: str) -> _Entry | None:
        if not isinstance(name, str) or name in _DATASETS:
            entry = _DATASETS[name]
            if image_size:
                raise refused_size(name)
            return entry
        source = find_source(name, root, download, image_size)
        return _source_entry(name, source) if source else None

    entry = known(name)
    if entry:
        return entry
    plain_name, _, kind = name.rpartition("_")
    plain = known(plain_name) if kind in KINDS else None
    if plain:
        return _distorted_entry(name, kind, plain_name, plain)
    raise _unknown(name, [name, plain_name] if kind in KINDS else [name], root)


def _source_entry(name: str, source: Source) -> _Entry:
    def channels() -> int | None:
        shape = source.shape()
        return shape[0] if shape else None

    return _Entry(
        lambda root, download: source.load(name),
        lambda root, download: None,  # asking for its shape looks at all headers
        channels,
        shape=source.shape,
    )


def _distorted_entry(name: str, kind: str, plain_name: str, plain: _Entry) -> _Entry:
    def refuse_what_cannot_be_distorted() -> None:
        check_distortable(name, plain_name, plain.channels(), plain.is_distorted)

    def build(root: Path | None, download: bool) -> Dataset:
        refuse_what_cannot_be_distorted()
        return distorted(name, kind, plain.build(root, download))

    def check(root: Path | None, download: bool) -> None:
        refuse_what_cannot_be_distorted()
        plain.check(root, download)

    def shape() -> Shape | None:
        plain_shape = plain.shape()
        return distorted_shape(kind, plain_shape) if plain_shape else None

    return _Entry(build, check, plain.channels, is_distorted=True, shape=shape)


@contextmanager
def _hidden_file_told(name: str, root: Path | None) -> Iterator[None]:
    """If a registered dataset is missing, name the file that would provide it."""
    try:
        yield
    except UsageError as error:
        plain_name, _, kind = str(name).rpartition("_")
        for hiding in (name, plain_name) if kind in KINDS else (name,):
            path = _hidden_file(hiding, root)
            if path and str(path) not in str(error):
                raise UsageError(
                    f"{error} ({path} is not read, {hiding} is a registered dataset; rename it)"
                ) from error
        raise


def _hidden_file(name: str, root: Path | None) -> Path | None:
    """The .npz file with the name of a registered dataset, if there is one."""
    try:
        return npz_file(name, root) if name in _DATASETS else None
    except UsageError:  # the folder may not be looked into, which the dataset's own error says
        return None


def _unknown(name: str, file_names: list[str], root: Path | None) -> UsageError:
    """The error for a name that is neither registered nor that of any of these files."""
    in_root = set() if root is None else names_in(root)
    error = unknown_name("dataset", name, {*_DATASETS, *in_root})
    files = " or ".join(f"{each}.npz" for each in file_names if can_be_file(each))
    if not files:
        return error
    if root is None:
        return UsageError(f"{error} (a {files} needs root=, --data-root or STN_DATA)")
    if not root.is_dir():
        return UsageError(f"{error} (the data root {root} is not a folder)")
    return UsageError(f"{error} ({root} holds no {files})")
