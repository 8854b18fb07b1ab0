"""stn_core: spatial transformers and their rivals, trained, judged and compared.

The names below are loaded when they are first used, so that reading records and judging them
never waits for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers and editors see of the names below
    from stn_core.datasets import Dataset as Dataset
    from stn_core.datasets import list_datasets as list_datasets
    from stn_core.datasets import load_dataset as load_dataset
    from stn_core.datasets import register_dataset as register_dataset
    from stn_core.errors import UsageError as UsageError
    from stn_core.geometry.pixel_matrices import from_pixel_matrix as from_pixel_matrix
    from stn_core.geometry.pixel_matrices import to_pixel_matrix as to_pixel_matrix
    from stn_core.geometry.sampling import list_samplers as list_samplers
    from stn_core.geometry.sampling import sample as sample
    from stn_core.geometry.warp_image import warp_image as warp_image
    from stn_core.geometry.warps import create_warp as create_warp
    from stn_core.geometry.warps import list_warps as list_warps
    from stn_core.geometry.warps import register_warp as register_warp
    from stn_core.layers.spatial_transformer import SpatialTransformer as SpatialTransformer
    from stn_core.models import create_model as create_model
    from stn_core.models import list_models as list_models
    from stn_core.models import model_info as model_info
    from stn_core.models import register_model as register_model
    from stn_core.models import summarize_model as summarize_model
    from stn_core.models.saved_models import load_model as load_model
    from stn_core.models.saved_models import read_saved_model as read_saved_model
    from stn_core.session.budgets import Budget as Budget
    from stn_core.session.budgets import get_budget as get_budget
    from stn_core.session.budgets import list_budgets as list_budgets
    from stn_core.session.budgets import register_budget as register_budget
    from stn_core.session.cells import Cell as Cell
    from stn_core.session.recipe import Recipe as Recipe
    from stn_core.session.records import RunRecord as RunRecord
    from stn_core.training.metrics import list_metrics as list_metrics
    from stn_core.training.metrics import register_metric as register_metric
    from stn_core.training.run_cell import RunSettings as RunSettings
    from stn_core.training.run_cell import run_cell as run_cell

_HOME = {
    "Budget": "session.budgets",
    "Cell": "session.cells",
    "Dataset": "datasets",
    "Recipe": "session.recipe",
    "RunRecord": "session.records",
    "RunSettings": "training.run_cell",
    "SpatialTransformer": "layers.spatial_transformer",
    "UsageError": "errors",
    "create_model": "models",
    "create_warp": "geometry.warps",
    "from_pixel_matrix": "geometry.pixel_matrices",
    "get_budget": "session.budgets",
    "list_budgets": "session.budgets",
    "list_datasets": "datasets",
    "list_metrics": "training.metrics",
    "list_models": "models",
    "list_samplers": "geometry.sampling",
    "list_warps": "geometry.warps",
    "load_dataset": "datasets",
    "load_model": "models.saved_models",
    "model_info": "models",
    "read_saved_model": "models.saved_models",
    "register_budget": "session.budgets",
    "register_dataset": "datasets",
    "register_metric": "training.metrics",
    "register_model": "models",
    "register_warp": "geometry.warps",
    "run_cell": "training.run_cell",
    "sample": "geometry.sampling",
    "summarize_model": "models",
    "to_pixel_matrix": "geometry.pixel_matrices",
    "warp_image": "geometry.warp_image",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("stn-core")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
