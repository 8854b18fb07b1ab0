"""The robustness benchmark on a user's model: what it writes and shows, and a test set unused."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from stn_core.training.robustness import CHANGES
from tests.nightly import mostly_nightly

pytest_plugins = ["pytester"]

REPOSITORY = Path(__file__).parents[2]
AMOUNTS = sum(len(change.amounts) for change in CHANGES)


@pytest.fixture
def robustness(bench, pytester):
    """Run the benchmark on a tiny model; what was printed, and the rows that it left."""
    for part in ("conftest.py", "benchmarks/test_robustness.py"):
        shutil.copy(REPOSITORY / part, pytester.path)
    pytester.makeini("[pytest]\nmarkers =\n    robustness: on changed images")

    def run(*arguments):
        chosen = ["test_robustness.py", "-m", "robustness", "-k", "digits-tiny]"]
        session = bench(*chosen, *arguments)
        session.assert_outcomes(passed=1, deselected=session.parseoutcomes()["deselected"])
        (folder,) = pytester.path.glob("results/*")
        assert (folder / "figures" / "robustness-digits.svg").is_file()
        return session.stdout.str(), pd.read_csv(folder / "robustness.csv")

    return run


def test_every_seed_looks_at_every_change_of_the_test_images(robustness):
    shown, rows = robustness("--seeds", "2")
    assert rows.groupby("seed").size().to_dict() == {0: AMOUNTS, 1: AMOUNTS}
    assert set(rows["images"]) == {"test"}
    for change in CHANGES:
        assert f"{change.name}, {change.unit}; test images" in shown
    turned = rows[rows["change"] == "rotation"].groupby("amount")["accuracy"].mean()
    assert turned[0] > 0.85
    assert turned[90] < 0.5


@pytest.mark.parametrize(
    ("final", "images"),
    mostly_nightly([((), "validation"), (("--final",), "test")], on_every_run=[((), "validation")]),
)
def test_a_search_does_not_use_the_test_set(robustness, final, images):
    shown, rows = robustness("--seeds", "1", "--epochs", "1", *final)
    assert set(rows["images"]) == {images}
    assert f"; {images} images" in shown
    (unchanged,) = rows[(rows["change"] == "rotation") & (rows["amount"] == 0)]["accuracy"]
    of_each = {"validation": 200, "test": 500}[images]
    assert unchanged * of_each == pytest.approx(round(unchanged * of_each))


def test_it_measures_the_cells_that_the_options_name(bench, pytester):
    shutil.copy(REPOSITORY / "benchmarks" / "test_robustness.py", pytester.path)
    pytester.makeini("[pytest]\nmarkers =\n    robustness: on changed images")
    chosen = ["--dataset", "digits", "--model", "tiny,stn[warp=tps]"]
    found = bench("test_robustness.py", "-m", "robustness", "--collect-only", "-q", *chosen)
    cells = ("digits-tiny", "digits-stn[warp=tps]")
    tests = [f"test_robustness.py::test_robustness[{cell}]" for cell in cells]
    assert [line for line in found.outlines if "::" in line] == tests
