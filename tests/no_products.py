"""A guard that finds the matrix products which a GPU set to TF32 would round to 10 bits."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "mv", "dot", "linear")


class RoundedProducts(TorchDispatchMode):
    """Notes products of matrices narrower than float64, in forward and backward passes.

    Attributes:
        found: the operation and the type of each.
    """

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in _PRODUCTS and result.dtype != torch.float64:
            self.found.append(f"{func} in {result.dtype}")
        return result
