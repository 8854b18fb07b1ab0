"""The course of a training, epoch by epoch and step by step."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class EpochResult:
    """The results of an epoch.

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
class History:
    """The course of a training.

    Args:
        epochs: one result for each epoch that ended with a finite loss.
        step_losses: every step's loss, on the CPU, a tensor for each epoch.
        kept_epoch: the epoch, from 1, whose weights the model has now.
        images_seen: how many images these epochs trained on.
        divergence: where and how the loss stopped being finite, "" if it did not.
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
