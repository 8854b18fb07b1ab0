"""The difference of the means of two samples, with its confidence interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stn_core.errors import needs_extra
from stn_core.gate.statistics import DEGREES_KEPT, FloatArray, Values, moderated_deviations

with needs_extra("suite"):
    import scipy  # its parts load when they are first used


MOST_SEEDS = 1000
"""Nobody trains more seeds of a model than this to settle a comparison."""

MODERATED_FROM = 5
"""Samples of this many values or more are moderated. With 3 values per cell, 8.6 % of families of 9
intervals at 0.05 / 9 each missed the true difference of 0, with 5 values 4.0 %, with 10 3.2 %
(resampled values of the smoke cells, 500 families each, 2026-11-29)."""


@dataclass(frozen=True)
class Difference:
    """The mean of a second sample minus that of a first, with its interval.

    Args:
        estimate: the difference.
        low, high: the interval's ends; nan if no spread is known.
    """

    estimate: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 if the whole interval is above 0, -1 if it is below, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def mapped(self, function: Callable[[float], float]) -> Difference:
        """The same difference on another scale, by a non-decreasing function."""
        return Difference(function(self.estimate), function(self.low), function(self.high))


@dataclass(frozen=True)
class Spread:
    """The spread of the values of one sample.

    Args:
        variances: of the values, any shape; ignored for a single value.
        runs: how many values, >= 1.
        floors: least credible standard deviations, > 0, of a shape that broadcasts.
        borrowed: degrees of freedom added by other samples; see `moderated_spreads`.
        kept: the share of the sample's own degrees that counts.
    """

    variances: npt.ArrayLike
    runs: int
    floors: npt.ArrayLike
    borrowed: float = 0.0
    kept: float = 1.0

    @property
    def degrees(self) -> float:
        """Of freedom, behind each variance."""
        return self.kept * (self.runs - 1) + self.borrowed

    @property
    def credible(self) -> FloatArray:
        """The variances, none below its floor."""
        known = self.variances if self.degrees else 0.0
        return np.asarray(np.maximum(known, np.square(self.floors)))


def difference_of_means(
    first: Values, second: Values, floors: tuple[float, float], level: float
) -> Difference:
    """The mean of the second sample minus that of the first.

    Args:
        first, second: one value or more each.
        floors: the least credible standard deviation of each, > 0.
        level: the chance that the interval misses the true difference, in (0, 1).
    """
    estimate = float(np.mean(second) - np.mean(first))
    half = float(margin(_spread(first, floors[0]), _spread(second, floors[1]), level))
    return Difference(estimate, estimate - half, estimate + half)


def _spread(sample: Values, floor: float) -> Spread:
    variance = float(np.var(sample, ddof=1)) if len(sample) > 1 else 0.0
    return Spread(variance, len(sample), floor)


def moderated_spreads(
    samples: Mapping[str, Values], floors: Mapping[str, float]
) -> dict[str, Spread]:
    """The spreads of similar samples, each shrunk towards those of the others.

    `moderated_deviations` of variances in units of the floors: only on that scale are accuracies on
    several datasets comparable. Samples of fewer than `MODERATED_FROM` values keep their own
    spread and do not change that of others.

    Args:
        samples: by name, two values or more each.
        floors: a sample's least credible standard deviation, > 0.
    """
    spreads = {name: _spread(values, floors[name]) for name, values in samples.items()}
    large = {name: own for name, own in spreads.items() if own.runs >= MODERATED_FROM}
    if not large:
        return spreads
    least = np.array([own.floors for own in large.values()], dtype=np.float64)
    variances = np.array([own.variances for own in large.values()], dtype=np.float64) / least**2
    degrees = np.array([own.degrees for own in large.values()])
    deviations, freedom = moderated_deviations(variances, degrees, np.ones_like(least))
    for name, deviation, floor, known in zip(
        large, deviations, least.tolist(), freedom, strict=True
    ):
        own = large[name]
        spreads[name] = Spread(
            variances=float((deviation * floor) ** 2),
            runs=own.runs,
            floors=floor,
            borrowed=float(known - DEGREES_KEPT * own.degrees),
            kept=DEGREES_KEPT,
        )
    return spreads


def margin(first: Spread, second: Spread, level: float) -> FloatArray:
    """Half the width of the interval of the difference of two means.

    Welch's, with Satterthwaite's degrees (Welch 1938, Biometrika 29; Satterthwaite 1946, Biometrics
    Bulletin 2), except that no variance counts as less than the pooled variance of both samples.
    Without this, a few values that are close together by luck look like a sample with little
    spread: of families of 18 intervals at 0.05 / 18 each, 20 normal values against 3 with the same
    spread, 25 % missed a difference, and with it none did. With one spread twice the other, at most
    5.4 % did (eight pairs of sizes from 2 to 20; 6,000 families each, 2026-11-21).

    A single value gets the spread and the degrees of the other sample.

    Args:
        first, second: the samples' spreads, of shapes that broadcast.
        level: the chance that the interval misses the true difference, in (0, 1).

    Returns:
        The half widths; nan if neither sample has two values.
    """
    error, degrees = error_of_difference(first, second)
    return np.asarray(scipy.stats.t.isf(level / 2, degrees) * error)


def margin_of_mean(spread: Spread, level: float) -> FloatArray:
    """Half the width of Student's interval of the mean of one sample.

    Args:
        spread: of the sample, of two values or more.
        level: the chance that the interval misses the true mean, in (0, 1).
    """
    error = np.sqrt(spread.credible / spread.runs)
    return np.asarray(scipy.stats.t.isf(level / 2, spread.degrees) * error)


def error_of_difference(first: Spread, second: Spread) -> tuple[FloatArray, FloatArray]:
    """The standard error of the difference of two means and its degrees of freedom.

    Args:
        first, second: as for `margin`, which explains why no variance is below the pooled one.

    Returns:
        Both in the shape of the spreads; nan if neither sample has two values.
    """
    together = first.degrees + second.degrees
    if not together:
        shape = np.broadcast_shapes(first.credible.shape, second.credible.shape)
        return np.full(shape, np.nan), np.full(shape, np.nan)
    common = (first.degrees * first.credible + second.degrees * second.credible) / together
    parts = [np.maximum(spread.credible, common) / spread.runs for spread in (first, second)]
    error = np.sqrt(parts[0] + parts[1])
    if first.degrees and second.degrees:
        return error, satterthwaite(parts[0], parts[1], first.degrees, second.degrees)
    return error, np.full(error.shape, float(together))


def satterthwaite(
    first: FloatArray,
    second: FloatArray,
    first_degrees: npt.ArrayLike,
    second_degrees: npt.ArrayLike,
) -> FloatArray:
    """The degrees of freedom of the sum of two independent variances, any shapes that broadcast.

    Args:
        first, second: the variances of two means.
        first_degrees, second_degrees: of each variance, > 0.
    """
    uncertainty = np.square(first) / first_degrees + np.square(second) / second_degrees
    return np.asarray(np.square(first + second) / uncertainty)
