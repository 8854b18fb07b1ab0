"""Files written in one piece: a reader sees the old content or the new, never a part.

Tensors are written as safetensors, with a JSON document and a checksum of both in the metadata, so
that a damaged file is noticed. Nothing is unpickled.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import signal
import stat
import threading
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stn_core.errors import UsageError, needs_extra

if TYPE_CHECKING:
    from torch import Tensor

_UNFINISHED = re.compile(r".+\.[0-9a-f]{32}\.tmp")


def encoded(text: str) -> bytes:
    """A text as UTF-8; half of a surrogate pair, which no encoding has, becomes its escape."""
    return text.encode("utf-8", errors="backslashreplace")


def write_at_once(path: Path, text: str) -> None:
    """Write a text file so that neither a reader nor a crash ever meets half of it."""
    with replaced_at_once(path) as unfinished:
        unfinished.write_bytes(encoded(text))


def write_output(path: Path, text: str) -> None:
    """Write a text file that the user asked for, and create its folder if there is none.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_at_once(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def append_text(path: Path, text: str) -> None:
    """Add a text to the end of a file that others write to as well."""
    with path.open("ab") as file:
        file.write(encoded(text))


@contextmanager
def replaced_at_once(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write a file to, which takes its place once it is whole.

    Its name is one that no other writer has, in whatever thread, process or container. Where the
    block raises, ``path`` stays as it was and nothing is left beside it. A process that is killed
    leaves an unfinished file: `is_unfinished` tells it, `remove_unfinished` takes it away.

    If ``path`` is a link, it is kept, and the file that it points to is replaced.
    """
    path = _named_by_links(path)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    unfinished.touch()
    mode = unfinished.stat().st_mode  # what the user's umask leaves; safetensors makes its own
    try:
        yield unfinished
        unfinished.chmod(stat.S_IMODE(mode))
        with unfinished.open("r+b") as written:
            os.fsync(written.fileno())  # or a power cut could leave the new name without content
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Ctrl-C and SIGTERM that arrive within the block take effect at its end.

    For a few lines between work that is done and its place on the disk. Outside of the main thread,
    where Python answers no signal, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    usual = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not None:  # else a handler that Python cannot put back
            usual[number] = signal.signal(number, lambda signum, frame: arrived.append(signum))
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for came in dict.fromkeys(arrived):
            signal.raise_signal(came)


def _named_by_links(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_unfinished(name: str) -> bool:
    """Whether a file's name, or its path, is one that `replaced_at_once` makes."""
    return bool(_UNFINISHED.fullmatch(name))


def remove_unfinished(path: Path) -> None:
    """Remove what killed writers of a file left beside it.

    Nobody else may be writing the file meanwhile: call this under its lock.
    """
    path = _named_by_links(path)
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        if is_unfinished(left.name):
            left.unlink(missing_ok=True)


_CRC = "crc32:"
"""The prefix of a checksum that is a CRC-32; one without it is a SHA-256."""

_CHECKED_BYTES = 1 << 24
"""Of a tensor at a time."""


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], document: Any = None, *, quick: bool = False
) -> None:
    """Write tensors and a JSON document into one file, in one piece.

    Args:
        path: of the file; its folder is created if needed.
        tensors: on any device, in any memory format, one behind several names too.
        document: JSON types.
        quick: as for `tensors_metadata`.

    Raises:
        OSError, SafetensorError: the file cannot be written.
        TypeError: the document has something that is not JSON.
    """
    with needs_extra("data"):
        import safetensors.torch

    stored: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        stored[name] = plain.clone() if place in storages else plain
        storages.add(place)
    metadata = tensors_metadata(document, stored, quick=quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_once(path) as unfinished:
        safetensors.torch.save_file(stored, unfinished, metadata)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors and the document of a file; the tensors may be mapped from it.

    Raises:
        OSError, ValueError, SafetensorError: it cannot be read, or is not as it was written.
    """
    metadata, tensors = _opened(path)
    if "document" not in metadata or "checksum" not in metadata:
        raise ValueError("it has no document and checksum: another program wrote it")
    text, checksum = metadata["document"], metadata["checksum"]
    if checksum != _checksum(text, tensors, quick=checksum.startswith(_CRC)):
        raise ValueError("its contents are not what its checksum says")
    try:
        return tensors, json.loads(text)
    except RecursionError:
        raise ValueError("its document is nested too deeply") from None


def _opened(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a file, mapped unless its name is not UTF-8."""
    with needs_extra("data"):
        import safetensors.torch

    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        content = path.read_bytes()
        tensors = safetensors.torch.load(content)  # who has read the header's length and its JSON
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return header.get("__metadata__", {}), tensors
    with safetensors.safe_open(path, framework="pt") as file:
        names = file.keys()
        return file.metadata() or {}, {name: file.get_tensor(name) for name in names}


def tensors_metadata(
    document: Any, tensors: Mapping[str, Tensor], *, quick: bool = False
) -> dict[str, str]:
    """What the metadata of a file hold.

    Args:
        document: JSON types.
        tensors: contiguous, on the CPU.
        quick: a CRC-32, twice as fast on gigabytes, in place of a SHA-256. It is as long for any
            tensors.
    """
    text = json.dumps(document)
    return {"document": text, "checksum": _checksum(text, tensors, quick=quick)}


def _checksum(text: str, tensors: Mapping[str, Tensor], *, quick: bool) -> str:
    digest = _Crc32() if quick else hashlib.sha256()
    digest.update(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content = memoryview(_bytes_of(tensor))
        for start in range(0, len(content), _CHECKED_BYTES):
            digest.update(content[start : start + _CHECKED_BYTES])
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> Any:
    import torch

    return tensor.flatten().view(torch.uint8).numpy()


class _Crc32:
    """A CRC-32 as hashlib would offer it."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, content: bytes | memoryview) -> None:
        self._value = zlib.crc32(content, self._value)

    def hexdigest(self) -> str:
        return f"{_CRC}{self._value:08x}"
