"""The training loop: one model, one dataset, one recipe, one seed."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from stn_core.datasets import Dataset
from stn_core.models.normaliser import Normaliser
from stn_core.session.recipe import Recipe
from stn_core.training.batches import augment, training_batches
from stn_core.training.checkpoint import Checkpoint
from stn_core.training.early_stopping import EarlyStopping
from stn_core.training.evaluation import evaluate
from stn_core.training.optimization import create_optimizer, create_scheduler
from stn_core.training.random_state import generator_states, restore_generators


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
        frames: by epoch, 0 before the first, what the caller's `watch` showed then.
        divergence: where and how the loss stopped being finite, "" where it did not.
    """

    epochs: list[EpochResult] = field(default_factory=list)
    step_losses: list[Tensor] = field(default_factory=list)
    kept_epoch: int = 0
    images_seen: int = 0
    frames: dict[int, Tensor] = field(default_factory=dict)
    divergence: str = ""

    @property
    def train_seconds(self) -> float:
        """Wall clock of the training steps of all finished epochs."""
        return sum(result.train_seconds for result in self.epochs)


Observer = Callable[[EpochResult, Training], None]
"""Told of each epoch that ended well, in order, with the course of the training so far."""

Watch = Callable[[int], Tensor | None]
"""Asked before the first epoch (0) and after each for a tensor to keep; it may decline."""


@dataclass
class TrainingState:
    """All that a training changes: two equal states go on alike, to the last bit on a CPU.

    What a model keeps outside its `state_dict` is no part of it.

    Args:
        model, optimizer, scheduler, stopping: of one training.
        device: where it computes; the global generators there are part of the state.
        training: its course so far.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler | None
    stopping: EarlyStopping | None
    device: torch.device
    training: Training = field(default_factory=Training)

    def close_epoch(self, result: EpochResult, images_seen: int) -> None:
        """Add an epoch that ended with a finite loss."""
        self.training.epochs.append(result)
        self.training.images_seen += images_seen
        self.training.kept_epoch = result.epoch
        if self.stopping:
            self.stopping.update(result.epoch, result.validation_loss, self.model)

    def finished(self, recipe: Recipe) -> bool:
        """Whether there is no further epoch to train."""
        stopped = self.stopping is not None and self.stopping.should_stop
        return stopped or len(self.training.epochs) >= recipe.epochs

    def keep_best(self) -> None:
        """Give the model the weights of the best epoch, where early stopping remembers one."""
        if self.stopping:
            self.stopping.restore(self.model)
            self.training.kept_epoch = self.stopping.best_epoch

    def state_dict(self) -> dict[str, Any]:
        """The state, of tensors and JSON types."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "stopping": self.stopping.state_dict() if self.stopping else None,
            "generators": generator_states(self.device),
            "epochs": [dataclasses.asdict(result) for result in self.training.epochs],
            "step_losses": self.training.step_losses,
            "kept_epoch": self.training.kept_epoch,
            "images_seen": self.training.images_seen,
            "frames": self.training.frames,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state of the same model and recipe."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
        if self.stopping:
            self.stopping.load_state_dict(state["stopping"])
        restore_generators(state["generators"], self.device)
        self.training.epochs[:] = [EpochResult(**result) for result in state["epochs"]]
        self.training.step_losses[:] = state["step_losses"]
        self.training.kept_epoch = state["kept_epoch"]
        self.training.images_seen = state["images_seen"]
        self.training.frames = dict(state["frames"])


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    normalise: Normaliser,
    on_epoch: Observer | None = None,
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
) -> Training:
    """Train a model in place.

    The order of the images, distortions and augmentation are keyed by (seed, epoch); dropout draws
    from the global generator, which `stn_core.training.devices.isolated` seeds.

    Args:
        model: on the device of `normalise`.
        dataset: where images and normalisation come from; only train and val are read.
        recipe: how.
        seed: a whole number >= 0.
        normalise: makes a model's input of the dataset's images; its device is where they are put.
        on_epoch: called with each epoch's result, first with those that a checkpoint holds.
        checkpoint: where an earlier call may have left off, and where this one saves its state.
        watch: looks at the model as it learns, and leaves it and the generators as they are.
    """
    device = normalise.shift.device
    sources, labels = dataset.train.images.to(device), dataset.train.labels.to(device)
    val_images, val_labels = dataset.val.images.to(device), dataset.val.labels.to(device)
    batch_size = min(recipe.batch_size, len(sources))
    state = create_state(model, recipe, len(sources) // batch_size, device)
    training = state.training
    if checkpoint and (saved := checkpoint.load()):
        state.load_state_dict(saved)
        if on_epoch:
            for result in training.epochs:
                on_epoch(result, training)
    if not training.epochs:
        _keep_frame(training, watch)
    while not state.finished(recipe):
        epoch = len(training.epochs) + 1
        started = _clock(device)
        images = augment(dataset.epoch_images(sources, seed, epoch), recipe, seed, epoch)
        batches = training_batches(images, labels, batch_size, seed, epoch)
        losses = _train_epoch(state, batches, normalise, recipe)
        train_seconds = _clock(device) - started
        training.step_losses.append(losses.cpu())
        if not losses.isfinite().all():
            step = int((~losses.isfinite()).nonzero()[0]) + 1
            training.divergence = f"the loss was not finite at step {step} of epoch {epoch}"
            return training
        validation = evaluate(model, val_images, val_labels, normalise)
        if not math.isfinite(validation.cross_entropy):
            training.divergence = f"the validation loss was not finite after epoch {epoch}"
            return training
        result = EpochResult(
            epoch=epoch,
            train_loss=float(losses.mean()),
            validation_loss=validation.cross_entropy,
            validation_accuracy=validation.accuracy,
            train_seconds=train_seconds,
        )
        state.close_epoch(result, images_seen=len(losses) * batch_size)
        _keep_frame(training, watch)
        if checkpoint:
            checkpoint.maybe_save(state.state_dict)
        if on_epoch:
            on_epoch(result, training)
    state.keep_best()
    return training


def create_state(
    model: nn.Module, recipe: Recipe, steps_per_epoch: int, device: torch.device
) -> TrainingState:
    """The state before the first step."""
    optimizer = create_optimizer(model, recipe)
    return TrainingState(
        model=model,
        optimizer=optimizer,
        scheduler=create_scheduler(optimizer, recipe, steps_per_epoch),
        stopping=EarlyStopping(recipe.patience, recipe.min_delta) if recipe.patience else None,
        device=device,
    )


def _keep_frame(training: Training, watch: Watch | None) -> None:
    epoch = len(training.epochs)
    frame = watch(epoch) if watch else None
    if frame is not None:
        training.frames[epoch] = frame


def _train_epoch(
    state: TrainingState,
    batches: Iterable[tuple[Tensor, Tensor]],
    normalise: Normaliser,
    recipe: Recipe,
) -> Tensor:
    """A step for each batch of images and labels; the loss of each, still on the device."""
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


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
