"""The state of an unfinished training, kept in one file, so that it can go on where it was.

The file holds the tensors as they are, and a JSON document with everything else.

Training never depends on a checkpoint: if it cannot be written, read or trusted, the log says so in
a line, and the training goes on without it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stn_core.atomic_files import read_tensors, write_tensors
from stn_core.errors import needs_extra

with needs_extra("suite"):
    from safetensors import SafetensorError

_LOGGER = logging.getLogger(__name__)


class Checkpoint:
    """The file that one training saves its state in while it runs.

    Args:
        path: of the file; its folder is made when it is first written.
        owner: what the training is, as JSON scalars by name (its cell, its seed, ...); a checkpoint
            of another owner is not used.
        seconds: how long after the last save, or after this object was made, the next one is due; 0
            saves after every epoch.
    """

    def __init__(self, path: Path, owner: Mapping[str, Any], seconds: float = 60.0) -> None:
        self.path = path
        self.owner = owner
        self.seconds = seconds
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last; None if this owner can use none."""
        try:
            owner, state = _read(self.path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, SafetensorError) as error:
            _LOGGER.warning("%s is damaged and not used: %s", self.path, error)
            return None
        names = {**self.owner, **owner}
        others = [name for name in names if owner.get(name) != self.owner.get(name)]
        if others:
            _LOGGER.warning(
                "%s belongs to a run with another %s and is not used", self.path, ", ".join(others)
            )
            return None
        _LOGGER.info("training continues from %s", self.path)
        return state

    def maybe_save(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Save if it is time.

        Args:
            state: returns what to save, and is only called if it is time: nested mappings, lists
                and tuples of tensors and JSON scalars.
        """
        if time.monotonic() - self._saved_at < self.seconds:
            return
        try:
            _write(self.path, self.owner, state())
        except Exception as error:  # a full disk or a state that is not JSON is no reason to stop
            _LOGGER.warning("%s could not be written: %s", self.path, error)
        self._saved_at = time.monotonic()


def discard(path: Path) -> None:
    """Delete the checkpoint, if there is one."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _LOGGER.warning("%s could not be deleted: %s", path, error)


def _write(path: Path, owner: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    tensors: dict[str, Tensor] = {}
    document = {"owner": dict(owner), "state": _encode(state, "", tensors)}
    write_tensors(path, tensors, document)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The owner and the state in a file.

    Raises:
        OSError, ValueError, SafetensorError: it cannot be read, or is not as written.
    """
    tensors, values = read_tensors(path)
    try:
        return dict(values["owner"]), _decode(values["state"], tensors)
    except (LookupError, TypeError) as error:
        raise ValueError("it holds something else than a checkpoint") from error


def _encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """JSON types that describe a value; its tensors are stored separately under their names.

    A tensor's strides are kept: fused optimisers walk a parameter and its moments through memory
    side by side, so the moments of a channels-last parameter must have its layout.
    """
    if isinstance(value, Tensor):
        name = f"{len(tensors)}{name}"  # unique, whatever the keys are
        tensors[name] = value
        return {"tensor": name, "stride": torch.empty_like(value, device="meta").stride()}
    if isinstance(value, Mapping):
        items = [[key, _encode(item, f"{name}/{key}", tensors)] for key, item in value.items()]
        return {"mapping": items}
    if isinstance(value, list | tuple):
        entries = [_encode(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
        return entries if isinstance(value, list) else {"tuple": entries}
    return value


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value that `_encode` turned into these JSON types and tensors, on the CPU."""
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "mapping" in value:
        return {key: _decode(item, tensors) for key, item in value["mapping"]}
    if "tuple" in value:
        return tuple(_decode(item, tensors) for item in value["tuple"])
    stored = tensors[value["tensor"]]
    return torch.empty_strided(stored.shape, value["stride"], dtype=stored.dtype).copy_(stored)
