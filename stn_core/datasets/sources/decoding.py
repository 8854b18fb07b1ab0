"""Every image file of a dataset decoded, or one line that counts the broken ones and names some."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.data_root import cannot_be_read
from stn_core.errors import UsageError

MOST_NAMED = 3
"""Broken files that the error names."""


def decode_files(
    paths: Sequence[Path],
    shape: tuple[int, ...],
    decode: Callable[[int, bytes], NDArray[np.uint8]],
    repair: str,
) -> tuple[Tensor, Tensor]:
    """Read and decode files, one after the other.

    Args:
        paths: of the files.
        shape: of each decoded image.
        decode: takes a file's index in `paths` and its content, and returns the image; raises a
            UsageError that names the file if it is broken.
        repair: what to do about broken files, in the user's words.

    Returns:
        The images, uint8 ``(N, *shape)``, and the SHA-256 of each file, uint8 ``(N, 32)``.

    Raises:
        UsageError: a file cannot be read, or some are broken.
    """
    images = np.empty((len(paths), *shape), np.uint8)
    digests = np.empty((len(paths), hashlib.sha256().digest_size), np.uint8)
    broken: list[str] = []
    for row, path in enumerate(paths):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise cannot_be_read(path, error) from error
        try:
            images[row] = decode(row, content)
        except UsageError as error:
            broken.append(str(error))
        digests[row] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
    if broken:
        more = f"; and {len(broken) - MOST_NAMED} more" if len(broken) > MOST_NAMED else ""
        raise UsageError(
            f"{len(broken)} of {len(paths)} images are broken, {repair}: "
            f"{'; '.join(broken[:MOST_NAMED])}{more}"
        )
    return torch.from_numpy(images), torch.from_numpy(digests)
