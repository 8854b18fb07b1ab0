"""Random numbers that depend on a key and on nothing else.

Only the raw bits of numpy's bit generators are guaranteed never to change (NEP 19 leaves the
methods of ``Generator`` free to), so splits and stored test sets are derived from those.
"""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Stream(IntEnum):
    """What random numbers are for: two purposes never share a stream."""

    SPLIT = 0
    TRAIN_EPOCH = 1
    TRAIN_STATISTICS = 2
    VAL = 3
    TEST = 4
    ORDER = 5
    AUGMENTATION = 6
    PAIRS = 7


def raw_bits(count: int, seed: int, stream: Stream, index: int = 0) -> NDArray[np.uint64]:
    """Independent uniform 64-bit integers.

    Args:
        count: how many.
        seed: not negative, of any size.
        stream: what they are for.
        index: which of many draws for that purpose, below 2^32 (an epoch).

    Returns:
        An array ``(count,)``: the same for the same arguments, on every machine.
    """
    # As a spawn key the stream and index cannot be mistaken for further words of a long seed.
    sequence = np.random.SeedSequence(seed, spawn_key=(stream, index))
    return np.asarray(np.random.Philox(sequence).random_raw(count), dtype=np.uint64)


def uniform(
    shape: tuple[int, ...], seed: int, stream: Stream, index: int = 0
) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) of 53 bits; arguments as in `raw_bits`."""
    bits = raw_bits(math.prod(shape), seed, stream, index)
    return (bits >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def permutation(count: int, seed: int, stream: Stream, index: int = 0) -> NDArray[np.intp]:
    """A uniform permutation of ``range(count)``; arguments as in `raw_bits`."""
    return np.argsort(raw_bits(count, seed, stream, index), kind="stable")
