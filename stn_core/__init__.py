"""stn_core: spatial transformers and their rivals, trained, judged and compared.

The names below are loaded when they are first used, so that reading records and judging them
never waits for torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Cell": "recipe",
    "Dataset": "datasets",
    "Recipe": "recipe",
    "RunRecord": "records",
    "RunSettings": "experiment",
    "SpatialTransformer": "layers.spatial_transformer",
    "UsageError": "errors",
    "create_model": "models",
    "create_warp": "warps",
    "get_budget": "recipe",
    "list_datasets": "datasets",
    "list_models": "models",
    "list_samplers": "sampling",
    "list_warps": "warps",
    "load_dataset": "datasets",
    "load_model": "saved_models",
    "model_info": "models",
    "read_saved_model": "saved_models",
    "register_model": "models",
    "run_cell": "experiment",
    "sample": "sampling",
    "summarize_model": "models",
    "warp_image": "warping",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
