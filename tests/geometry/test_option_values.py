"""Options by hand: numbers of Python and of numpy are taken, truth values are no numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from stn_core.errors import UsageError
from stn_core.geometry.option_values import positive_number, size_in_pixels, whole_number
from stn_core.geometry.sampling.padding import parse_padding

TAKES_NUMBERS: list[Callable[[Any], object]] = [
    partial(positive_number, "the aspect"),
    partial(whole_number, "the number of steps", least=1),
    lambda side: size_in_pixels("the output", (side, 7)),
    parse_padding,
]


@pytest.mark.parametrize("check", TAKES_NUMBERS)
@pytest.mark.parametrize("truth", [True, np.True_])
def test_a_truth_value_is_no_number(check: Callable[[Any], object], truth: Any) -> None:
    with pytest.raises(UsageError, match="True"):
        check(truth)


@pytest.mark.parametrize("check", TAKES_NUMBERS)
def test_a_number_of_numpys_is_one(check: Callable[[Any], object]) -> None:
    assert check(np.int64(3)) == check(3)
