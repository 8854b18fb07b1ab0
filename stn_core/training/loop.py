"""The training loop: one model, one dataset, one recipe, one seed."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from stn_core.datasets import Dataset
from stn_core.models.normaliser import Normaliser
from stn_core.session.recipe import Recipe
from stn_core.training.batches import training_batches
from stn_core.training.callbacks.base import Watchers
from stn_core.training.evaluation import evaluate
from stn_core.training.history import EpochResult, History
from stn_core.training.logits import check_gradient, check_logits
from stn_core.training.training_state import TrainingState, create_state


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    normalise: Normaliser,
    watchers: Watchers | None = None,
) -> History:
    """Train a model in place.

    The order of the images, distortions and augmentation are keyed by (seed, epoch); dropout draws
    from the global generator, which `stn_core.training.isolation.isolated` seeds.

    Args:
        model: on the device of `normalise`.
        dataset: the images and their normalisation; only train and val are read.
        recipe: how to train.
        seed: a whole number >= 0.
        normalise: turns the dataset's images into the model's input, on its device.
        watchers: of the run; a checkpoint's continues it where it was interrupted.
    """
    device = normalise.shift.device
    sources, labels = dataset.train.images.to(device), dataset.train.labels.to(device)
    val_images, val_labels = dataset.val.images.to(device), dataset.val.labels.to(device)
    batch_size = min(recipe.batch_size, len(sources))
    state = create_state(model, recipe, len(sources) // batch_size, device)
    history = state.history
    if watchers:
        watchers.start(state)
    while not state.finished(recipe):
        epoch = len(history.epochs) + 1
        started = _clock(device)
        images = dataset.epoch_images(sources, seed, epoch)
        batches = training_batches(images, labels, recipe, seed, epoch)
        losses = train_epoch(state, batches, normalise, recipe)
        state.check_parameters()
        train_seconds = _clock(device) - started
        history.step_losses.append(losses.cpu())
        if not losses.isfinite().all():
            step = int((~losses.isfinite()).nonzero()[0]) + 1
            history.divergence = f"the loss was not finite at step {step} of epoch {epoch}"
            return history
        validation = evaluate(model, val_images, val_labels, normalise)
        if not math.isfinite(validation.cross_entropy):
            history.divergence = f"the validation loss was not finite after epoch {epoch}"
            return history
        result = EpochResult(
            epoch=epoch,
            train_loss=float(losses.mean()),
            validation_loss=validation.cross_entropy,
            validation_accuracy=validation.accuracy,
            train_seconds=train_seconds,
        )
        state.close_epoch(result, images_seen=len(losses) * batch_size)
        if watchers:
            watchers.epoch(result)
    state.keep_best()
    return history


def train_epoch(
    state: TrainingState,
    batches: Iterable[tuple[Tensor, Tensor]],
    normalise: Normaliser,
    recipe: Recipe,
) -> Tensor:
    """One step for each batch of images and labels; returns their losses, still on the device."""
    state.model.train()
    losses = [
        training_step(
            state.model, normalise(images), labels, recipe, state.optimizer, state.scheduler
        )
        for images, labels in batches
    ]
    return torch.stack(losses)


def training_step(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler | None,
) -> Tensor:
    """One step of the optimiser; returns the loss before it, detached, still on the device."""
    with autocast(inputs.device, recipe):
        logits = model(inputs)
    check_logits(logits, len(labels))
    check_gradient(logits)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if scheduler:
        scheduler.step()
    return loss.detach()


def autocast(device: torch.device, recipe: Recipe) -> contextlib.AbstractContextManager[None]:
    """Autocast to bfloat16 if the recipe asks for it."""
    if recipe.precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
