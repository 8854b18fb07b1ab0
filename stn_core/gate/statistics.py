"""How far a few fresh runs may be from the stored ones by chance.

Values are compared as badness, on a logarithmic scale on which higher is worse: `log_error`,
`log_loss`. On this scale a cell's values are closest to normal: with resampled values of the smoke
cells, raw values and square roots gave twice as many false alarms, log odds equally many
(2026-11-21). A cell's `Yardstick` is its baseline on that scale; `sequential.decide` compares fresh
values with it, a few at first and more if the answer is not yet clear.

Array functions take cells along the last axis and any axes before it, so that the calibration
judges thousands of sessions with the functions that judge one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stn_core.errors import needs_extra

with needs_extra("suite"):
    import scipy  # its parts load when they are first used

FloatArray = npt.NDArray[np.float64]
Values = Sequence[float] | FloatArray

CELLS_FALSE_ALARM_RATE = 0.006
"""The share of sessions in which the tests of all cells together may raise a false alarm."""

GROUPS_FALSE_ALARM_RATE = 0.002
"""The same for the tests of all groups of cells; 0.8 % of sessions in total."""


DEGREES_KEPT = 0.8
"""The share of a yardstick's degrees of freedom that its quantiles use.

Student's quantiles assume normal values. Real ones are skewed (the log loss of some cells by 0.8),
which matters most far out in the tail: with resampled values of the smoke cells and all degrees,
0.9 % of sessions of 18 cells and 1.1 % of 100 failed without a change, with four fifths 0.6 %
(n = 20,000 each, 2026-11-21). In return, the smallest detectable rise is 5 % larger."""

IMAGES_ADDED = 4
"""Wrong images added before the logarithm. Without them, a single image decides everything if only
a few are wrong: runs with 0, 0, 0, 4 and 13 of 256 would have so wide a spread that a model at
chance would pass. From 40 wrong images on they make no practical difference."""

LEAST_LOSS = 1e-4
"""Smaller test losses, in nats, count as this one. Losses are stored with six decimals, so rounding
makes 0 of 0.0000004 and twice as much of 0.0000016 as of 0.0000014. From here on it changes a loss
by 0.5 % at most, a tenth of the least rise that matters."""

LOSS_FLOOR_RATIO = 0.5
"""The least deviation of log loss, as a share of that of log error. Measured deviations of log loss
are 0.48 to 2.2 times log error's floor in 18 quick cells (n = 5 each), 0.66 to 7 times in 18 smoke
cells (n = 20 each, 2026-11-20)."""


def sampling_deviation(accuracy: float, test_images: int) -> float:
    """The least standard deviation of an accuracy over seeds, sqrt(rarer / (2 n)).

    Measured on many networks: half the binomial variance of few errors, because two trained
    networks agree on most images. Where fewer images are right than wrong, these are the rarer
    ones: 10 networks with 1.4 % of 784 right varied by 1.4 of these deviations, and by 0.17 of
    those that their errors give (2026-11-30). An accuracy of 0 or 1 counts as half an image from
    it.

    Args:
        accuracy: in [0, 1].
        test_images: n, >= 1.
    """
    rarer = max(min(accuracy, 1 - accuracy), 0.5 / test_images)
    return math.sqrt(rarer / (2 * test_images))


def log_error(accuracies: npt.ArrayLike, test_images: int) -> FloatArray:
    """The badness of accuracies on n images, log(1 - accuracy + IMAGES_ADDED / n).

    Args:
        accuracies: in [0, 1], any shape.
        test_images: n, >= 1.
    """
    return np.log(1 - np.asarray(accuracies, dtype=np.float64) + IMAGES_ADDED / test_images)


def log_loss(cross_entropies: npt.ArrayLike) -> FloatArray:
    """The badness of cross-entropies in nats, >= 0, any shape; at least that of LEAST_LOSS."""
    return np.log(np.maximum(np.asarray(cross_entropies, dtype=np.float64), LEAST_LOSS))


def log_error_floor(accuracy: float, test_images: int) -> float:
    """The least standard deviation of `log_error` over seeds: `sampling_deviation`, on this scale.

    Args:
        accuracy: mean of the stored runs, in [0, 1].
        test_images: how many images it was measured on, >= 1.
    """
    return sampling_deviation(accuracy, test_images) / (1 - accuracy + IMAGES_ADDED / test_images)


def log_loss_floor(accuracy: float, test_images: int) -> float:
    """The least standard deviation of `log_loss` over seeds, LOSS_FLOOR_RATIO of `log_error`'s."""
    return LOSS_FLOOR_RATIO * log_error_floor(accuracy, test_images)


def t_sf(values: npt.ArrayLike, degrees: npt.ArrayLike) -> FloatArray:
    """The probability that Student's t exceeds values; any shapes that broadcast.

    Equals `scipy.stats.t.sf`, without its import, which takes a second of CPU, and its checks at
    each call, which add up over thousands of cells.
    """
    return np.asarray(scipy.special.stdtr(degrees, np.negative(values)))


def t_isf(chances: npt.ArrayLike, degrees: npt.ArrayLike) -> FloatArray:
    """What Student's t exceeds with these probabilities, in (0, 1); the inverse of `t_sf`."""
    return np.asarray(-scipy.special.stdtrit(degrees, chances))


@dataclass(frozen=True)
class Yardstick:
    """What fresh values of one cell are compared with, all on one scale of badness.

    Args:
        mean: of the stored values.
        deviation: standard deviation over seeds, moderated, never below the cell's floor.
        degrees: its degrees of freedom.
        runs: how many stored values, >= 1.
    """

    mean: float
    deviation: float
    degrees: float
    runs: int


def yardsticks(samples: Mapping[str, Values], floors: Mapping[str, float]) -> dict[str, Yardstick]:
    """The yardsticks of all the cells of one budget, device and metric.

    Args:
        samples: a cell's stored values as badness, one or more; at least one cell has two.
        floors: a cell's least credible standard deviation, > 0.

    Raises:
        ValueError: no cell has two values, or a floor is not positive.
    """
    if not samples:
        return {}
    if max(map(len, samples.values())) < 2:
        raise ValueError("no spread is known: no cell has two values")
    runs = np.array([len(values) for values in samples.values()], dtype=np.float64)
    variances = [np.var(values, ddof=1) if len(values) > 1 else 0.0 for values in samples.values()]
    least = np.array([floors[name] for name in samples])
    if not np.all(least > 0):
        raise ValueError("a floor must be positive")
    deviations, degrees = moderated_deviations(np.array(variances), runs - 1, least)
    return {
        name: Yardstick(float(np.mean(values)), float(deviation), float(freedom), len(values))
        for (name, values), deviation, freedom in zip(
            samples.items(), deviations, degrees, strict=True
        )
    }


def moderated_deviations(
    variances: FloatArray, degrees: FloatArray, floors: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Standard deviations of cells, each shrunk towards those of the others.

    Empirical Bayes (Smyth 2004, section 6.2): the cells' variances are draws from a scaled inverse
    chi-square of d0 degrees around s0^2, fitted by the moments of their logarithms. Compared with a
    cell's own variance, this costs no false alarms and makes baselines of few runs more powerful. A
    prior that depends on the cells' means would be more powerful still but does not keep the level.
    A variance below its floor is luck and counts as the floor, before and after.

    Args:
        variances: (..., cells), of each cell's values; ignored if degrees is 0.
        degrees: (cells,), number of values minus 1, >= 0.
        floors: (..., cells), least credible standard deviations, > 0.

    Returns:
        Deviations and their degrees of freedom, (..., cells) each. The degrees are at most those of
        all cells together, however similar these are, and then multiplied by DEGREES_KEPT.
    """
    measured = degrees > 0
    own = np.where(measured, degrees, 1)
    raised = np.maximum(variances, floors**2)
    prior, prior_degrees = _fit_prior(raised, own, measured)
    share = 1 / (1 + degrees / prior_degrees)
    moderated = share * prior + (1 - share) * raised
    freedom = np.minimum(degrees + prior_degrees, np.sum(degrees))
    return np.maximum(np.sqrt(moderated), floors), DEGREES_KEPT * freedom


def _fit_prior(
    variances: FloatArray, degrees: FloatArray, measured: npt.NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """s0^2 and d0, (..., 1) each, from the `measured` cells; d0 may be infinite."""
    half = degrees / 2
    cells = np.sum(measured)
    logs = np.log(variances) - scipy.special.digamma(half) + np.log(half)
    centre = np.mean(logs, axis=-1, keepdims=True, where=measured)
    spread = np.sum((logs - centre) ** 2, axis=-1, keepdims=True, where=measured)
    explained = np.mean(scipy.special.polygamma(1, half), where=measured)
    excess = spread / max(cells - 1, 1) - explained
    half_prior = _inverse_trigamma(np.where(excess > 0, excess, 1.0))
    # Cells as similar as if they had one variance share the pooled one.
    pooled = np.sum(variances * degrees, axis=-1, keepdims=True, where=measured) / np.sum(
        degrees, where=measured
    )
    prior = np.exp(centre + scipy.special.digamma(half_prior) - np.log(half_prior))
    return np.where(excess > 0, prior, pooled), np.where(excess > 0, 2 * half_prior, np.inf)


def _inverse_trigamma(values: FloatArray) -> FloatArray:
    """x > 0 with trigamma(x) = values > 0, by Newton's method on 1 / trigamma (Smyth, appendix)."""
    x = 0.5 + 1 / values
    for _ in range(8):
        trigamma = scipy.special.polygamma(1, x)
        x = x + trigamma * (1 - trigamma / values) / scipy.special.polygamma(2, x)
    return np.asarray(x, dtype=np.float64)
