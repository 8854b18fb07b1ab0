"""A cell is compared with the cell of the same name, and with no other."""

from pathlib import Path

import pytest

from stn_core.errors import UsageError
from stn_core.gate.baselines import BaselineRun
from stn_core.report.comparison import pair_cells
from stn_core.report.sources import CellRuns, Source

RUN = BaselineRun(0, 0.9, 0.2, 2.0, "place", "cpu", "digest")


def source(*names):
    """A side with these cells, each ``budget/dataset/model`` or ``budget/dataset/model/device``."""
    cells = [
        CellRuns(*(f"{name}/cpu".split("/")[:4]), "recipe", "data", 500, (RUN,)) for name in names
    ]
    return Source(Path("side"), tuple(cells), {}, ())


def paired(ours, theirs):
    return [
        tuple(side and f"{side.key}/{side.device}" for side in pair)
        for pair in pair_cells(source(*ours), source(*theirs))
    ]


def test_the_same_budget_is_preferred_and_the_rest_stands_alone():
    assert paired(["smoke/d/a", "quick/d/b"], ["smoke/d/a", "smoke/d/b"]) == [
        ("quick/d/b/cpu", None),
        ("smoke/d/a/cpu", "smoke/d/a/cpu"),
        (None, "smoke/d/b/cpu"),
    ]


def test_without_a_common_cell_budgets_are_compared():
    assert paired(["smoke/d/b", "smoke/d/a"], ["quick/d/b", "full/d/c"]) == [
        ("smoke/d/a/cpu", None),
        ("smoke/d/b/cpu", "quick/d/b/cpu"),
        (None, "full/d/c/cpu"),
    ]


def test_ambiguous_budgets_are_not_guessed():
    with pytest.raises(UsageError, match="side holds d/a in quick and smoke: it is unclear"):
        paired(["smoke/d/a", "quick/d/a"], ["full/d/a"])
    both_alone = paired(["smoke/d/a", "quick/d/a", "quick/d/b"], ["full/d/b"])
    assert both_alone.count(("smoke/d/a/cpu", None)) == 1
    assert len(both_alone) == 3


def test_cells_of_the_same_device_are_paired_first():
    assert paired(["s/d/a/cpu", "s/d/a/cuda"], ["s/d/a/cuda"]) == [
        ("s/d/a/cpu", None),
        ("s/d/a/cuda", "s/d/a/cuda"),
    ]
    assert paired(["s/d/a/cpu"], ["s/d/a/cuda"]) == [("s/d/a/cpu", "s/d/a/cuda")]
    assert paired(["s/d/a/cpu", "s/d/a/cuda"], ["s/d/a/mps"]) == [
        ("s/d/a/cpu", None),
        ("s/d/a/cuda", None),
        (None, "s/d/a/mps"),
    ]


def test_sides_without_a_common_cell_are_refused():
    with pytest.raises(UsageError, match="no cell in common: s/d/a is one of the first, s/d/b one"):
        paired(["s/d/a"], ["s/d/b"])
