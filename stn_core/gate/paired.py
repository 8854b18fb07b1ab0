"""Two models on the same images: how often only one of them is right, and whether by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stn_core.errors import needs_extra
from stn_core.gate.intervals import Difference

with needs_extra("suite"):
    import scipy  # its parts load when they are first used


@dataclass(frozen=True)
class PairedCounts:
    """Images that two models classified, by which of them is right.

    Args:
        images: how many, >= 0.
        only_first, only_second: those that only one of the models classified correctly.
    """

    images: int
    only_first: int
    only_second: int

    @classmethod
    def of(cls, first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> PairedCounts:
        """Counted from (N,) flags: which predictions of each model are right."""
        return cls(
            len(first_right),
            int((first_right & ~second_right).sum()),
            int((second_right & ~first_right).sum()),
        )

    @property
    def p_value(self) -> float:
        """Of no difference: McNemar's test in its exact form (1947, Psychometrika 12)."""
        differing = self.only_first + self.only_second
        if not differing:
            return 1.0
        return float(scipy.stats.binomtest(self.only_first, differing).pvalue)

    def difference(self, level: float) -> Difference:
        """The second model's accuracy minus the first one's, both in [0, 1].

        The interval is Bonett and Price's (2012, Journal of Educational and Behavioral Statistics
        37, adjusted Wald), which keeps its level even if the models differ on few images.

        Args:
            level: the chance that the interval misses the true difference, in (0, 1).
        """
        if not self.images:
            return Difference(math.nan, math.nan, math.nan)
        count = self.images + 2
        first, second = (self.only_first + 1) / count, (self.only_second + 1) / count
        centre = second - first
        deviation = math.sqrt((first + second - centre**2) / count)
        half = float(scipy.stats.norm.isf(level / 2)) * deviation
        return Difference(
            (self.only_second - self.only_first) / self.images,
            max(centre - half, -1.0),
            min(centre + half, 1.0),
        )
