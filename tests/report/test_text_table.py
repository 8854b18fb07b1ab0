"""Numbers of a table as text."""

import math

import pytest

from stn_core.gate.intervals import Difference
from stn_core.report.text_table import difference_text


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Difference(1.204, 0.8, 1.6), "+1.20 points [+0.80, +1.60]"),
        (Difference(-1.0, -2.5, 0.0), "-1.00 points [-2.50, +0.00]"),
        (Difference(5.0, math.nan, math.nan), "+5.00 points [n/a]"),
        (Difference(12.0, -90.0, 1e9), "+12.00 points [-90.00, >1000]"),
        (Difference(math.nan, math.nan, math.nan), ""),
        (None, ""),
    ],
)
def test_a_difference_is_shown_with_its_interval(difference, text):
    assert difference_text(difference, 2, "points") == text
    assert difference_text(difference, 2) == text.replace(" points", "")
