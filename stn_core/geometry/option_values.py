"""The numbers that a person gives as options, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TypeGuard

import numpy as np

from stn_core.errors import UsageError


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number, also one of numpy's; True and False are none.

    >>> is_number(np.float32(0.5)), is_number(True)
    (True, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, also one of numpy's; True and False are none.

    >>> is_whole_number(np.int64(3)), is_whole_number(3.0), is_whole_number(True)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def positive_number(what: str, value: object) -> float:
    """A positive number, also one of numpy's.

    >>> positive_number("the aspect", 1)
    1.0

    Args:
        what: what the number is, in the user's words.
        value: what was given.

    Raises:
        UsageError: it is no number, not positive or not finite.
    """
    if not is_number(value) or not 0 < float(value) < math.inf:
        raise UsageError(f"{what} must be positive and finite; got {value!r}")
    return float(value)


def whole_number(what: str, value: object, least: int) -> int:
    """A whole number, also one of numpy's.

    >>> whole_number("the number of steps", 4, least=1)
    4

    Args:
        what: what needs it and what it is, in the user's words.
        value: what was given.
        least: the smallest that is accepted.

    Raises:
        UsageError: it is no whole number, or smaller.
    """
    if not is_whole_number(value) or value < least:
        raise UsageError(f"{what} must be a whole number of at least {least}; got {value!r}")
    return int(value)


def true_or_false(what: str, value: object) -> bool:
    """A truth value, also numpy's; a text such as "no" is none.

    >>> true_or_false("whether points slide", False)
    False

    Args:
        what: what it decides, in the user's words.
        value: what was given.

    Raises:
        UsageError: it is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise UsageError(f"{what} must be True or False; got {value!r}")
    return bool(value)


def size_in_pixels(what: str, value: object) -> tuple[int, int]:
    """A height and a width in pixels, also numpy's.

    >>> size_in_pixels("the output", [28, 35])
    (28, 35)

    Args:
        what: what has that size, in the user's words.
        value: what was given.

    Raises:
        UsageError: it is not two whole numbers of at least 1.
    """
    sides = list(value) if isinstance(value, Sequence) else []
    if len(sides) != 2 or not all(is_whole_number(n) and n > 0 for n in sides):
        raise UsageError(f"{what} is (height, width) in pixels, not {value!r}")
    return int(sides[0]), int(sides[1])
