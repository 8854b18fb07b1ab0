"""Stop when the validation loss no longer falls, and keep the weights of its lowest point."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from stn_core.models.weights_loading import load_weights


class EarlyStopping:
    """Remembers the best epoch.

    Args:
        patience: epochs without improvement after which training should stop; >= 1.
        min_delta: the smallest fall of the loss that counts as an improvement; >= 0.
    """

    def __init__(self, patience: int, min_delta: float) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self.best_loss = math.inf
        self.best_epoch = 0
        self.last_epoch = 0
        self._best_weights: dict[str, Any] = {}

    @property
    def should_stop(self) -> bool:
        """Whether the last `patience` epochs brought no improvement."""
        return self.last_epoch - self.best_epoch >= self.patience

    def update(self, epoch: int, loss: float, model: nn.Module) -> None:
        """Note the validation loss of an epoch, counted from 1, and the weights that gave it."""
        self.last_epoch = epoch
        if loss < self.best_loss - self.min_delta:
            self.best_loss, self.best_epoch = loss, epoch
            self._best_weights = copy.deepcopy(model.state_dict())

    def restore(self, model: nn.Module) -> None:
        """Give the model the weights of the best epoch."""
        if self._best_weights:
            load_weights(model, self._best_weights)

    def state_dict(self) -> dict[str, Any]:
        """Its state, for `load_state_dict`."""
        return {
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "last_epoch": self.last_epoch,
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of another one."""
        self.best_loss = state["best_loss"]
        self.best_epoch = state["best_epoch"]
        self.last_epoch = state["last_epoch"]
        self._best_weights = state["best_weights"]
