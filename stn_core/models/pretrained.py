"""Trained weights that come with the package, each in a file as ``--save-models`` writes it.

They are stored in half precision, and the accuracy in a file is that of the stored weights.
"""

from __future__ import annotations

import copy
import os
from collections import defaultdict
from pathlib import Path

import torch
from torch import nn

from stn_core.errors import UsageError, user_path
from stn_core.models.registry import model_name
from stn_core.models.saved_models import (
    ModelConfiguration,
    SavedModel,
    read_saved_model,
    save_model,
)

FOLDER = Path(__file__).parent / "weights"

MOST_BYTES = 4_000_000
"""Of all the files that come with the package."""


def list_pretrained(folder: str | os.PathLike[str] | None = None) -> dict[str, list[str]]:
    """The models that there are weights of, by the dataset that they were trained on."""
    found = defaultdict(list)
    for path in sorted(_folder(folder).glob("*.safetensors")):
        dataset, _, model = path.stem.partition("-")
        found[dataset].append(model)
    return dict(found)


def read_pretrained(
    name: str, dataset: str, folder: str | os.PathLike[str] | None = None
) -> SavedModel:
    """A trained model, with all that is known of it: `SavedModel.normalise` is for its images.

    Args:
        name: of the model, or of a variant that is the model, "stn[warp=affine]".
        dataset: that it was trained on.
        folder: where the weights lie; None: in the package.

    Raises:
        UsageError: no model has that name, or there are no such weights; lists those that there
            are.
    """
    name = model_name(name)
    there = list_pretrained(folder)
    if name not in there.get(dataset, ()):
        listed = "; ".join(f"{each}: {', '.join(names)}" for each, names in there.items())
        raise UsageError(
            f"there are no weights of {name!r} trained on {dataset!r}; there are"
            f" {listed or 'none at all'}"
        )
    return read_saved_model(_path(name, dataset, _folder(folder)))


def write_pretrained(model: nn.Module, configuration: ModelConfiguration, folder: Path) -> Path:
    """Write a trained model in half precision.

    Args:
        model: whose weights have been `rounded`, so that nothing more is lost.
        configuration: of that model, with the accuracy of those weights.
        folder: where to.

    Returns:
        The file.
    """
    path = _path(model_name(configuration.model), configuration.dataset, folder)
    save_model(path, copy.deepcopy(model).half(), configuration)
    return path


def rounded(model: nn.Module) -> nn.Module:
    """A copy of a model with every weight rounded to half precision."""
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in rounded.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    return rounded


def _folder(given: str | os.PathLike[str] | None) -> Path:
    return FOLDER if given is None else user_path(given)


def _path(name: str, dataset: str, folder: Path) -> Path:
    return folder / f"{dataset}-{name}.safetensors"
