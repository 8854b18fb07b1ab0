"""Each verdict when it applies, and only then; judging is a replay of looks."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.gate.judgement import LARGEST_DROP_POINTS, Judgement, Verdict
from stn_core.gate.metrics import MIN_DROP_POINTS, MIN_LOSS_RISE
from stn_core.gate.reasons import advice
from stn_core.session.recipe import Recipe
from tests.examples import CELL, baseline, environment, record
from tests.gate.judging import RULES, STORED, THREE, judge, runs


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
    lower = runs(*[0.99905 - (MIN_DROP_POINTS - 0.05) / 100] * 3)
    assert judge(lower, stored).verdict is Verdict.PASS
    strict = dataclasses.replace(THREE, min_drop_points=0.1)
    judgement = judge(lower, stored, rules=strict)
    assert judgement.verdict is Verdict.REGRESSED
    assert judgement.message.startswith("0.25 points lost (p = ")


def test_a_sure_gain_below_the_floor_is_no_improvement():
    stored = baseline([0.9900, 0.9901] * 10, test_images=10**7)
    gain = (MIN_DROP_POINTS - 0.05) / 100
    assert judge(runs(*[0.99005 + gain] * 3), stored).verdict is Verdict.PASS


def test_a_higher_loss_fails_though_the_accuracy_stayed():
    steady = baseline([0.94, 0.96] * 10)
    factor = 2 * MIN_LOSS_RISE
    judgement = judge(runs(*[0.95] * 3, test_cross_entropy=0.2 * factor), steady)
    assert judgement.verdict is Verdict.REGRESSED
    assert judgement.message.startswith("test loss 110 % higher")
    little = runs(*[0.95] * 3, test_cross_entropy=0.2 * (MIN_LOSS_RISE - 0.01))
    assert judge(little, steady).verdict is Verdict.PASS


def test_the_losses_of_a_nearly_perfect_model_differ_by_rounding():
    """Of 0.0000004 and 0.0000005, which are stored as 0 and 0.000001."""
    perfect = baseline([1.0] * 20)
    stored = tuple(dataclasses.replace(run, cross_entropy=0.0) for run in perfect.runs)
    perfect = dataclasses.replace(perfect, runs=stored)
    for loss, verdict in ((5.1e-7, Verdict.PASS), (1e-3, Verdict.REGRESSED)):
        judgement = judge(runs(*[1.0] * 3, test_cross_entropy=loss), perfect)
        assert judgement.verdict is verdict, judgement.message


def test_halved_errors_are_called_suspicious():
    assert "suspiciously large" in judge(runs(0.99, 0.99, 0.99)).message
    wide = baseline([0.60, 0.61] * 10)
    better = judge(runs(0.66, 0.66, 0.66), wide)
    assert better.verdict is Verdict.IMPROVED
    assert "suspiciously" not in better.message
    assert "--seeds 100-119 --update-baselines" in better.message
    again = baseline([0.60, 0.61] * 30, first_seed=100)
    seen = [record(seed, 0.66) for seed in (100, 101, 102)]
    accept = judge(seen, again, rules=dataclasses.replace(RULES, settles_identical=False)).message
    assert "--seeds 200-259 --update-baselines" in accept


@pytest.mark.parametrize(
    ("dataset", "model", "options"),
    [
        ("digits", "stn", "--dataset digits -k 'digits-stn]'"),
        ("digits", "stn[warp=tps]", "--dataset digits --model 'stn[warp=tps]'"),
        ("my digits", "stn", "--dataset 'my digits' --model stn"),
        ("it's", "stn", """--dataset 'it'"'"'s' --model stn"""),
    ],
)
def test_the_command_that_accepts_an_improvement_is_one_for_a_shell(dataset, model, options):
    cell = dataclasses.replace(CELL, dataset=dataset, model=model)
    said = advice(cell, Judgement(cell.key, Verdict.IMPROVED, baseline=STORED), {})
    assert f"pytest benchmarks --budget smoke {options} --seeds 100-119 " in said


def test_clear_cells_stop_early_and_unclear_ones_need_more_seeds():
    assert judge(runs(0.95, 0.95, 0.951), rules=RULES).verdict is Verdict.PASS
    assert judge(runs(0.80, 0.80, 0.81), rules=RULES).verdict is Verdict.REGRESSED
    assert judge(runs(0.943, 0.943, 0.943), rules=RULES).seeds == (3, 4, 5)
    assert judge(runs(*[0.943] * 6), rules=RULES).seeds == (6, 7, 8, 9)
    assert isinstance(judge(runs(*[0.943] * 10), rules=RULES), Judgement)


@given(
    st.lists(st.floats(0.90, 0.97), min_size=10, max_size=10),
    st.lists(st.floats(0.15, 0.3), min_size=10, max_size=10),
    st.integers(0, 10),
)
def test_more_records_never_change_a_verdict(accuracies, losses, seen):
    found = [
        record(seed, accuracy, test_cross_entropy=loss)
        for seed, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True))
    ]
    first = judge(found[:seen], rules=RULES)
    if isinstance(first, Judgement):
        assert judge(found, rules=RULES) == first


def test_a_metric_that_alarms_does_not_wait_for_one_that_is_unclear():
    accuracies = [0.80, 0.80, 0.80, *[0.95] * 7]
    found = [record(n, a, test_cross_entropy=0.205) for n, a in enumerate(accuracies)]
    for count in (3, 6, 10):
        judgement = judge(found[:count], rules=RULES)
        assert judgement.verdict is Verdict.REGRESSED
        assert len(judgement.records) == 3


def test_the_order_in_which_records_come_does_not_matter():
    found = runs(0.93, 0.94, 0.95, 0.96)
    assert judge(found[::-1], rules=RULES) == judge(found, rules=RULES)


def test_a_drop_of_the_detectable_size_is_detected():
    points = judge(runs(0.95, 0.95, 0.95), rules=RULES).detectable_points
    assert MIN_DROP_POINTS <= points < 5
    # The bound is for seeds that vary; ten that all show the drop leave no doubt at all.
    assert judge(runs(*[0.95 - 1.05 * points / 100] * 10), rules=RULES).verdict is Verdict.REGRESSED


def test_two_stored_runs_detect_almost_nothing():
    assert judge(runs(0.95, 0.95, 0.95), baseline([0.90, 0.99])).detectable_points == 100


@pytest.mark.parametrize("accuracy", [0.004, 0.014, 0.03, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("stored_seeds", [3, 5, 20])
def test_a_drop_of_more_than_the_accuracy_is_not_detectable(accuracy, stored_seeds):
    spread = np.random.default_rng(2).normal(0, 0.2 * min(accuracy, 1 - accuracy), stored_seeds)
    stored = baseline(list(accuracy + spread), test_images=784)
    found = runs(*[accuracy] * 10, test_images=784)
    points = judge(found, stored, rules=RULES).detectable_points
    assert 0 < points < 100 * np.mean(stored.accuracies) or points == LARGEST_DROP_POINTS
    must = dataclasses.replace(RULES, must_detect_points=99.9)
    seen = judge(found, stored, rules=must)
    assert (seen.verdict is Verdict.BLIND) == (seen.detectable_points == LARGEST_DROP_POINTS)


def test_a_cell_in_which_nearly_all_images_are_wrong_cannot_show_the_drop_that_it_must():
    stored = baseline(list(np.linspace(0.008, 0.02, 10)), test_images=784)
    must = dataclasses.replace(RULES, must_detect_points=10.0)
    blind = judge(runs(*[0.014] * 10, test_images=784), stored, rules=must)
    assert blind.verdict is Verdict.BLIND
    assert blind.message.startswith("10 seeds would not have shown any drop, however large; ")


def test_speed_is_compared_on_the_same_device_only():
    strict = dataclasses.replace(THREE, gates_speed=True)
    elsewhere = environment(device_name="another processor")
    slow = runs(0.95, 0.95, 0.95, train_seconds=4.0, environment=elsewhere)
    assert judge(slow, rules=strict).verdict is Verdict.PASS


def test_no_baseline_is_new():
    assert judge(runs(0.5, 0.5, 0.5), None).verdict is Verdict.NEW
    assert judge([], None, rules=RULES).seeds == (0, 1, 2)


def test_a_search_is_new_and_shows_validation():
    cell = dataclasses.replace(CELL, recipe=Recipe(epochs=9), is_search=True)
    judgement = judge(runs(None, None, None, cell=cell), cell=cell)
    assert judgement.verdict is Verdict.NEW
    assert judgement.accuracies == [0.9, 0.9, 0.9]
    assert "on validation" in judgement.line


def test_another_recipe_or_other_data_is_stale_before_anything_ran():
    other = dataclasses.replace(CELL, recipe=Recipe(epochs=9))
    assert judge([], cell=other).verdict is Verdict.STALE
    assert judge([], data_hash="another").verdict is Verdict.STALE
    assert judge([]).seeds == (0, 1, 2)


@pytest.mark.parametrize("status", ["diverged", "crashed"])
def test_a_failed_run_fails_with_its_reason(status):
    failed = record(2, None, status=status, message="because")
    judgement = judge([*runs(0.95, 0.95), failed])
    assert judgement.verdict is Verdict(status.upper())
    assert "seed 2: because" in judgement.line
    assert not judgement.verdict.passes


def test_a_regression_says_what_it_was_compared_with_and_which_limit_it_crossed():
    judgement = judge(runs(0.90, 0.91, 0.90))
    words = r"([\d.]+) points lost .*baseline ([\d.]+) %, limit ([\d.]+) points"
    found = re.search(words, judgement.message)
    lost, mean, limit = map(float, found.groups())
    assert mean == round(100 * np.mean(judgement.baseline.accuracies), 2)
    assert 0.3 <= limit < lost
    # Just inside of the limit a drop passes, just outside it does not.
    for points, verdict in ((0.8 * limit, Verdict.PASS), (1.25 * limit, Verdict.REGRESSED)):
        near = runs(*[mean / 100 - points / 100] * 3)
        assert judge(near, rules=dataclasses.replace(THREE, looks=(3,))).verdict is verdict


def test_a_gain_is_told_of_the_runs_that_showed_it():
    """One metric is decided by the first run, and the other needs all of them."""
    rules = dataclasses.replace(RULES, looks=(1, 2, 10))
    found = judge(runs(0.995, *[0.955] * 9, test_cross_entropy=0.214), rules=rules)
    assert len(found.records) == 10
    assert found.verdict is Verdict.IMPROVED
    assert "4.50 points gained (p = " in found.message
