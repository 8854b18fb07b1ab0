"""Weights: read from a file of torch's, and loaded into a model that may have replaced buffers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors by name that ``torch.save`` wrote into a file; no code in it is run.

    Raises:
        UsageError: it is damaged or holds something else; names the file.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        named = isinstance(found, Mapping) and all(isinstance(name, str) for name in found)
        if not named or not all(isinstance(value, Tensor) for value in found.values()):
            raise ValueError("it holds something else than tensors by name")
        return dict(found)
    except Exception as error:  # torch promises no narrower class for a damaged file
        reason = (str(error).split("\n") or [""])[-1].strip() or type(error).__name__
        raise UsageError(f"{path} does not hold this network's weights ({reason})") from error


def load_weights(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Load an earlier state of a model, or the state of another model of the same architecture.

    A forward pass may replace a buffer with a tensor of another shape, such as the batch's size;
    such a buffer gets its old shape back. One whose elements share memory, as after `expand`, gets
    memory for each. The state counts as one of the model's own version: a file does not hold the
    versions of its modules, which some of them ask for.

    Raises:
        RuntimeError: it is the state of another architecture.
    """
    for prefix, module in model.named_modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            stored = state.get(f"{prefix}.{name}" if prefix else name)
            if isinstance(stored, Tensor) and (
                stored.shape != buffer.shape or _shares_memory(buffer)
            ):
                setattr(module, name, torch.empty_like(stored, device=buffer.device))
    versioned = model.state_dict()
    versioned.clear()
    versioned.update(state)
    model.load_state_dict(versioned)


def _shares_memory(tensor: Tensor) -> bool:
    return any(
        stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
