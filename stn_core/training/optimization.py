"""The optimiser and the schedule that a recipe names."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from stn_core.errors import UsageError
from stn_core.session.recipe import Recipe


def create_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, with a parameter group for each scaled learning rate.

    Raises:
        UsageError: there is nothing to train.
    """
    by_scale: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            by_scale.setdefault(recipe.learning_rate_scale(name), []).append(parameter)
    if not by_scale:
        raise UsageError("the model has no parameter that can be trained")
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
    """The recipe's schedule over all its steps, None if the learning rate is constant."""
    if recipe.schedule == "constant":
        return None
    total_steps = recipe.epochs * steps_per_epoch + 1
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        # torch divides by zero if the rise takes exactly one step
        pct_start=max(recipe.warmup_fraction, 1.5 / total_steps),
        cycle_momentum=False,
    )
