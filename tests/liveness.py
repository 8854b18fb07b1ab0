"""A guard against tests of dead networks: two constants are equal whatever is wrong before them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LEAST_SPREAD = 1e-3
"""Of the logits over images, as a share of the largest logit. What is left of a dead network is
rounding, 1e-7 of it; an untrained network of this library spreads by a tenth and more."""


def assert_depends_on_its_input(model: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Fail unless a model's answer tells images from each other and from a blank one.

    A module is asked in evaluation mode and left in the mode it was in.

    Args:
        model: (B, ...) to (B, K) logits or probabilities.
        images: at least two that differ, as the model takes them.
    """
    assert len(images) > 1, "one image alone shows nothing"
    assert not torch.equal(images[:1].expand_as(images), images), "the images are all the same"
    blank = torch.zeros_like(images[:1])
    answers = _answers(model, torch.cat([images, blank])).double()
    assert answers.isfinite().all(), "the model's answer is not finite"
    scale = answers.abs().max()
    spread = answers[:-1].std(0).max()
    assert spread > LEAST_SPREAD * scale, f"every image gets the answer {answers[0].tolist()}"
    away_from_blank = (answers[:-1] - answers[-1:]).abs().amax(1)
    unseen = (away_from_blank <= LEAST_SPREAD * scale).double().mean().item()
    assert unseen < 0.5, f"{unseen:.0%} of the images get the answer of a blank one"


@torch.inference_mode()
def _answers(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    if not isinstance(model, torch.nn.Module):
        return model(images)
    was_training = model.training
    model.eval()
    try:
        return model(images)
    finally:
        model.train(was_training)
