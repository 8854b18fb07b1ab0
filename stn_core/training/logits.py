"""Checks that a model has values and returns logits: a row of numbers per image, a column per
class."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError

_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
_NOT_PLAIN: dict[str, Callable[[Tensor], bool]] = {
    "a nested tensor": lambda answer: answer.is_nested,
    "a tensor without values, on torch's meta device": lambda answer: answer.is_meta,
    "a quantised tensor": lambda answer: answer.is_quantized,
    "a sparse tensor": lambda answer: answer.layout in _SPARSE,
    "a tensor in another library's layout": lambda answer: answer.layout is not torch.strided,
}
"""Kinds of tensors without the operations that training and evaluation need."""


def check_has_values(model: nn.Module) -> None:
    """Check that no parameter or buffer of a model is on torch's meta device.

    Raises:
        UsageError: one is.
    """
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        if tensor.is_meta:
            raise UsageError(
                f"the model's {name} has no values: it is on torch's meta device; build the model"
                " on the CPU"
            )


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
    elif kind := next((words for words, is_so in _NOT_PLAIN.items() if is_so(answer)), ""):
        found = kind
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
