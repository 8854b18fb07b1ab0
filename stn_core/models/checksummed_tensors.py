"""Safetensors files with a JSON document beside the tensors and a checksum of both.

The metadata hold the document and the checksum. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stn_core.errors import needs_extra

with needs_extra("data"):
    import safetensors.torch
    from safetensors import safe_open


def sealed(document: Any, tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a file.

    Args:
        document: JSON types.
        tensors: on any device, in any memory format, one behind several names too.

    Raises:
        TypeError: the document has something that is no JSON.
    """
    text = json.dumps(document)
    stored = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return safetensors.torch.save(stored, {"document": text, "checksum": _checksum(text, stored)})


def read_sealed(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """The document and the tensors of a file; the tensors may be mapped from it.

    Raises:
        OSError, ValueError, SafetensorError: it cannot be read, or is not as written.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if "document" not in metadata or "checksum" not in metadata:
        raise ValueError("it has no document and checksum: another program wrote it")
    text = metadata["document"]
    if metadata["checksum"] != _checksum(text, tensors):
        raise ValueError("its contents are not what its checksum says")
    return json.loads(text), tensors


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
