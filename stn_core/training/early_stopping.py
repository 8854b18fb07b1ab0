"""Stop when the validation loss no longer falls, and keep the weights of its lowest point."""

from __future__ import annotations

import copy
import math
from typing import Any

from torch import nn


class EarlyStopping:
    """Remembers the best epoch.

    Args:
        patience: epochs without improvement after which `update` says stop; >= 1.
        min_delta: the smallest fall of the loss that counts as an improvement; >= 0.
    """

    def __init__(self, patience: int, min_delta: float) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self.best_loss = math.inf
        self.best_epoch = 0
        self._best_state: dict[str, Any] = {}

    def update(self, epoch: int, loss: float, model: nn.Module) -> bool:
        """Take an epoch's validation loss; True where training should stop."""
        if loss < self.best_loss - self.min_delta:
            self.best_loss, self.best_epoch = loss, epoch
            self._best_state = copy.deepcopy(model.state_dict())
        return epoch - self.best_epoch >= self.patience

    def restore(self, model: nn.Module) -> None:
        """Give the model the weights of the best epoch."""
        if self._best_state:
            model.load_state_dict(self._best_state)
