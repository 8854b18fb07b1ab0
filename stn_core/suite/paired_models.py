"""Two saved models on the test set of a dataset, for `stn compare A.safetensors B.safetensors`."""

from __future__ import annotations

import math
from pathlib import Path

from stn_core.datasets import Dataset, load_dataset
from stn_core.errors import UsageError
from stn_core.models.saved_models import SavedModel, read_saved_model
from stn_core.report.paired_models import PairedModels, Side
from stn_core.training.devices import resolve_device
from stn_core.training.evaluation import evaluate


def compare_saved_models(
    a: Path,
    b: Path,
    dataset: str | None,
    data_root: str | None,
    image_size: tuple[int, int] | None,
    device: str,
) -> PairedModels:
    """Both models' predictions for the same test images.

    Args:
        a, b: files that ``--save-models`` wrote.
        dataset: whose test set; None for the one that both were trained on.
        data_root: the folder of the datasets that are not embedded.
        image_size: (height, width) that a folder's images are resized to; None keeps their size.
        device: "auto" or a name that torch knows.

    Raises:
        UsageError: a file or the dataset cannot be read, or a model does not fit the images.
    """
    saved = {path: read_saved_model(path) for path in (a, b)}
    trained_on = {model.configuration.dataset for model in saved.values()}
    if dataset is None and len(trained_on) > 1:
        raise UsageError(
            f"{a} was trained on {saved[a].configuration.dataset}, {b} on"
            f" {saved[b].configuration.dataset}: choose the test set with --dataset"
        )
    found = load_dataset(dataset or trained_on.pop(), data_root, image_size=image_size)
    for path, model in saved.items():
        _check_fits(path, model, found)
    chosen = str(resolve_device(device))
    return PairedModels(
        found.name,
        found.class_names,
        found.test.images.numpy(),
        found.test.labels.numpy(),
        _side(a, saved[a], found, chosen),
        _side(b, saved[b], found, chosen),
    )


def _check_fits(path: Path, saved: SavedModel, dataset: Dataset) -> None:
    configuration = saved.configuration
    shape = tuple(dataset.test.images.shape[1:])
    if configuration.in_shape != shape:
        sizes = ["x".join(map(str, size)) for size in (configuration.in_shape, shape)]
        raise UsageError(
            f"{path} is for images of {sizes[0]}, those of {dataset.name} are {sizes[1]}"
        )
    if tuple(configuration.class_names) != tuple(dataset.class_names):
        raise UsageError(f"{path} was trained on other classes than {dataset.name} has")


def _side(path: Path, saved: SavedModel, dataset: Dataset, device: str) -> Side:
    saved.model.to(device)
    found = evaluate(
        saved.model, dataset.test.images.to(device), dataset.test.labels, saved.normalise
    )
    if not math.isfinite(found.cross_entropy):
        raise UsageError(f"{path}: some of its outputs are not finite")
    name = saved.configuration.model
    return Side(path, name, found.predictions.numpy(), found.cross_entropy)
