"""Looking at what a model answers, outside training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from stn_core.errors import UsageError


@contextlib.contextmanager
def without_gradients() -> Iterator[None]:
    """Where a model is evaluated: no gradient is kept of what it computes.

    Not `torch.inference_mode`: what a model keeps of a batch, a grid say, must be trainable.

    Raises:
        UsageError: the model asks for gradients in its forward pass without saying so.
    """
    try:
        with torch.no_grad():
            yield
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        raise UsageError(
            "the model's forward pass takes gradients, which are off outside training: put that"
            " part of it under `with torch.enable_grad():`"
        ) from error
