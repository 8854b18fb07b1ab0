"""Images that are slow to decode, kept decoded in the user's cache folder.

A kept copy is one safetensors file, which is mapped into memory and checked by a checksum of its
tensors; nothing is unpickled. Its name is a hash of all that decides what is in it, so a copy of
other files, or of the same files read in another way, is never used.

The copy only saves time: if it cannot be read, it is made again, and if it cannot be written, a
line of the log says so. Several processes may make the same one at once. A copy that has not been
used for `DAYS_KEPT` days is deleted when another is made: files that change leave many behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.atomic_files import read_tensors, replaced_at_once, tensors_metadata, write_tensors
from stn_core.errors import UsageError, needs_extra, user_path

with needs_extra("data"):
    import platformdirs
    from safetensors import SafetensorError

_LOGGER = logging.getLogger(__name__)

LAYOUT_VERSION = 2
"""Of the kept files; another one is not looked for."""

DAYS_KEPT = 90
"""A copy's modification time says when it was last used."""

Tensors = Mapping[str, Tensor]
Arrays = Mapping[str, NDArray[np.generic]]

_DTYPES = {"U8": np.uint8, "I64": np.int64}
"""safetensors' names of what is filled in place."""

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""The arrays of a file that is filled in place: one of `_DTYPES` and a shape, by name."""


def decoded_once(
    name: str, files: Sequence[Path], reading: str, decode: Callable[[], Tensors]
) -> Tensors:
    """The tensors that files decode to, from the kept copy if there is one.

    Args:
        name: what the kept file's name begins with.
        files: what is decoded. A changed path, size or modification time makes another copy; a
            change of the content alone is not noticed.
        reading: everything else that decides the tensors: versions and parameters.
        decode: makes the tensors; what it raises passes through.

    Returns:
        The tensors by name; they may be mapped from the kept file, so what is to live long is
        indexed or cloned.
    """
    path = _kept_path(name, files, reading)
    if path is None:
        return decode()
    kept = _read_if_sound(path)
    if kept is None:
        kept = decode()
        _keep(path, kept)
    return kept


def filled_once(
    name: str, files: Sequence[Path], reading: str, layout: Layout, fill: Callable[[Arrays], None]
) -> Tensors:
    """As `decoded_once`, without a second copy in memory, of what is large.

    A new copy is filled where it lies, mapped into memory: every process that reads it shares its
    pages, and the system may take them back.

    Args:
        name: as for `decoded_once`, as are files and reading.
        layout: the arrays to fill.
        fill: writes into them, empty as they are; what it raises passes through.
    """
    path = _kept_path(name, files, reading)
    if path is not None:
        kept = _read_if_sound(path)
        if kept is not None:
            return kept
        if _fill_file(path, layout, fill):
            return read_tensors(path)[0]
    arrays = {name: np.empty(shape, _DTYPES[dtype]) for name, (dtype, shape) in layout.items()}
    fill(arrays)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def cache_folder() -> Path | None:
    """The folder for what can be made again: STN_CACHE, or else one in the user's cache.

    Returns:
        The folder, which need not exist; None if the home that it is in is not known.
    """
    chosen = os.environ.get("STN_CACHE")
    try:
        if chosen:
            return user_path(chosen)
        folder = platformdirs.user_cache_path("stn_core", appauthor=False)
        return folder if folder.is_absolute() else None
    except UsageError as error:
        _LOGGER.warning("STN_CACHE is %s; nothing is kept", error)
        return None
    except RuntimeError:  # there is no home to be found
        return None


def _kept_path(name: str, files: Sequence[Path], reading: str) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    return folder / "decoded" / f"{name}-{_key(files, reading)}.safetensors"


def _key(files: Sequence[Path], reading: str) -> str:
    digest = hashlib.sha256(f"{LAYOUT_VERSION}\n{reading}\n".encode())
    for file in files:
        state = file.stat()
        digest.update(os.fsencode(file.absolute()))
        digest.update(f" {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _read_if_sound(path: Path) -> Tensors | None:
    """The tensors of a kept file; None if there is none, or one that cannot be used."""
    try:
        tensors = read_tensors(path)[0]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, SafetensorError) as error:
        _LOGGER.warning("%s cannot be read or is damaged, it is made again: %s", path, error)
        return None
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(path)
    return tensors


def _delete_unused(folder: Path) -> None:
    """Delete the copies that were not used for `DAYS_KEPT` days."""
    oldest = time.time() - DAYS_KEPT * 24 * 60 * 60
    for path in folder.glob("*.safetensors"):
        with contextlib.suppress(OSError):  # another process has deleted it, say
            if path.stat().st_mtime < oldest:
                path.unlink()


def _keep(path: Path, tensors: Tensors) -> None:
    _delete_unused(path.parent)
    try:
        write_tensors(path, tensors, quick=True)
    except (OSError, SafetensorError) as error:
        _LOGGER.warning("%s could not be written, it is decoded again next time: %s", path, error)


def _fill_file(path: Path, layout: Layout, fill: Callable[[Arrays], None]) -> bool:
    """Make a kept file and fill it where it lies; whether that was possible."""
    start = len(_header(layout, tensors_metadata(None, {}, quick=True)))
    num_bytes = {name: math.prod(shape, start=_itemsize(d)) for name, (d, shape) in layout.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _delete_unused(path.parent)
        with replaced_at_once(path) as unfinished:
            _reserve(unfinished, start + sum(num_bytes.values()))
            whole = np.memmap(unfinished, np.uint8, "r+")
            arrays: dict[str, NDArray[np.generic]] = {}
            for name, (dtype, shape) in layout.items():
                part = whole[start : start + num_bytes[name]]
                arrays[name] = part.view(_DTYPES[dtype]).reshape(shape)
                start += num_bytes[name]
            fill(arrays)
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            header = _header(layout, tensors_metadata(None, tensors, quick=True))
            whole[: len(header)] = np.frombuffer(header, np.uint8)
            whole.flush()
    except OSError as error:
        _LOGGER.warning("%s could not be written, it is decoded again next time: %s", path, error)
        return False
    return True


def _reserve(path: Path, num_bytes: int) -> None:
    """Make a file so long on the disk: a full one is reported here, and not when a page is
    written."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        else:
            file.truncate(num_bytes)


def _header(layout: Layout, metadata: Mapping[str, str]) -> bytes:
    """What a safetensors file begins with."""
    entries: dict[str, object] = {"__metadata__": metadata}
    start = 0
    for name, (dtype, shape) in layout.items():
        end = start + math.prod(shape, start=_itemsize(dtype))
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        start = end
    content = json.dumps(entries).encode()
    content += b" " * (-len(content) % 8)  # what follows is aligned for int64
    return len(content).to_bytes(8, "little") + content


def _itemsize(dtype: str) -> int:
    return np.dtype(_DTYPES[dtype]).itemsize
