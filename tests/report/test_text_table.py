"""Numbers of a table as text."""

import math

import pytest

from stn_core.gate.intervals import Difference
from stn_core.report.text_table import aligned_table, difference_text, table_that_fits


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Difference(1.204, 0.8, 1.6), "+1.20 points [+0.80, +1.60]"),
        (Difference(-1.0, -2.5, 0.0), "-1.00 points [-2.50, +0.00]"),
        (Difference(5.0, math.nan, math.nan), "+5.00 points [n/a]"),
        (Difference(12.0, -90.0, 1e9), "+12.00 points [-90.00, >1000]"),
        (Difference(3.0, 2.0, math.inf), "+3.00 points [+2.00, +inf]"),
        (Difference(math.nan, math.nan, math.nan), ""),
        (None, ""),
    ],
)
def test_a_difference_is_shown_with_its_interval(difference, text):
    assert difference_text(difference, 2, "points") == text
    assert difference_text(difference, 2) == text.replace(" points", "")


def test_columns_without_room_are_named_below_the_table():
    rows = [{"model": "stn", "accuracy": "97.65", "test loss": "0.0663"}]
    droppable = ("test loss", "accuracy")
    whole = table_that_fits(rows, 80, droppable, "table.csv")
    assert whole == aligned_table(rows, "simple")
    table, _, note = table_that_fits(rows, 20, droppable, "table.csv").rpartition("\n")
    assert table == aligned_table([{"model": "stn", "accuracy": "97.65"}], "simple")
    assert note == "(also in table.csv: test loss)"


def test_a_text_in_a_markdown_table_stays_text():
    message = r"CRASHED: __init__() got <class 'int'>, a|b *c* `d` [e](f) x_y & \ "
    (_, _, line) = aligned_table([{"verdict": message}], "github").splitlines()
    assert line == (
        r"| CRASHED: \_\_init\_\_() got &lt;class 'int'>, a\|b \*c\* \`d\` \[e\](f) x_y &amp; \\ |"
    )
