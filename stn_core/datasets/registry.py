"""Datasets by name: registered ones, any .npz in the data folder, and both of them distorted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stn_core.datasets.base import Dataset
from stn_core.datasets.data_root import data_folder, is_file
from stn_core.datasets.distortions.distorted_sets import KINDS, check_distortable, distorted
from stn_core.datasets.sources.keras_npz import check_npz, load_npz, npz_channels
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
    channels: Callable[[], int | None]
    is_distorted: bool = False


_DATASETS: Registry[_Entry] = Registry("dataset")


def _always_there(root: Path | None, download: bool) -> None:
    """The check of a dataset that needs no files."""


def register_dataset(
    name: str,
    check: Check = _always_there,
    channels: int | None = None,
    is_distorted: bool = False,
) -> Callable[[Builder], Builder]:
    """Decorate a function that makes a dataset, so that `load_dataset` finds it.

    Args:
        name: what to load it by; not taken yet.
        check: says, without decoding any image, whether the dataset can be had.
        channels: how many its images have, so that `check_dataset` knows whether they can be
            distorted; None: that is found out when it is loaded.
        is_distorted: whether it has a distortion of its own.
    """

    def register(build: Builder) -> Builder:
        _DATASETS.add(name, _Entry(build, check, lambda: channels, is_distorted))
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
    name: str, root: str | os.PathLike[str] | None = None, download: bool = False
) -> Dataset:
    """Load a dataset.

    Args:
        name: a registered name, or that of a file ``<root>/<name>.npz`` in the Keras layout; or
            one of these of grey images, then "_" and how it is distorted: ``r``, ``rts``, ``p``,
            ``e``, ``tc`` or ``add`` (see `distorted_sets`).
        root: the data folder; None where the dataset needs none.
        download: whether missing files may be fetched into ``root``.

    Raises:
        UsageError: the name is unknown, files are missing or damaged, or what should be distorted
            is not grey.
    """
    folder = data_folder(root)
    with _hidden_file_told(name, folder):
        return _entry(name, folder).build(folder, download)


def check_dataset(
    name: str, root: str | os.PathLike[str] | None = None, download: bool = False
) -> None:
    """Say, without loading it, whether `load_dataset` with the same arguments will find its data.

    Names, files, sizes, headers and labels are looked at and no image, within a second; but
    CIFAR-10's batches hold labels and images in one pickle, and all of it is read.

    Raises:
        UsageError: the name is unknown, files are missing or damaged, or what should be distorted
            is known not to be grey.
    """
    folder = data_folder(root)
    with _hidden_file_told(name, folder):
        _entry(name, folder).check(folder, download)


def _entry(name: str, root: Path | None) -> _Entry:
    """How to make a dataset; an error if nobody knows."""
    known = _registered_or_file(name, root)
    if known:
        return known
    plain_name, _, kind = name.rpartition("_")
    plain = _registered_or_file(plain_name, root) if kind in KINDS else None
    if plain:
        return _distorted_entry(name, kind, plain_name, plain)
    raise _unknown(name, [name, plain_name] if kind in KINDS else [name], root)


def _registered_or_file(name: str, root: Path | None) -> _Entry | None:
    if not isinstance(name, str) or name in _DATASETS:
        return _DATASETS[name]
    path = _npz_file(name, root)
    return _file_entry(name, path) if path else None


def _npz_file(name: str, root: Path | None) -> Path | None:
    """The .npz file of that name in the data folder, where there is one."""
    if root is None or not _can_be_file(name):
        return None
    path = root / f"{name}.npz"
    return path if is_file(path) else None


def _can_be_file(name: str) -> bool:
    """Whether a name is one and no path: it also names records and artifacts."""
    return name != "" and name == Path(name).name and name.isprintable()


def _file_entry(name: str, path: Path) -> _Entry:
    return _Entry(
        lambda root, download: load_npz(name, path),
        lambda root, download: check_npz(path),
        lambda: npz_channels(path),
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

    return _Entry(build, check, plain.channels, is_distorted=True)


@contextmanager
def _hidden_file_told(name: str, root: Path | None) -> Iterator[None]:
    """Where a registered dataset cannot be had, name the file that would be it otherwise."""
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
    """The .npz file with the name of a registered dataset, where there is one to be seen."""
    try:
        return _npz_file(name, root) if name in _DATASETS else None
    except UsageError:  # the folder may not be looked into, which the dataset's own error says
        return None


def _unknown(name: str, file_names: list[str], root: Path | None) -> UsageError:
    """The error for a name that is neither registered nor that of any of these files."""
    in_root = [] if root is None else [path.stem for path in root.glob("*.npz")]
    error = unknown_name("dataset", name, {*_DATASETS, *in_root})
    files = " or ".join(f"{each}.npz" for each in file_names if _can_be_file(each))
    if not files:
        return error
    if root is None:
        return UsageError(f"{error} (a {files} needs root=, --data-root or STN_DATA)")
    return UsageError(f"{error} ({root} holds no {files})")
