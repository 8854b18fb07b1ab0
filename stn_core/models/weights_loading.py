"""Loading weights into a model that may have replaced its buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


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
