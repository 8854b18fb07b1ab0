"""CIFAR-10's "python version", the files that torchvision fetches: pickles, read as plain data.

A pickle is a program that can call whatever it names. These ones name numpy's array, its dtype and
the function that rebuilds an array; stand-ins, which only remember their arguments, are called in
their place, and a pickle that names anything else is refused. So no code that the file chooses
runs, not even numpy's. The remembered arguments are then checked and read as bytes.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stn_core.datasets.base import Split
from stn_core.datasets.data_root import cannot_be_read
from stn_core.errors import UsageError

IMAGE_SHAPE = (3, 32, 32)
NUM_CLASSES = 10


def read_batches(paths: list[Path]) -> Split:
    """The images of several batch files, one after the other.

    Args:
        paths: at least one.

    Raises:
        UsageError: a file cannot be read, or is not such a batch; names the file.
    """
    batches = [_read_batch(path) for path in paths]
    return Split(
        torch.cat([batch.images for batch in batches]),
        torch.cat([batch.labels for batch in batches]),
    )


class _Remembered:
    """Stands for a numpy class or function that a batch names, and keeps its arguments."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _PlainData(pickle.Unpickler):
    """Makes dicts, lists, tuples, numbers, bytes and `_Remembered`, and nothing else."""

    NAMES = frozenset(
        [("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")]
    )

    def find_class(self, module: str, name: str) -> type[_Remembered]:
        if (module, name) not in self.NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch does")
        return _Remembered


def _read_batch(path: Path) -> Split:
    try:
        with path.open("rb") as file:
            content = _PlainData(file, encoding="bytes").load()
        pixels = _array(content[b"data"])
        labels = np.array(content[b"labels"])
    except OSError as error:
        raise cannot_be_read(path, error) from error
    except Exception as error:  # the pickle module promises no narrower class for a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise _damaged(path, reason) from error
    if labels.dtype.kind != "i" or labels.shape != pixels.shape[:1]:
        raise _damaged(
            path, f"it holds {labels.dtype} {labels.shape} labels of {len(pixels)} images"
        )
    for label in (labels.min(), labels.max()):
        if not 0 <= label < NUM_CLASSES:
            raise _damaged(path, f"label {label} is out of range, 0 to {NUM_CLASSES - 1}")
    images = torch.from_numpy(pixels.reshape(-1, *IMAGE_SHAPE))
    return Split(images, torch.from_numpy(labels.astype(np.int64)))


def _array(remembered: _Remembered) -> NDArray[np.uint8]:
    """The array ``(N, 3072)`` whose parts were remembered.

    Raises:
        ValueError, TypeError, AttributeError: the parts are not those of such an array.
    """
    _, shape, dtype, is_column_major, content = remembered.state
    if dtype.arguments[0] != b"u1":
        raise ValueError(f"its images are {dtype.arguments[0]!r}, not bytes")
    pixels = np.frombuffer(content, np.uint8).reshape(shape, order="F" if is_column_major else "C")
    if pixels.ndim != 2 or pixels.shape[1] != np.prod(IMAGE_SHAPE) or len(pixels) == 0:
        raise ValueError(f"its images are of shape {shape}")
    return np.array(pixels, order="C")  # own memory: the file's bytes may not be written to


def _damaged(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} is damaged or not a batch of CIFAR-10 ({reason}); delete it and fetch it again"
        " with --download"
    )
