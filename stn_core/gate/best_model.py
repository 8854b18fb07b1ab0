"""Which models of a dataset are not significantly worse than the best of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from stn_core.gate.intervals import satterthwaite
from stn_core.gate.statistics import Values, t_sf

CONFIDENCE = 0.95
"""The least probability that the truly best model is among the tied ones."""


def tied_with_best(
    values: Mapping[str, Values], floors: Mapping[str, float], confidence: float = CONFIDENCE
) -> frozenset[str]:
    """The models that are not significantly worse than the best.

    Args:
        values, floors: as for `p_against_best`, which says how they are compared.
        confidence: in [0.5, 1).

    Returns:
        Empty only if no model has two values: then the spread is unknown.
    """
    chances = p_against_best(values, floors)
    return frozenset(name for name, chance in chances.items() if chance >= 1 - confidence)


def p_against_best(values: Mapping[str, Values], floors: Mapping[str, float]) -> dict[str, float]:
    """How easily chance explains that a model is not the best.

    Hsu's multiple comparisons with the best (Hsu 1984, Ann. Statist. 12; Hsu 1996, chapter 4): a
    model is left out if another one is better by more than chance explains. The truly best model is
    left out wrongly if any one of the others beats it, so the union bound corrects for their number
    and not for the number of pairs. Each pair is a Welch test with Satterthwaite's degrees; sizes
    and variances may differ. Each model has its own variance: with moderated ones, the best of
    models with three runs is left out too often (9 % instead of 5 %, simulated with the deviations
    of the smoke cells). A single value is as uncertain as those of the least certain model. Seeds
    are not paired: the values of two models at one seed correlate by only 0.1 to 0.2 (smoke cells,
    n = 20, 2026-11-20).

    Args:
        values: a model's badness, one value per seed, one or more.
        floors: a model's least credible standard deviation, > 0.

    Returns:
        A p in [0, 1] per model, corrected for the number of other models; nan if no model has two
        values.
    """
    sizes = np.array([len(sample) for sample in values.values()])
    if np.all(sizes < 2):
        return dict.fromkeys(values, math.nan)
    means = np.array([np.mean(sample) for sample in values.values()])
    spreads = np.array([_variance(sample, floors[name]) for name, sample in values.items()])
    least_certain = np.argmax(np.where(sizes > 1, spreads, 0.0))
    source = np.where(sizes > 1, np.arange(len(sizes)), least_certain)
    variances = spreads[source] / sizes
    known = sizes[source] - 1
    degrees = satterthwaite(variances[:, None], variances, known[:, None], known)
    errors = np.sqrt(variances[:, None] + variances)
    chances = t_sf((means[:, None] - means) / errors, degrees)
    np.fill_diagonal(chances, 1.0)  # no model is worse than itself
    corrected = np.minimum(chances.min(axis=1) * max(len(sizes) - 1, 1), 1.0)
    return dict(zip(values, corrected.tolist(), strict=True))


def _variance(sample: Values, floor: float) -> float:
    return max(float(np.var(sample, ddof=1)), floor**2) if len(sample) > 1 else floor**2
