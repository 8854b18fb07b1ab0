"""Everything that training changes: what a checkpoint saves and a resumed run starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from stn_core.errors import UsageError
from stn_core.models.weights_loading import load_weights
from stn_core.session.recipe import Recipe
from stn_core.training.early_stopping import EarlyStopping
from stn_core.training.history import EpochResult, History
from stn_core.training.optimization import create_optimizer, create_scheduler
from stn_core.training.random_state import generator_states, restore_generators


@dataclass
class TrainingState:
    """Everything that training changes: from equal states it goes on equally, bit for bit on a CPU.

    What a model keeps outside its `state_dict` is not part of it.

    Args:
        model, optimizer, scheduler, stopping: of one training.
        device: where it computes; the global generators of that device are part of the state.
        history: its course so far.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler | None
    stopping: EarlyStopping | None
    device: torch.device
    history: History = field(default_factory=History)

    def close_epoch(self, result: EpochResult, images_seen: int) -> None:
        """Add an epoch that ended with a finite loss."""
        self.history.epochs.append(result)
        self.history.images_seen += images_seen
        self.history.kept_epoch = result.epoch
        if self.stopping:
            self.stopping.update(result.epoch, result.validation_loss, self.model)

    def check_parameters(self) -> None:
        """Check that the optimiser has the parameters that the model has now.

        Raises:
            UsageError: the model has parameters that the optimiser does not know.
        """
        known = {id(one) for group in self.optimizer.param_groups for one in group["params"]}
        others = [
            name
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad and id(parameter) not in known
        ]
        if others:
            raise UsageError(
                "the model replaced or unfroze parameters in training, which the optimiser does not"
                f" know: {', '.join(others[:3])}"
            )

    def finished(self, recipe: Recipe) -> bool:
        """Whether there is no epoch left to train."""
        stopped = self.stopping is not None and self.stopping.should_stop
        return stopped or len(self.history.epochs) >= recipe.epochs

    def keep_best(self) -> None:
        """Give the model the weights of the best epoch, if early stopping has noted one."""
        if self.stopping:
            self.stopping.restore(self.model)
            self.history.kept_epoch = self.stopping.best_epoch

    def state_dict(self) -> dict[str, Any]:
        """The state, as tensors and JSON types."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "stopping": self.stopping.state_dict() if self.stopping else None,
            "generators": generator_states(self.device),
            "epochs": [dataclasses.asdict(result) for result in self.history.epochs],
            "step_losses": self.history.step_losses,
            "kept_epoch": self.history.kept_epoch,
            "images_seen": self.history.images_seen,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state of the same model and recipe."""
        load_weights(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
        if self.stopping:
            self.stopping.load_state_dict(state["stopping"])
        restore_generators(state["generators"], self.device)
        self.history.epochs[:] = [EpochResult(**result) for result in state["epochs"]]
        self.history.step_losses[:] = state["step_losses"]
        self.history.kept_epoch = state["kept_epoch"]
        self.history.images_seen = state["images_seen"]


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
