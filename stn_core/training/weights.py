"""Weights put back into a model that may have reassigned its buffers meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def load_weights(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Restore an earlier state of a model.

    A forward pass may replace a buffer with a tensor of another shape, such as the batch's size;
    such a buffer gets its old shape back.
    """
    for prefix, module in model.named_modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            stored = state.get(f"{prefix}.{name}" if prefix else name)
            if isinstance(stored, Tensor) and stored.shape != buffer.shape:
                setattr(module, name, torch.empty_like(stored, device=buffer.device))
    model.load_state_dict(state)
