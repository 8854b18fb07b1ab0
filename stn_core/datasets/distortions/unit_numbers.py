"""From uniform numbers in [0, 1) to the numbers that a distortion needs.

Distortions keep the uniform numbers as their raw parameters: those are the same bits on every
machine, while a logarithm may differ in its last bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stn_core.errors import needs_extra

with needs_extra("data"):
    import scipy  # its parts load when they are first used


def between(unit: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Uniform numbers in [low, high), of the same shape."""
    return np.asarray(low + (high - low) * unit, dtype=np.float64)


def normal(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal numbers of the same shape: the quantiles of uniform ones, all finite."""
    # The quantile of 0 is infinite; of 53 bits, one number in 2^53 is 0.
    return np.asarray(scipy.special.ndtri(np.maximum(unit, 2.0**-54)), dtype=np.float64)


def whole(unit: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Uniform whole numbers from 0 to count - 1, of the same shape; 0 if count is 0."""
    # Of 53 bits, the largest is 1 - 2^-53: no product is rounded up to the count.
    return (unit * count).astype(np.int64)
