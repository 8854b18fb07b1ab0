"""The numbers that a family takes as options, checked."""

from __future__ import annotations

import math
from numbers import Integral, Real

from stn_core.errors import UsageError


def positive_number(what: str, value: object) -> float:
    """A positive number, also one of numpy's.

    Args:
        what: what the number is, in the user's words.
        value: what was given.

    Raises:
        UsageError: it is no number, not positive or not finite.
    """
    if not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise UsageError(f"{what} must be positive and finite; got {value!r}")
    return float(value)


def whole_number(what: str, value: object, least: int) -> int:
    """A whole number, also one of numpy's.

    Args:
        what: what needs it and what it is, in the user's words.
        value: what was given.
        least: the smallest that is accepted.

    Raises:
        UsageError: it is no whole number, or smaller.
    """
    if not isinstance(value, Integral) or value < least:
        raise UsageError(f"{what} must be a whole number of at least {least}; got {value!r}")
    return int(value)
