"""A plan says what is still to be trained, and how long that takes."""

import dataclasses

from stn_core.gate.baselines import Baselines
from stn_core.report.plan_table import plan_table
from tests.examples import CELL, baseline


def test_a_plan_says_how_long_it_takes():
    new = dataclasses.replace(CELL, model="new")
    left = {CELL.key: (1, 10), new.key: (3, 3)}
    lines = plan_table([CELL, new], left, Baselines({CELL.key: baseline([0.9] * 3)}, {}), "cpu")
    first, second, _, total = lines.splitlines()[2:]
    assert first.split() == ["digits", "stn", "2", "1", "to", "10", "2.0", "0.0", "to", "0.3"]
    assert second.split() == ["digits", "new", "2", "3", "unknown"]
    assert total == "2 cells, 0.0 to 0.3 minutes of training, plus 1 that were never measured"
    assert plan_table([new], left, Baselines({}, {}), "cpu").splitlines()[-1].startswith("1 cell, ")
