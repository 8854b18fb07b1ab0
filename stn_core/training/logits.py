"""A check that a model returns logits: one row of numbers per image, one column per class."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from stn_core.errors import UsageError


def check_logits(answer: object, images: int, classes: int | None = None) -> None:
    """Check that a model's output is logits.

    Args:
        answer: the model's output.
        images: how many went in.
        classes: how many; None if any number will do.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(answer, Tensor):
        found = _in_words(answer)
    elif (
        answer.ndim != 2 or len(answer) != images or (classes or answer.shape[1]) != answer.shape[1]
    ):
        found = str(tuple(answer.shape))
    elif not answer.is_floating_point():
        found = f"{tuple(answer.shape)} of {str(answer.dtype).removeprefix('torch.')}"
    else:
        return
    expected = f"({images}, {classes or 'classes'})"
    raise UsageError(f"the model must give logits of shape {expected}, not {found}")


def check_gradient(logits: Tensor) -> None:
    """Check that a loss of the logits has a gradient.

    Raises:
        UsageError: it has none.
    """
    if not logits.requires_grad:
        raise UsageError(
            "the model's logits have no gradient in training: its forward pass detaches them, or"
            " takes no parameter that can be trained"
        )


def _in_words(answer: object) -> str:
    if isinstance(answer, tuple):
        return "a tuple"
    if isinstance(answer, list):
        return "a list"
    if isinstance(answer, Mapping):
        return "a dictionary"
    return "None" if answer is None else f"a {type(answer).__name__}"
