"""Images that are slow to decode, kept decoded in the user's cache folder.

A kept copy is one safetensors file, which is mapped into memory and checked by a checksum of its
tensors; nothing is unpickled. Its name is a hash of all that decides what is in it, so a copy of
other files, or of the same ones read otherwise, is never found.

The copy is a help and never a condition: where it cannot be read it is made again, and where it
cannot be written a line of the log says so. Several processes may make the same one at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from stn_core.atomic_files import replaced_at_once
from stn_core.errors import UsageError, needs_extra, user_path

with needs_extra("data"):
    import safetensors.torch
    from safetensors import SafetensorError, safe_open

_LOGGER = logging.getLogger(__name__)

LAYOUT_VERSION = 1
"""Of the kept files; another one is not looked for."""

Tensors = Mapping[str, Tensor]


def decoded_once(
    name: str, files: Sequence[Path], reading: str, decode: Callable[[], Tensors]
) -> Tensors:
    """The tensors that files decode to, from the kept copy where there is one.

    Args:
        name: what the kept file's name begins with.
        files: what is decoded. Another path, size or time of change of any makes another copy; a
            file that was changed without a change of these three is taken for the same.
        reading: everything else that decides the tensors: versions and parameters.
        decode: makes the tensors; what it raises passes through.

    Returns:
        The tensors by name; they may be mapped from the kept file, so what is to live long is
        indexed or cloned.
    """
    folder = cache_folder()
    if folder is None:
        return decode()
    path = folder / "decoded" / f"{name}-{_key(files, reading)}.safetensors"
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, SafetensorError) as error:
        _LOGGER.warning("%s cannot be read or is damaged, it is made again: %s", path, error)
    tensors = decode()
    _keep(path, tensors)
    return tensors


def cache_folder() -> Path | None:
    """The folder for what can be made again: STN_CACHE, else a part of the user's own.

    Returns:
        The folder, which need not exist; None where the home that it is in is not known.
    """
    chosen = os.environ.get("STN_CACHE")
    try:
        return user_path(chosen) if chosen else _user_cache_folder() / "stn_core"
    except UsageError as error:
        _LOGGER.warning("STN_CACHE is %s; nothing is kept", error)
        return None
    except RuntimeError:  # there is no home to be found
        return None


def _user_cache_folder() -> Path:
    if sys.platform == "win32":
        variable, usual = "LOCALAPPDATA", "AppData/Local"
    elif sys.platform == "darwin":
        variable, usual = "", "Library/Caches"
    else:
        variable, usual = "XDG_CACHE_HOME", ".cache"
    chosen = os.environ.get(variable)
    return Path(chosen) if chosen else Path.home() / usual


def _key(files: Sequence[Path], reading: str) -> str:
    digest = hashlib.sha256(f"{LAYOUT_VERSION}\n{reading}\n".encode())
    for file in files:
        state = file.stat()
        digest.update(os.fsencode(file.absolute()))
        digest.update(f" {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _read(path: Path) -> Tensors:
    """The tensors of a kept file.

    Raises:
        OSError, ValueError, SafetensorError: it cannot be read, or is not as written.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if metadata.get("checksum") != _checksum(tensors):
        raise ValueError("its contents are not what its checksum says")
    return tensors


def _keep(path: Path, tensors: Tensors) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_at_once(path) as unfinished:
            safetensors.torch.save_file(dict(tensors), unfinished, {"checksum": _checksum(tensors)})
    except (OSError, SafetensorError) as error:
        _LOGGER.warning("%s could not be written, it is decoded again next time: %s", path, error)


def _checksum(tensors: Tensors) -> str:
    """Of what the tensors are and hold: CRC-32, which reads gigabytes a second."""
    checksum = 0
    for name, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), checksum)
        checksum = zlib.crc32(tensor.numpy().data, checksum)
    return f"{checksum:08x}"
