"""What operations make: for tests of the memory and of the types that they need."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class MadeTensor(NamedTuple):
    """A tensor that an operation made, or a view."""

    device: str
    dtype: torch.dtype
    num_bytes: int


class MadeTensors(TorchDispatchMode):
    """Notes every tensor that an operation makes inside this context; numpy's arrays are not."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[MadeTensor] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and operation is not torch.ops.aten.lift_fresh.default:
            self.tensors.append(MadeTensor(result.device.type, result.dtype, result.nbytes))
        return result
