"""run_cell: the one place where data, model, training and record meet."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import itertools
import json
import logging
import math
import operator
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from stn_core.datasets import Dataset, Split, load_dataset
from stn_core.datasets.data_root import state_of
from stn_core.errors import UsageError, user_path
from stn_core.models import create_model, model_info, model_name
from stn_core.models.normaliser import Normaliser
from stn_core.models.without_gradients import without_gradients
from stn_core.schema import LARGEST, shown
from stn_core.session.budgets import get_budget
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.session.records import RunRecord
from stn_core.training.callbacks.base import Callback, Run, Watchers, reason_of, tell_kept
from stn_core.training.devices import peak_memory_mb, resolve_device
from stn_core.training.environment import describe_environment
from stn_core.training.evaluation import evaluate
from stn_core.training.isolation import isolated
from stn_core.training.logits import check_has_values, check_logits
from stn_core.training.loop import train
from stn_core.training.machine_load import OtherLoad
from stn_core.training.metrics import TrainedModel, measure, metric_info
from stn_core.training.torch_settings import TorchSettings

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSettings:
    """Where to run, and with which threads, data and metrics.

    On a CPU, only two of these change numbers: the threads, and the images' size, which the data's
    hash covers.

    Args:
        device: a name of `resolve_device`: "cpu" or "cuda:1".
        threads: torch's threads on the CPU, at least 1; with one, a seed's digest is the same
            whatever else runs.
        data_root: the folder of the datasets that are not embedded.
        download: whether to download a missing dataset.
        image_size: (height, width) to resize a folder's images to; None keeps their size.
        final: also evaluate a search on the test set.
        checkout: the git checkout's commit and whether it has uncommitted changes, for the record.
        metrics: names of metrics to measure on the test set, besides accuracy and loss.

    Raises:
        UsageError: the metrics are one text, the size is no tuple, or there would be no thread.
    """

    device: str = "cpu"
    threads: int = 1
    data_root: str | None = None
    download: bool = False
    image_size: tuple[int, int] | None = None
    final: bool = False
    checkout: tuple[str | None, bool | None] = (None, None)
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        metrics: Any = self.metrics
        threads: Any = self.threads
        size: Any = self.image_size
        if isinstance(metrics, str):
            raise UsageError(f"metrics are a tuple of names, such as ({metrics!r},)")
        if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
            raise UsageError(f"threads must be a whole number of at least 1, not {threads!r}")
        if isinstance(size, list):
            raise UsageError(f"image_size is a tuple (height, width), not {size!r}")


@dataclass(frozen=True)
class RunResult:
    """The result of one seed of a cell: plain data.

    Args:
        record: of the run.
        notes: sentences on what went wrong besides: callbacks that failed, settings of the process
            that the run changed, scales of the learning rate that nothing takes.
    """

    record: RunRecord
    notes: tuple[str, ...] = ()


def run_cell(
    cell: Cell,
    seeds: Iterable[int],
    settings: RunSettings | None = None,
    on_record: Callable[[RunRecord], None] | None = None,
    callbacks: Sequence[Callback] = (),
) -> list[RunRecord]:
    """Train and measure a cell once for each seed.

    A dataset of the data root is loaded afresh if a file there has changed since the last call, one
    that needs no data root once in a process.

    A run that diverges or crashes gives a record that says so, and the next seed goes on. If only a
    metric fails, the run has crashed too, with all that was known before.

    Args:
        cell: what to run; the records have the one name of a variant, however it is spelt here.
        seeds: whole numbers from 0 to 2**53, also numpy's.
        settings: where; a CPU with one thread and no data root by default. The device may also be
            "auto" or "cuda": a CUDA card if there is one, or one of those that there are.
        on_record: called with each record the moment its seed is done.
        callbacks: called during each run; see `stn_core.training.callbacks`.

    Raises:
        UsageError: the dataset cannot be loaded, there is no such metric or device, an argument is
            of another type, or gradients are off; nothing has been trained then.
    """
    _check_several("seeds", seeds, "[0, 1, 2]")
    _check_several("callbacks", callbacks, "[SaveModels(folder)]")
    settings, callbacks = RunSettings() if settings is None else settings, tuple(callbacks)
    _check_is_a(Cell, "the cell", cell)
    _check_is_a(Recipe, "a cell's recipe", cell.recipe)
    _check_is_a(RunSettings, "settings", settings)
    for callback in callbacks:
        _check_is_a(Callback, "each of callbacks", callback)
    if on_record is not None and not callable(on_record):
        raise UsageError(f"on_record is a function, not {shown(on_record)}")
    if not torch.is_grad_enabled():
        raise UsageError(
            "gradients are off here, so nothing can be trained: call run_cell outside of"
            " torch.no_grad(), torch.inference_mode() and torch.set_grad_enabled(False)"
        )
    with contextlib.suppress(UsageError):  # what is wrong with a name is told by the records
        cell = replace(cell, model=model_name(cell.model))
    noted = TorchSettings.now()
    settings = replace(settings, device=str(resolve_device(str(settings.device))))
    if settings.data_root is not None:
        _forget_data_of_another(state_of(user_path(settings.data_root)))
    records = []
    for seed in [_checked_seed(seed) for seed in seeds]:
        record = run_seed(cell, seed, settings, callbacks, noted).record
        records.append(record)
        if on_record is not None:
            on_record(record)
        tell_kept(callbacks, record)
    return records


def run_seed(
    cell: Cell,
    seed: int,
    settings: RunSettings,
    callbacks: Sequence[Callback] = (),
    torch_settings: TorchSettings | None = None,
) -> RunResult:
    """Train and measure one seed of a cell, and restore the process's settings.

    The arguments and errors are those of `run_cell`, and the settings of torch to start from (by
    default the current ones). The caller calls `tell_kept` once the record is kept.
    """
    seed = _checked_seed(seed)
    for name in settings.metrics:
        metric_info(name)  # a name that is unknown is told before the training
    dataset = cached_dataset(
        cell.dataset, settings.data_root, settings.download, settings.image_size
    )
    device = torch.device(settings.device)
    with isolated(seed, device, settings.threads, torch_settings) as changes:
        asked = _unfinished_record(cell, seed, dataset, settings)
        run = Run(asked, dataset, device)
        watchers = Watchers(callbacks, run)
        try:
            run.normalise = Normaliser.of(dataset, device, model_info(cell.model).memory_format)
            run.model = prepare_model(cell.model, dataset, device)
            show_two_images(run.model, dataset, run.normalise)
            run.notes += _notes_on_scales(cell, run.model)
            load = OtherLoad()
            train(run.model, dataset, cell.recipe, seed, run.normalise, watchers)
            run.record = replace(asked, **_training_fields(run))
            run.record = replace(run.record, other_load=load.cores(run.record.train_seconds))
            if run.record.status == "ok" and (settings.final or not cell.is_search):
                _measure_on_test(run, settings.metrics)
            if run.record.status == "ok":
                run.record = replace(run.record, digest=_digest(run))
        except (Exception, SystemExit) as error:  # whatever a model raises, the other runs go on
            # What was known before stays: a metric that fails costs no training.
            run.record = replace(run.record, status="crashed", message=reason_of(error))
        watchers.end()
    record, notes = run.record, (*run.notes, *_notes_on_settings(changes))
    left = weakref.ref(run.model) if record.status != "crashed" else None
    del run, watchers
    if left is None or left() is not None or device.type == "cuda":
        _release_memory(device)
    return RunResult(record, notes)


def _check_several(name: str, values: Any, example: str) -> None:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise UsageError(f"{name} are several, such as {example}, not {shown(values)}")


def _check_is_a(kind: type, name: str, value: Any) -> None:
    if not isinstance(value, kind):
        raise UsageError(f"{name} is a {kind.__name__}, not {shown(value)}")


def _checked_seed(seed: Any) -> int:
    """A seed as Python's integer, as records and random.seed take it."""
    is_whole = isinstance(seed, SupportsIndex) and not isinstance(seed, bool)
    if not is_whole or not 0 <= operator.index(seed) <= LARGEST:
        raise UsageError(f"a seed is a whole number from 0 to 2**53, not {seed!r}")
    return operator.index(seed)


@functools.lru_cache(maxsize=4)
def cached_dataset(
    name: str, root: str | None, download: bool, image_size: tuple[int, int] | None = None
) -> Dataset:
    """`load_dataset`, cached for the next cell of the same dataset in this process."""
    return load_dataset(name, root=root, download=download, image_size=image_size)


@functools.lru_cache(maxsize=1)
def _forget_data_of_another(state: str) -> None:
    """Empty the cache of datasets, unless the data root is in the state of the last call."""
    cached_dataset.cache_clear()


def _unfinished_record(cell: Cell, seed: int, dataset: Dataset, settings: RunSettings) -> RunRecord:
    """The fields of a record that are known before training."""
    device = torch.device(settings.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return RunRecord(
        model=cell.model,
        dataset=cell.dataset,
        budget=cell.budget,
        seed=seed,
        is_search=cell.is_search,
        recipe=cell.recipe.to_dict(),
        recipe_hash=cell.recipe.hash(),
        data_hash=dataset.hash,
        environment=describe_environment(device, settings.threads, *settings.checkout),
    )


def prepare_model(name: str, dataset: Dataset, device: torch.device) -> nn.Module:
    """A fresh model for a dataset, on the device, in the memory format it is registered with.

    Two images go through it first, so that lazy layers learn their sizes and every parameter
    exists.
    """
    model = create_model(
        name,
        in_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        background=dataset.normalised_background,
    )
    check_has_values(model)
    model = model.to(device)
    if any(is_lazy(tensor) for tensor in itertools.chain(model.parameters(), model.buffers())):
        show_two_images(model, dataset, Normaliser.of(dataset, device))
    return model.to(memory_format=model_info(name).memory_format)


@without_gradients()
def show_two_images(model: nn.Module, dataset: Dataset, normalise: Normaliser) -> None:
    """Let a model see two images before it is trained.

    Raises:
        UsageError: its output is not (2, classes).
    """
    images = dataset.val.images[:2].to(normalise.shift.device)
    model.eval()
    check_logits(model(normalise(images)), len(images), dataset.num_classes)


def _release_memory(device: torch.device) -> None:
    """Free what the last run held: its model may be part of a cycle, or of an error's traceback.

    This looks at every object of the process, half a second for a million of them (2026-11). A
    model that nothing refers to any more is already free.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _notes_on_settings(changes: Sequence[str]) -> list[str]:
    if not changes:
        return []
    note = f"it changed settings of its process, which have been restored: {', '.join(changes)}"
    _warn_once(f"a run changed its process: {note}")
    return [note]


def _notes_on_scales(cell: Cell, model: nn.Module) -> list[str]:
    """Say which of the user's scales of the learning rate change nothing.

    A budget's are for a whole family, of which not every model has the layers that they name.
    """
    trained = (name for name, p in model.named_parameters() if p.requires_grad)
    idle = cell.recipe.idle_patterns(trained)
    if not idle:
        return []
    shipped: tuple[str, ...] = ()
    with contextlib.suppress(UsageError):  # a cell of Python's may name no budget of ours
        budget, family = get_budget(cell.budget), model_info(cell.model).family
        of_budget = budget.recipe_for(cell.dataset, family, cell.model)
        shipped = tuple(pattern for pattern, _ in of_budget.learning_rate_scales)
    patterns = ", ".join(repr(pattern) for pattern in idle if pattern not in shipped)
    if not patterns:
        return []
    note = f"no parameter has a learning rate scaled by {patterns} of learning_rate_scales"
    _warn_once(f"{cell.id}: {note}")
    return [note]


@functools.cache
def _warn_once(message: str) -> None:
    """Log once what every seed of a cell may repeat."""
    _LOGGER.warning("%s", message)


def _training_fields(run: Run) -> dict[str, Any]:
    """The fields of a record that the training alone decides."""
    history = run.history
    seconds = history.train_seconds
    return {
        "status": "diverged" if history.divergence else "ok",
        "message": history.divergence,
        "parameters": sum(p.numel() for p in run.model.parameters() if p.requires_grad),
        "validation": [
            {
                "epoch": result.epoch,
                "train_loss": result.train_loss,
                "loss": result.validation_loss,
                "accuracy": result.validation_accuracy,
            }
            for result in history.epochs
        ],
        "kept_epoch": history.kept_epoch,
        "train_seconds": seconds,
        "images_per_second": history.images_seen / seconds if seconds else 0.0,
        "peak_memory_mb": peak_memory_mb(run.device),
    }


def _measure_on_test(run: Run, metrics: Sequence[str]) -> None:
    """Add the results on the test images to the record, first those that are always there."""
    started = time.perf_counter()
    test = Split(run.dataset.test.images.to(run.device), run.dataset.test.labels)
    run.record = replace(run.record, **_test_fields(run, test))
    if run.evaluation and run.record.status == "ok":
        trained = TrainedModel(run.model, test, run.normalise, run.dataset.background)
        run.record = replace(run.record, metrics=measure(metrics, run.evaluation, trained))
    run.record = replace(run.record, evaluate_seconds=time.perf_counter() - started)


def _test_fields(run: Run, test: Split) -> dict[str, Any]:
    """Evaluate the model on the test images: the fields of a record that this decides."""
    evaluation = run.evaluation = evaluate(run.model, test.images, test.labels, run.normalise)
    if not math.isfinite(evaluation.cross_entropy):
        return {"status": "diverged", "message": "the test loss was not finite"}
    return {
        "test_images": len(evaluation.labels),
        "test_accuracy": evaluation.accuracy,
        "test_cross_entropy": evaluation.cross_entropy,
        "confusion": evaluation.confusion(),
        "worst_mistakes": evaluation.worst_mistakes(),
    }


def _digest(run: Run) -> str:
    """Sixteen hexadecimal digits of every step's loss, the predictions and the metrics."""
    digest, record = hashlib.sha256(), run.record
    for losses in run.history.step_losses:
        digest.update(losses.numpy().astype(np.float32).tobytes())
    if run.evaluation:
        digest.update(run.evaluation.predictions.numpy().astype(np.int64).tobytes())
    metrics = [record.test_accuracy, record.test_cross_entropy, record.validation]
    digest.update(json.dumps(metrics).encode())
    return digest.hexdigest()[:16]
