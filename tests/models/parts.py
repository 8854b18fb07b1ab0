"""What a model is made of."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


def layers_of(model: nn.Module, kind: type[Layer]) -> list[Layer]:
    """A model's layers of some kind, in the order in which they were made."""
    return [layer for layer in model.modules() if isinstance(layer, kind)]
