"""The precision that geometry is computed in: float32 at least, whatever is asked around it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def working_dtype(*values: Tensor) -> torch.dtype:
    """The widest type among the values given, float32 at least.

    >>> working_dtype(torch.zeros(1, dtype=torch.bfloat16))
    torch.float32
    """
    dtype = torch.float32
    for value in values:
        dtype = torch.promote_types(dtype, value.dtype)
    return dtype


def widest_dtype(device: torch.device) -> torch.dtype:
    """The widest floating type of a device: float64, but on Apple's GPUs, which have none.

    >>> widest_dtype(torch.device("cpu"))
    torch.float64
    """
    return torch.float32 if device.type == "mps" else torch.float64


def full_precision(values: Tensor) -> AbstractContextManager[object]:
    """Autocast switched off: in bfloat16 a grid of 224 pixels would be off by half a pixel.

    >>> values = torch.ones(2, 2)
    >>> with torch.autocast("cpu", torch.bfloat16), full_precision(values):
    ...     (values @ values).dtype
    torch.float32

    Args:
        values: any tensor on the device that computes.
    """
    if values.device.type == "meta":  # knows no autocast; every device that computes does
        return nullcontext()
    return torch.autocast(values.device.type, enabled=False)
