"""How far a few fresh runs may stray from the stored ones before chance stops explaining it.

Values are compared as badness, on a logarithmic scale where higher is worse: `log_error`,
`log_loss`. There a cell's values are nearest to normal: raw values and square roots gave twice as
many false alarms, log odds as many, with the smoke cells' values resampled (2026-11-21). A cell's
`Yardstick` is its baseline on that scale; `sequential.decide` compares fresh values with it, a few
first and more if the answer is not yet clear.

Array functions take cells along the last axis and anything before it, so that the calibration
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
"""What all the judgements of a session's cells together may spend."""

GROUPS_FALSE_ALARM_RATE = 0.002
"""What all the judgements of groups of cells may spend beside them: 0.8 % of sessions in all."""


DEGREES_KEPT = 0.8
"""The share of a yardstick's degrees of freedom that its quantiles are taken with.

Student's quantiles are made for normal values. Real ones are skewed, some cells' log loss by 0.8,
and the further out the more it matters: with all the degrees 0.9 % of sessions of 18 cells and
1.1 % of 100 failed without a change where the smoke cells' values were resampled, with four fifths
0.6 % (n = 20,000 each, 2026-11-21). The price is 5 % on the smallest rise that is found."""

IMAGES_ADDED = 4
"""Wrong images added before the logarithm. Without them one image more or less decides everything
where only a few are wrong: runs with 0, 0, 0, 4 and 13 of 256 would have so wide a spread that a
model at chance passed. Where 40 are wrong or more they change nothing that matters."""

LOSS_FLOOR_RATIO = 0.5
"""The least deviation of log loss over that of log error. Measured deviations of log loss are 0.48
to 2.2 of log error's floor in 18 quick cells (n = 5 each), 0.66 to 7 in 18 smoke cells (n = 20
each, 2026-11-20)."""


def sampling_deviation(accuracy: float, test_images: int) -> float:
    """The least standard deviation of an accuracy over seeds, sqrt(error / (2 n)).

    Measured on many networks, half the binomial variance: two trained networks agree on most
    images. An accuracy of 0 or 1 is taken as half an image away from it.

    Args:
        accuracy: in [0, 1].
        test_images: n, >= 1.
    """
    error = max(1 - accuracy, 0.5 / test_images)
    return math.sqrt(error / (2 * test_images))


def log_error(accuracies: npt.ArrayLike, test_images: int) -> FloatArray:
    """The badness of accuracies on n images, log(1 - accuracy + IMAGES_ADDED / n).

    Args:
        accuracies: in [0, 1], any shape.
        test_images: n, >= 1.
    """
    return np.log(1 - np.asarray(accuracies, dtype=np.float64) + IMAGES_ADDED / test_images)


def log_loss(cross_entropies: npt.ArrayLike) -> FloatArray:
    """The badness of cross-entropies in nats, >= 0, any shape; one of 0 is taken as 1e-12."""
    return np.log(np.maximum(np.asarray(cross_entropies, dtype=np.float64), 1e-12))


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
    """The chance that Student's t exceeds values; any shapes that broadcast.

    As `scipy.stats.t.sf` computes it, without the second of CPU that this takes to import and the
    checks that it makes at each call: thousands of cells are judged.
    """
    return np.asarray(scipy.special.stdtr(degrees, np.negative(values)))


def t_isf(chances: npt.ArrayLike, degrees: npt.ArrayLike) -> FloatArray:
    """What Student's t exceeds with chances in (0, 1); otherwise as `t_sf`."""
    return np.asarray(-scipy.special.stdtrit(degrees, chances))


@dataclass(frozen=True)
class Yardstick:
    """What fresh values of one cell are held against; all on one scale of badness.

    Args:
        mean: of the stored values.
        deviation: standard deviation over seeds, moderated, never below the cell's floor.
        degrees: of freedom behind it.
        runs: how many stored values, >= 1.
    """

    mean: float
    deviation: float
    degrees: float
    runs: int


def yardsticks(samples: Mapping[str, Values], floors: Mapping[str, float]) -> dict[str, Yardstick]:
    """The yardsticks of all the cells of one budget, device and metric.

    Args:
        samples: a cell's stored values as badness, one or more; if any, then two in some cell.
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

    Empirical Bayes (Smyth 2004, section 6.2): the cells' variances are draws of a scaled inverse
    chi-square of d0 degrees around s0^2, fitted by the moments of their logarithms. Against a
    cell's own variance it costs no false alarms and is what makes baselines of few runs sharp; a
    prior that follows the cells' means would be sharper still and does not keep the level. A
    variance below its floor is luck and counts as the floor, before and after.

    Args:
        variances: (..., cells), of each cell's values; what stands where degrees is 0 is ignored.
        degrees: (cells,), values less 1, >= 0.
        floors: (..., cells), least credible standard deviations, > 0.

    Returns:
        Deviations and their degrees of freedom, (..., cells) each. The degrees end at those of all
        the cells together, however alike they are, and DEGREES_KEPT is what is left of them.
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
    """s0^2 and d0, (..., 1) each, from the cells that are `measured`; d0 may be infinite."""
    half = degrees / 2
    cells = np.sum(measured)
    logs = np.log(variances) - scipy.special.digamma(half) + np.log(half)
    centre = np.mean(logs, axis=-1, keepdims=True, where=measured)
    spread = np.sum((logs - centre) ** 2, axis=-1, keepdims=True, where=measured)
    explained = np.mean(scipy.special.polygamma(1, half), where=measured)
    excess = spread / max(cells - 1, 1) - explained
    half_prior = _inverse_trigamma(np.where(excess > 0, excess, 1.0))
    # Cells no less alike than one variance would make them share the pooled one.
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
