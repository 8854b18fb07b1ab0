"""run_cell: the one place where data, model, training and record meet."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from stn_core.datasets import Dataset, load_dataset
from stn_core.errors import UsageError, one_line, require_package
from stn_core.models import create_model, model_info
from stn_core.models.normaliser import Normaliser
from stn_core.models.saved_models import ModelConfiguration, save_model
from stn_core.session.artifacts import artifacts_path, write_artifacts
from stn_core.session.cells import Cell
from stn_core.session.file_names import file_stem
from stn_core.session.records import RunRecord
from stn_core.training.artifact_collection import collect_artifacts, film_of, fixed_batch
from stn_core.training.checkpoint import Checkpoint, discard
from stn_core.training.devices import peak_memory_mb
from stn_core.training.environment import describe_environment
from stn_core.training.evaluation import Evaluation, evaluate
from stn_core.training.isolation import isolated
from stn_core.training.loop import Observer, Training, train
from stn_core.training.observers import together

if TYPE_CHECKING:
    from stn_core.training.tensorboard import TensorBoard

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSettings:
    """Where and with what means to run; nothing here may change a number on a CPU but threads.

    Args:
        device: a name that torch knows, "cpu" or "cuda:1".
        threads: torch's threads on the CPU; one keeps a seed's digest the same whatever else runs.
        data_root: the folder of the datasets that are not embedded.
        download: fetch a dataset that is missing.
        final: spend the test set although the recipe is a search.
        commit, dirty: the git checkout's, for the record.
        checkpoints: the folder where an unfinished run, a crashed one too, keeps its state, and
            goes on from it when the same run is asked for again; None where it need not.
        checkpoint_seconds: how long a run trains at least from one checkpoint to the next.
        artifacts: the folder for the arrays that pictures of a run need; None where none are drawn.
        models: the folder where every good run leaves its model; None where it need not.
        imports: what --import named, for the saved models to say.
        tensorboard: the folder where every run gets one for TensorBoard; None where it need not.
    """

    device: str = "cpu"
    threads: int = 1
    data_root: str | None = None
    download: bool = False
    final: bool = False
    commit: str | None = None
    dirty: bool | None = None
    checkpoints: str | None = None
    checkpoint_seconds: float = 60.0
    artifacts: str | None = None
    models: str | None = None
    imports: tuple[str, ...] = ()
    tensorboard: str | None = None


def run_cell(
    cell: Cell,
    seeds: Iterable[int],
    settings: RunSettings | None = None,
    on_record: Callable[[RunRecord], None] | None = None,
    on_epoch: Observer | None = None,
) -> list[RunRecord]:
    """Train and measure a cell once a seed.

    A run that diverges or crashes gives a record that says so, and the next seed goes on.

    Args:
        cell: what to run.
        seeds: whole numbers >= 0.
        settings: where; a CPU with one thread and no data root by default.
        on_record: called with each record the moment its seed is done.
        on_epoch: told of each epoch, those of an interrupted run among them.

    Raises:
        UsageError: the dataset cannot be had, or TensorBoard's package is not installed.
    """
    settings = settings or RunSettings()
    if settings.tensorboard is not None:
        require_package("tensorboard", "RunSettings.tensorboard", "tensorboard")
    dataset = cached_dataset(cell.dataset, settings.data_root, settings.download)
    records = []
    for seed in seeds:
        record = _run_seed(cell, seed, dataset, settings, on_epoch)
        records.append(record)
        if on_record:
            on_record(record)
        if settings.checkpoints is not None and record.status != "crashed":
            discard(_checkpoint_path(Path(settings.checkpoints), record))
    return records


@functools.lru_cache(maxsize=4)
def cached_dataset(name: str, root: str | None, download: bool) -> Dataset:
    """`load_dataset`, remembered for the next cell of the same dataset in this process."""
    return load_dataset(name, root=root, download=download)


def _run_seed(
    cell: Cell,
    seed: int,
    dataset: Dataset,
    settings: RunSettings,
    on_epoch: Observer | None,
) -> RunRecord:
    device = torch.device(settings.device)
    record = RunRecord(
        model=cell.model,
        dataset=cell.dataset,
        budget=cell.budget,
        seed=seed,
        is_search=cell.is_search,
        recipe=cell.recipe.to_dict(),
        recipe_hash=cell.recipe.hash(),
        data_hash=dataset.hash,
        environment=describe_environment(device, settings.threads, settings.commit, settings.dirty),
    )
    board = _board(record, dataset, settings)
    try:
        with isolated(seed, device, settings.threads):
            record = _train_and_measure(record, cell, dataset, device, settings, on_epoch, board)
    except (Exception, SystemExit) as error:  # whatever a model does, the others go on
        record = replace(record, status="crashed", message=_reason(error))
    if board:
        board.finish(record)
    _release_memory(device)
    return record


def _board(record: RunRecord, dataset: Dataset, settings: RunSettings) -> TensorBoard | None:
    """What shows a run in TensorBoard; None where nobody asked for it."""
    if settings.tensorboard is None:
        return None
    from stn_core.training.tensorboard import TensorBoard  # its package may be missing

    return TensorBoard(Path(settings.tensorboard, record.run_name), fixed_batch(dataset))


def _release_memory(device: torch.device) -> None:
    """Free what the last run held: its model may hang in a cycle, or in an error's traceback."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _reason(error: BaseException) -> str:
    """One line that says what happened; a user's own mistake needs no name of an exception."""
    sentence = one_line(" ".join(str(error).split()), 300)
    return sentence if isinstance(error, UsageError) else f"{type(error).__name__}: {sentence}"


def _train_and_measure(
    record: RunRecord,
    cell: Cell,
    dataset: Dataset,
    device: torch.device,
    settings: RunSettings,
    on_epoch: Observer | None,
    board: TensorBoard | None,
) -> RunRecord:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model = prepare_model(cell.model, dataset, device)
    normalise = Normaliser.of(dataset, device, model_info(cell.model).memory_format)
    check_logits(model, dataset, normalise)
    checkpoint = _checkpoint(record, model, settings)
    shows_warps = settings.artifacts or settings.tensorboard
    film = film_of(model, dataset, normalise, cell.recipe.epochs) if shows_warps else None
    observer = together(board, on_epoch)
    training = train(
        model, dataset, cell.recipe, record.seed, normalise, observer, checkpoint, film
    )
    record = replace(record, **_course(model, training, device))
    if training.divergence:
        if board:
            board.add_diverged_epoch(training)
        return replace(record, status="diverged", message=training.divergence)
    evaluation = None
    if settings.final or not cell.is_search:
        started = time.perf_counter()
        evaluation = evaluate(model, dataset.test.images.to(device), dataset.test.labels, normalise)
        if not math.isfinite(evaluation.cross_entropy):
            return replace(record, status="diverged", message="the test loss was not finite")
        record = replace(
            record,
            evaluate_seconds=time.perf_counter() - started,
            test_images=len(evaluation.labels),
            test_accuracy=evaluation.accuracy,
            test_cross_entropy=evaluation.cross_entropy,
            confusion=evaluation.confusion(),
            worst_mistakes=evaluation.worst_mistakes(),
        )
    record = replace(record, digest=_digest(training, evaluation, record))
    if settings.artifacts is not None:
        with _spared(artifacts_path(Path(settings.artifacts), record.run_name)) as path:
            artifacts = collect_artifacts(
                model, dataset, normalise, training, evaluation, record.digest
            )
            write_artifacts(path, artifacts)
    if settings.models is not None:
        with _spared(Path(settings.models, f"{record.run_name}.safetensors")) as path:
            save_model(path, model, _configuration(record, dataset, settings.imports))
    return record


@contextlib.contextmanager
def _spared(path: Path) -> Iterator[Path]:
    """A file beside the record: where it fails a line of the log says so, and the run is kept."""
    try:
        yield path
    except Exception as error:  # a full disk, a state that is no tensors
        _LOGGER.warning("%s could not be written: %s", path, error)


def _configuration(
    record: RunRecord, dataset: Dataset, imports: tuple[str, ...]
) -> ModelConfiguration:
    return ModelConfiguration(
        model=record.model,
        in_shape=dataset.image_shape,
        class_names=dataset.class_names,
        background=dataset.normalised_background,
        mean=dataset.mean,
        std=dataset.std,
        dataset=record.dataset,
        data_hash=record.data_hash,
        budget=record.budget,
        seed=record.seed,
        recipe_hash=record.recipe_hash,
        kept_epoch=record.kept_epoch,
        test_accuracy=record.test_accuracy,
        stn_core=record.environment.stn_core,
        imports=imports,
    )


def prepare_model(name: str, dataset: Dataset, device: torch.device) -> nn.Module:
    """A fresh model for a dataset, on the device, in the memory format it is registered with."""
    model = create_model(
        name,
        in_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        background=dataset.normalised_background,
    )
    return model.to(device).to(memory_format=model_info(name).memory_format)


@torch.inference_mode()
def check_logits(model: nn.Module, dataset: Dataset, normalise: Normaliser) -> None:
    """Let a model see two images before it is trained.

    Raises:
        UsageError: what it answers is not (2, classes).
    """
    images = dataset.val.images[:2].to(normalise.shift.device)
    logits = model.eval()(normalise(images))
    expected = (len(images), dataset.num_classes)
    shape = tuple(getattr(logits, "shape", ()))
    if shape != expected:
        raise UsageError(f"the model must give logits of shape {expected}, not {shape}")


def _checkpoint(record: RunRecord, model: nn.Module, settings: RunSettings) -> Checkpoint | None:
    """The checkpoint of a run; another run's is told by the run's record and the model's shapes."""
    if settings.checkpoints is None:
        return None
    environment = record.environment
    shapes = {name: list(getattr(v, "shape", ())) for name, v in model.state_dict().items()}
    owner = {
        "cell": record.key,
        "seed": record.seed,
        "recipe": record.recipe_hash,
        "data": record.data_hash,
        "model": hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:12],
        "environment": environment.key(),
        "stn_core": environment.stn_core,
        "commit": environment.commit,
        "dirty": environment.dirty,
    }
    path = _checkpoint_path(Path(settings.checkpoints), record)
    return Checkpoint(path, owner, settings.checkpoint_seconds)


def _checkpoint_path(folder: Path, record: RunRecord) -> Path:
    name = file_stem(record.budget, record.dataset, record.model, str(record.seed))
    return folder / f"{name}.safetensors"


def _course(model: nn.Module, training: Training, device: torch.device) -> dict[str, Any]:
    """The fields of a record that the training alone decides."""
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    seconds = training.train_seconds
    return {
        "parameters": parameters,
        "validation": [
            {
                "epoch": result.epoch,
                "train_loss": result.train_loss,
                "loss": result.validation_loss,
                "accuracy": result.validation_accuracy,
            }
            for result in training.epochs
        ],
        "kept_epoch": training.kept_epoch,
        "train_seconds": seconds,
        "images_per_second": training.images_seen / seconds if seconds else 0.0,
        "peak_memory_mb": peak_memory_mb(device),
    }


def _digest(training: Training, evaluation: Evaluation | None, record: RunRecord) -> str:
    """Sixteen hexadecimal digits of every step's loss, the predictions and the metrics."""
    digest = hashlib.sha256()
    for losses in training.step_losses:
        digest.update(losses.numpy().astype(np.float32).tobytes())
    if evaluation:
        digest.update(evaluation.predictions.numpy().astype(np.int64).tobytes())
    metrics = [record.test_accuracy, record.test_cross_entropy, record.validation]
    digest.update(json.dumps(metrics).encode())
    return digest.hexdigest()[:16]
