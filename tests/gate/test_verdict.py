"""Each verdict where it is due, and only there."""

import dataclasses

import numpy as np
import pytest

from stn_core.gate.verdict import MIN_POINTS, Verdict, accuracy_text, judge_cell
from stn_core.recipe import Recipe
from tests.examples import CELL, DATA_HASH, baseline, record

STORED = baseline(list(np.linspace(0.94, 0.96, 20)))


def judge(records, stored=STORED, cell=CELL, seeds=(0, 1, 2), data_hash=DATA_HASH):
    return judge_cell(cell, records, stored, data_hash=data_hash, seeds=seeds, cells=18)


def runs(*accuracies, **changes):
    return [record(seed, accuracy, **changes) for seed, accuracy in enumerate(accuracies)]


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((0.95, 0.95, 0.95), Verdict.PASS),
        ((0.94, 0.95, 0.945), Verdict.PASS),
        ((0.90, 0.91, 0.90), Verdict.REGRESSED),
        ((0.10, 0.10, 0.10), Verdict.REGRESSED),
        ((0.99, 1.00, 1.00), Verdict.IMPROVED),
    ],
)
def test_accuracy_decides(accuracies, verdict):
    assert judge(runs(*accuracies)).verdict is verdict


def test_a_significant_drop_below_the_floor_passes():
    stored = baseline([0.9990, 0.9991] * 10, test_images=10**7)
    drop = (MIN_POINTS - 0.05) / 100
    judgement = judge(runs(*[0.99905 - drop] * 3), stored)
    assert judgement.tolerance_points < -judgement.difference_points
    assert judgement.verdict is Verdict.PASS


def test_a_sure_gain_below_the_floor_is_no_improvement():
    stored = baseline([0.9900, 0.9901] * 10, test_images=10**7)
    gain = (MIN_POINTS - 0.05) / 100
    assert judge(runs(*[0.99005 + gain] * 3), stored).verdict is Verdict.PASS


def test_a_seed_that_comes_twice_is_not_two_runs():
    assert judge([record(0), record(0), record(1)]).verdict is Verdict.MISSING


def test_equal_digests_are_identical():
    stored = dataclasses.replace(
        STORED,
        runs=tuple(dataclasses.replace(run, digest=f"digest-{run.seed}") for run in STORED.runs),
    )
    assert judge(runs(0.95, 0.95, 0.95), stored).verdict is Verdict.IDENTICAL
    changed = [*runs(0.95, 0.95), record(2, 0.95, digest="another")]
    assert judge(changed, stored).verdict is Verdict.PASS


def test_no_baseline_is_new():
    assert judge(runs(0.5, 0.5, 0.5), None).verdict is Verdict.NEW


def test_a_search_is_new_and_shows_validation():
    cell = dataclasses.replace(CELL, recipe=Recipe(epochs=9), is_search=True)
    found = runs(None, None, None, cell=cell)
    judgement = judge(found, cell=cell)
    assert judgement.verdict is Verdict.NEW
    assert judgement.accuracies == [0.9, 0.9, 0.9]
    assert "on validation" in judgement.line


def test_another_recipe_or_other_data_is_stale_before_anything_ran():
    other = dataclasses.replace(CELL, recipe=Recipe(epochs=9))
    assert judge([], cell=other).verdict is Verdict.STALE
    assert judge([], data_hash="another").verdict is Verdict.STALE
    assert judge([]).verdict is Verdict.MISSING


def test_a_run_that_did_not_come_back_is_missing():
    judgement = judge(runs(0.95, 0.95))
    assert judgement.verdict is Verdict.MISSING
    assert "2 of 3" in judgement.message


@pytest.mark.parametrize("status", ["diverged", "crashed"])
def test_a_failed_run_fails_with_its_reason(status):
    failed = record(2, None, status=status, message="because")
    judgement = judge([*runs(0.95, 0.95), failed])
    assert judgement.verdict is Verdict(status.upper())
    assert "seed 2: because" in judgement.line
    assert not judgement.verdict.passes


def test_what_fails_a_session():
    passing = {verdict for verdict in Verdict if verdict.passes}
    assert passing == {Verdict.PASS, Verdict.IDENTICAL, Verdict.IMPROVED, Verdict.NEW}


def test_accuracies_in_words():
    assert accuracy_text([0.95, 0.97]) == "96.00 ± 1.41 (2)"
    assert accuracy_text([0.95]) == "95.00 (1)"
    assert accuracy_text([]) == ""
