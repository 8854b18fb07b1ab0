"""Two models on the same images: how often only one of them is right, and whether by chance."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stn_core.errors import needs_extra
from stn_core.gate.intervals import Difference

with needs_extra("suite"):
    import scipy  # its parts load when they are first used


_STEP = 1e-12
"""How far from the estimate the ends of an interval are at least: the score is 0 at it."""


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
        """Of no difference: McNemar's test (1947, Psychometrika 12).

        The asymptotic one: at 5 % it calls at most 5.3 % of equal models different, and it finds
        more differences than the exact one (Fagerland, Lydersen and Laake 2013, BMC Medical
        Research Methodology 13). The interval of `difference` inverts the same score: it excludes 0
        where this is below its level.
        """
        differing = self.only_first + self.only_second
        if not differing:
            return 1.0
        score = abs(self.only_second - self.only_first) / math.sqrt(differing)
        return float(2 * scipy.stats.norm.sf(score))

    def difference(self, level: float) -> Difference:
        """The second model's accuracy minus the first one's, both in [0, 1].

        The interval is Tango's (1998, Statistics in Medicine 17), which inverts a score test and
        keeps its level even if the models differ on few images.

        Args:
            level: the chance that the interval misses the true difference, in (0, 1).
        """
        if not self.images:
            return Difference(math.nan, math.nan, math.nan)
        estimate = (self.only_second - self.only_first) / self.images
        excess = functools.partial(self._excess, quantile=float(scipy.stats.norm.isf(level / 2)))
        low, high = -1.0, 1.0
        if estimate > -1:
            low = scipy.optimize.brentq(excess, -1.0, estimate - _STEP)
        if estimate < 1:
            high = scipy.optimize.brentq(excess, estimate + _STEP, 1.0)
        return Difference(estimate, float(low), float(high))

    def _excess(self, difference: float, quantile: float) -> float:
        """How far the squared distance of the counts from a difference is beyond the quantile's.

        In images squared; the variance is that of the most likely shares that have the difference.
        """
        images, differing = self.images, self.only_first + self.only_second
        distance = self.only_second - self.only_first - images * difference
        slope = -differing + (2 * images - self.only_second + self.only_first) * difference
        constant = -self.only_first * difference * (1 - difference)
        root = math.sqrt(max(slope**2 - 8 * images * constant, 0.0))
        share = (root - slope) / (4 * images)  # of images that only the first model gets right
        return distance**2 - quantile**2 * images * (2 * share + difference * (1 - difference))
