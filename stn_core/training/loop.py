"""The training loop: one model, one dataset, one recipe, one seed."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from stn_core.datasets import Dataset
from stn_core.evaluation import evaluate
from stn_core.recipe import Recipe
from stn_core.training.batches import Normaliser, augment, training_batches
from stn_core.training.early_stopping import EarlyStopping


@dataclass(frozen=True)
class EpochResult:
    """What an epoch gave.

    Args:
        epoch: from 1.
        train_loss: mean over the epoch's steps.
        validation_loss: cross-entropy on the validation images, in nats.
        validation_accuracy: in [0, 1].
        train_seconds: wall clock of the training steps alone.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    train_seconds: float


@dataclass
class Training:
    """The course of a training.

    Args:
        epochs: one result an epoch that ended with a finite loss.
        step_losses: every step's loss, on the CPU.
        kept_epoch: the epoch, from 1, whose weights the model has now.
        images_seen: trained images of these epochs.
        divergence: where and how the loss stopped being finite, "" where it did not.
    """

    epochs: list[EpochResult] = field(default_factory=list)
    step_losses: list[Tensor] = field(default_factory=list)
    kept_epoch: int = 0
    images_seen: int = 0
    divergence: str = ""

    @property
    def train_seconds(self) -> float:
        """Wall clock of the training steps of all finished epochs."""
        return sum(result.train_seconds for result in self.epochs)


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    normalise: Normaliser,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> Training:
    """Train a model in place.

    The order of the images, distortions and augmentation are keyed by (seed, epoch); dropout draws
    from the global generator, which `stn_core.devices.isolated` seeds.

    Args:
        model: on the device of `normalise`.
        dataset: where images and normalisation come from; only train and val are read.
        recipe: how.
        seed: a whole number >= 0.
        normalise: makes a model's input of the dataset's images; its device is where they are put.
        on_epoch: called with each epoch's result.
    """
    device = normalise.shift.device
    sources, labels = dataset.train.images.to(device), dataset.train.labels.to(device)
    val_images, val_labels = dataset.val.images.to(device), dataset.val.labels.to(device)
    batch_size = min(recipe.batch_size, len(sources))
    optimizer = create_optimizer(model, recipe)
    scheduler = create_scheduler(optimizer, recipe, len(sources) // batch_size)
    stopping = EarlyStopping(recipe.patience, recipe.min_delta) if recipe.patience else None
    training = Training()
    for epoch in range(1, recipe.epochs + 1):
        started = _clock(device)
        images = augment(dataset.epoch_images(sources, seed, epoch), recipe, seed, epoch)
        batches = training_batches(images, labels, batch_size, seed, epoch)
        model.train()
        losses = torch.stack(
            [
                training_step(model, normalise(batch), target, recipe, optimizer, scheduler)
                for batch, target in batches
            ]
        )
        train_seconds = _clock(device) - started
        training.step_losses.append(losses.cpu())
        if not losses.isfinite().all():
            step = int((~losses.isfinite()).nonzero()[0]) + 1
            training.divergence = f"the loss was not finite at step {step} of epoch {epoch}"
            break
        validation = evaluate(model, val_images, val_labels, normalise)
        if not math.isfinite(validation.cross_entropy):
            training.divergence = f"the validation loss was not finite after epoch {epoch}"
            break
        result = EpochResult(
            epoch=epoch,
            train_loss=float(losses.mean()),
            validation_loss=validation.cross_entropy,
            validation_accuracy=validation.accuracy,
            train_seconds=train_seconds,
        )
        training.epochs.append(result)
        training.images_seen += len(losses) * batch_size
        training.kept_epoch = epoch
        if on_epoch:
            on_epoch(result)
        if stopping and stopping.update(epoch, result.validation_loss, model):
            break
    if stopping and not training.divergence:
        stopping.restore(model)
        training.kept_epoch = stopping.best_epoch
    return training


def training_step(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler | None,
) -> Tensor:
    """One step of the optimiser; the loss before it, detached, still on the device."""
    with autocast(inputs.device, recipe):
        logits = model(inputs)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if scheduler:
        scheduler.step()
    return loss.detach()


def autocast(device: torch.device, recipe: Recipe) -> contextlib.AbstractContextManager[None]:
    """bfloat16 where the recipe asks for it, else nothing."""
    if recipe.precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def create_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, a parameter group for each learning rate that its scales give."""
    by_scale: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            by_scale.setdefault(recipe.learning_rate_scale(name), []).append(parameter)
    groups = [
        {"params": parameters, "lr": recipe.learning_rate * scale}
        for scale, parameters in by_scale.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)


def create_scheduler(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int
) -> LRScheduler | None:
    """The recipe's schedule over all its steps, None where the learning rate is constant."""
    if recipe.schedule == "constant":
        return None
    total_steps = recipe.epochs * steps_per_epoch + 1
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        # torch divides by zero where the rise would take exactly one step
        pct_start=max(recipe.warmup_fraction, 1.5 / total_steps),
        cycle_momentum=False,
    )


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
