"""Datasets by name: registered ones, and any .npz in the data folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stn_core.datasets.base import Dataset
from stn_core.datasets.keras_npz import check_npz, load_npz
from stn_core.errors import UsageError, unknown_name
from stn_core.registry import Registry

Builder = Callable[[Path | None, bool], Dataset]
"""Makes a dataset from the data folder, or None, and whether missing files may be fetched."""

Check = Callable[[Path | None, bool], None]
"""Raises a UsageError where the builder, called with the same arguments, could not succeed."""


@dataclass(frozen=True)
class _Entry:
    build: Builder
    check: Check


_DATASETS: Registry[_Entry] = Registry("dataset")


def _always_there(root: Path | None, download: bool) -> None:
    """The check of a dataset that needs no files."""


def register_dataset(name: str, check: Check = _always_there) -> Callable[[Builder], Builder]:
    """Decorate a function that makes a dataset, so that `load_dataset` finds it.

    Args:
        name: what to load it by; not taken yet.
        check: says within a second, without loading, whether the dataset can be had.
    """

    def register(build: Builder) -> Builder:
        _DATASETS.add(name, _Entry(build, check))
        return build

    return register


def list_datasets(pattern: str = "*") -> list[str]:
    """Names of the registered datasets that match a shell pattern, sorted."""
    return _DATASETS.names(pattern)


def load_dataset(
    name: str, root: str | os.PathLike[str] | None = None, download: bool = False
) -> Dataset:
    """Load a dataset.

    Args:
        name: a registered name, or that of a file ``<root>/<name>.npz`` in the Keras layout.
        root: the data folder; None where the dataset needs none.
        download: whether missing files may be fetched into ``root``.

    Raises:
        UsageError: the name is unknown, or files are missing or damaged.
    """
    folder = _folder(root)
    if name in _DATASETS:
        return _DATASETS[name].build(folder, download)
    return load_npz(name, _npz_path(name, folder))


def check_dataset(
    name: str, root: str | os.PathLike[str] | None = None, download: bool = False
) -> None:
    """Say within a second whether `load_dataset` with the same arguments will find its data.

    Names, files, sizes, headers and labels are looked at; no image is read.

    Raises:
        UsageError: the name is unknown, or files are missing or damaged.
    """
    folder = _folder(root)
    if name in _DATASETS:
        _DATASETS[name].check(folder, download)
    else:
        check_npz(_npz_path(name, folder))


def _folder(root: str | os.PathLike[str] | None) -> Path | None:
    return None if root is None else Path(root).expanduser()


def _npz_path(name: str, root: Path | None) -> Path:
    """The file of a dataset that is not registered; an error if there is none."""
    if root is None:
        error = unknown_name("dataset", name, _DATASETS)
        raise UsageError(f"{error} (a {name}.npz needs --data-root or STN_DATA)")
    path = root / f"{name}.npz"
    # A name is no path: it also names records and artifacts.
    if path.parent != root or not path.is_file():
        error = unknown_name("dataset", name, [*_DATASETS, *(p.stem for p in root.glob("*.npz"))])
        raise UsageError(f"{error} ({root} holds no {name}.npz)")
    return path
