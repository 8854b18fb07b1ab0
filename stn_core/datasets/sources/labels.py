"""Labels in whatever way a file holds them, brought to the numbers of classes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.errors import UsageError

MOST_NAMED = 5
"""Missing classes that an error names."""


class _Images(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


class WithLabels(Protocol):
    """A split as it was found; see `found.Labelled`."""

    @property
    def images(self) -> _Images: ...  # noqa: D102 - as of Labelled
    @property
    def labels(self) -> NDArray[np.generic]: ...  # noqa: D102
    @property
    def labels_name(self) -> str: ...  # noqa: D102


def class_numbers(path: Path, split: WithLabels) -> Tensor:
    """The labels of a split, int64 ``(N,)``.

    Raises:
        UsageError: they are no labels of these images; one-hot rows are.
    """
    labels, name = split.labels, split.labels_name
    check_label_shape(path, name, labels.shape, labels.dtype)
    if len(labels) != split.images.shape[0]:
        raise UsageError(
            f"{path}: {name} holds {len(labels)} labels, {split.images.name} "
            f"{split.images.shape[0]} images"
        )
    if labels.ndim == 2 and labels.shape[1] > 1:
        is_one_hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()
        if not is_one_hot:
            raise UsageError(
                f"{path}: {name} is {labels.dtype} {labels.shape} and not one-hot: an image may "
                "have one label only"
            )
        return torch.from_numpy(labels.argmax(1).astype(np.int64))
    if labels.dtype.kind == "u" and labels.size and labels.max() > np.iinfo(np.int64).max:
        raise UsageError(f"{path}: label {labels.max()} in {name} is out of range")
    return torch.from_numpy(labels.astype(np.int64).reshape(-1))


def check_label_shape(
    path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> None:
    """Refuse what cannot be labels, from shape and dtype alone.

    Raises:
        UsageError: it cannot.
    """
    if dtype.kind in "US":
        raise UsageError(f"{path}: {name} holds text; number the classes 0 to K-1")
    is_one_hot = len(shape) == 2 and shape[1] > 1 and dtype.kind in "iubf"
    is_numbers = len(shape) in (1, 2) and shape[1:] in ((), (1,)) and dtype.kind in "iu"
    if not (is_one_hot or is_numbers):
        raise UsageError(
            f"{path}: {name} is {dtype} {shape}; it must be integers (N,) or (N, 1), or one-hot "
            "(N, K)"
        )


def check_classes(
    path: Path,
    splits: Mapping[str, WithLabels],
    labels: Mapping[str, Tensor],
    class_names: tuple[str, ...] | None,
) -> int:
    """Check that train holds classes 0 to K-1, every one, and no split another.

    Returns:
        K.

    Raises:
        UsageError: a class is missing, or a label is out of range.
    """
    name, train = splits["train"].labels_name, labels["train"]
    distinct = train.unique()
    low, high = int(distinct[0]), int(distinct[-1])
    if low < 0:
        raise UsageError(f"{path}: label {low} in {name} is out of range; classes begin with 0")
    num_classes = len(class_names) if class_names else high + 1
    if len(distinct) < 2:
        raise UsageError(f"{path}: {name} holds one class only; at least two are needed")
    for split, values in labels.items():
        for label in (int(values.min()), int(values.max())):
            if not 0 <= label < num_classes:
                raise UsageError(
                    f"{path}: label {label} in {splits[split].labels_name} is out of range; the "
                    f"{num_classes} classes of {name} are numbered 0 to {num_classes - 1}"
                )
    if len(distinct) < num_classes:
        raise UsageError(
            f"{path}: {name} has no image of class {_missing(distinct, num_classes, class_names)}; "
            f"its labels go from {low} to {high}, and must do so without a gap, from 0"
        )
    return num_classes


def _missing(distinct: Tensor, num_classes: int, class_names: tuple[str, ...] | None) -> str:
    """The first classes that no label names."""
    there = set(distinct.tolist())
    absent = itertools.islice((k for k in range(num_classes) if k not in there), MOST_NAMED + 1)
    names = [class_names[number] if class_names else str(number) for number in absent]
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
