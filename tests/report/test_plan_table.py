"""A plan says what is still to be trained, and how long that takes."""

import dataclasses
import math

import pytest

from stn_core.report.plan_table import measured_speed, plan_table
from tests.examples import CELL, record


def test_a_plan_says_how_long_it_takes():
    new = dataclasses.replace(CELL, model="new")
    left = {CELL.key: (1, 10), new.key: (3, 3)}
    seconds = {CELL.key: 2.0, new.key: math.inf}
    lines = plan_table([CELL, new], left, seconds)
    first, second, _, total = lines.splitlines()[2:]
    assert first.split() == ["digits", "stn", "2", "1", "to", "10", "2.0", "0.0", "to", "0.3"]
    assert second.split() == ["digits", "new", "2", "3", "unknown"]
    assert total == ("2 cells, 0.0 to 0.3 minutes of training on 1 worker, plus 1 never measured")
    alone = plan_table([new], left, seconds).splitlines()[-1]
    assert alone == "1 cell, an unknown time of training on 1 worker"


@pytest.mark.parametrize(
    ("cells", "minutes"), [(1, "2.0 to 4.0"), (3, "2.0 to 4.0"), (8, "4.0 to 8.0")]
)
def test_workers_share_the_cells_but_not_the_seeds_of_one(cells, minutes):
    planned = [dataclasses.replace(CELL, model=f"model{number}") for number in range(cells)]
    left = {cell.key: (60, 120) for cell in planned}
    total = plan_table(planned, left, dict.fromkeys(left, 2.0), workers=4).splitlines()[-1]
    assert f", {minutes} minutes of training on 4 workers" in total


def test_the_speed_of_a_machine_is_the_median_of_its_good_runs_over_the_stored_times():
    stored = {CELL.key: 4.0, "smoke/digits/new": math.inf}
    runs = [record(seed, train_seconds=seconds) for seed, seconds in enumerate((2.0, 6.0, 100.0))]
    failed = record(3, status="crashed", train_seconds=0.1)
    unknown = record(0, cell=dataclasses.replace(CELL, model="new"))
    assert measured_speed([*runs, failed, unknown], stored) == (pytest.approx(1.5), 3)
    assert measured_speed([unknown], stored) == (1.0, 0)
