"""The words of the command line that have a grammar of their own."""

import pytest

from stn_core.errors import UsageError
from stn_core.suite.options import parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (0, 1, 2)),
        ("3,", (3,)),
        ("0,3,7", (0, 3, 7)),
        ("10-12", (10, 11, 12)),
        ("0,10-12", (0, 10, 11, 12)),
    ],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "0", "-1", "a", "3,3", "1-3,2", "5-3", "1.5", ","])
def test_seeds_that_make_no_sense(text):
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)
