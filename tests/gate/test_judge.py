"""Each verdict where it is due, and only there; judging is a replay of looks."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.gate.baselines import Baselines
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import Judgement, SeedsNeeded, Verdict, accuracy_text
from stn_core.gate.metrics import MIN_DROP_POINTS, MIN_LOSS_RISE, Metric
from stn_core.gate.rules import Rules
from stn_core.session.metrics import MetricInfo
from stn_core.session.recipe import Recipe
from tests.examples import CELL, DATA_HASH, baseline, environment, record

STORED = baseline(list(np.linspace(0.94, 0.96, 20)))
RULES = Rules(seeds=tuple(range(10)), looks=(3, 6, 10), matrix_size=18)
THREE = Rules(seeds=(0, 1, 2), looks=(3,), matrix_size=18, are_named=True)


def judge(records, stored=STORED, cell=CELL, rules=THREE, data_hash=DATA_HASH, digests=None):
    cells = {CELL.key: stored} if stored else {}
    place = environment()
    baselines = Baselines(cells, {place.key(): place.place()})
    return Judge(rules, baselines, "smoke", "cpu", digests or {}).judge(cell, records, data_hash)


def runs(*accuracies, **changes):
    return [record(seed, accuracy, **changes) for seed, accuracy in enumerate(accuracies)]


def with_digests(stored):
    same = tuple(dataclasses.replace(run, digest=f"digest-{run.seed}") for run in stored.runs)
    return dataclasses.replace(stored, runs=same)


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


def test_halved_errors_are_called_suspicious():
    assert "suspiciously large" in judge(runs(0.99, 0.99, 0.99)).message
    wide = baseline([0.60, 0.61] * 10)
    better = judge(runs(0.66, 0.66, 0.66), wide)
    assert better.verdict is Verdict.IMPROVED
    assert "suspiciously" not in better.message
    assert "--seeds 100-119 --update-baselines" in better.message
    again = baseline([0.60, 0.61] * 30, first_seed=100)
    seen = [record(seed, 0.66) for seed in (100, 101, 102)]
    advice = judge(seen, again, rules=dataclasses.replace(RULES, settles_identical=False)).message
    assert "--seeds 200-259 --update-baselines" in advice


def test_a_seed_that_comes_twice_is_not_two_runs():
    assert judge([record(0), record(0), record(1)]).seeds == (2,)


def test_where_the_seeds_it_needs_never_run_a_cell_is_missing_or_has_crashed():
    needed = judge([record(0)])
    assert needed == SeedsNeeded(CELL.key, (1, 2), 3, (record(0),), STORED)
    missing = needed.closed()
    assert (missing.verdict, missing.message) == (
        Verdict.MISSING,
        "1 of 3 planned runs came back",
    )
    crashed = needed.closed(Verdict.CRASHED, "killed")
    assert (crashed.verdict, crashed.message) == (Verdict.CRASHED, "killed")
    assert missing.records == crashed.records == (record(0),)


def test_equal_digests_are_identical():
    stored = with_digests(STORED)
    assert judge(runs(0.95, 0.95, 0.95), stored).verdict is Verdict.IDENTICAL
    changed = [*runs(0.95, 0.95), record(2, 0.95, digest="another")]
    assert judge(changed, stored).verdict is Verdict.PASS


def test_one_repeated_run_settles_a_cell_where_seeds_are_spent_one_by_one():
    stored = with_digests(STORED)
    assert judge([], stored, rules=RULES).seeds == (0,)
    settled = judge(runs(0.95), stored, rules=RULES)
    assert settled.verdict is Verdict.IDENTICAL
    assert settled.difference_points is None  # one seed's luck is no difference
    other_place = runs(0.95, environment=environment(instruction_set="AVX512"))
    assert judge(other_place, stored, rules=RULES).seeds == (1, 2)


def test_the_seeds_of_the_baseline_come_first_so_that_a_run_can_be_identical():
    accepted = with_digests(baseline([0.95, 0.96] * 10, first_seed=100))
    assert judge([], accepted, rules=RULES).seeds == (100,)
    assert judge([record(100, 0.95)], accepted, rules=RULES).verdict is Verdict.IDENTICAL
    changed = [record(100, 0.95, digest="another")]
    assert judge(changed, accepted, rules=RULES).seeds == (101, 102)
    every = [record(seed, 0.95, digest="another") for seed in range(200)]
    seen = judge(every, accepted, rules=RULES).records
    assert [run.seed for run in seen] == [100, 101, 102]


def test_where_the_baseline_has_too_few_seeds_the_rules_go_on():
    few = baseline([0.95, 0.96, 0.94, 0.95], first_seed=7)
    seeds = Judge(RULES, Baselines({CELL.key: few}, {}), "smoke", "cpu").seeds(CELL)
    assert seeds == (7, 8, 9, 10, 0, 1, 2, 3, 4, 5)


def test_seeds_that_the_user_names_are_the_seeds():
    named = Rules(seeds=(3, 1), looks=(2,), matrix_size=18, are_named=True)
    assert judge([], rules=named).seeds == (3, 1)


def test_a_budget_of_one_look_names_no_seeds():
    once = dataclasses.replace(THREE, are_named=False)
    accepted = with_digests(baseline([0.95, 0.96] * 10, first_seed=100))
    assert judge([], accepted, rules=once).seeds == (100,)
    assert judge([record(100, 0.95)], accepted, rules=once).verdict is Verdict.IDENTICAL


def test_what_is_left_to_train():
    def left(cell, records, stored=STORED):
        judge = Judge(RULES, Baselines({CELL.key: stored}, {}), "smoke", "cpu")
        return judge.seeds_left(cell, records)

    unknown = dataclasses.replace(CELL, model="unknown")
    stale = dataclasses.replace(CELL, recipe=Recipe(epochs=9))
    assert left(CELL, []) == (1, 10)
    assert left(CELL, runs(0.95)) == (2, 9)
    assert left(CELL, runs(0.95), with_digests(STORED)) == (0, 0)
    assert left(CELL, runs(0.95, 0.95, 0.95)) == (0, 0)
    assert left(unknown, []) == (3, 3)
    assert left(unknown, [record(1, cell=unknown)]) == (2, 2)
    assert left(stale, []) == (0, 0)


def test_statistics_decide_where_identity_is_not_to_count():
    rules = dataclasses.replace(RULES, settles_identical=False)
    assert judge(runs(0.95), with_digests(STORED), rules=rules).seeds == (1, 2)


def test_a_cached_digest_counts_like_a_stored_one():
    place, fingerprint = environment().key(), STORED.fingerprint
    cached = {(place, CELL.key, fingerprint, 0): "digest-0"}
    assert judge(runs(0.95), rules=RULES, digests=cached).verdict is Verdict.IDENTICAL
    elsewhere = {("another place", CELL.key, fingerprint, 0): "digest-0"}
    assert judge(runs(0.95), rules=RULES, digests=elsewhere).seeds == (1, 2)


def test_a_cached_digest_counts_only_against_the_baseline_it_passed_against():
    cached = {(environment().key(), CELL.key, STORED.fingerprint, 0): "digest-0"}
    higher = baseline(list(np.linspace(0.98, 0.99, 20)))
    assert judge(runs(0.95), higher, rules=RULES, digests=cached).seeds == (1, 2)
    worse = judge(runs(0.95, 0.95, 0.95), higher, rules=RULES, digests=cached)
    assert worse.verdict is Verdict.REGRESSED


SHARE = MetricInfo("invariance", floor=0.01)
BY_SHARE = dataclasses.replace(RULES, metrics=(SHARE,))


def with_shares(stored, share, environment=None):
    same = tuple(
        dataclasses.replace(
            run,
            metrics={"invariance": share - 0.0001 * run.seed},
            environment=environment or run.environment,
        )
        for run in stored.runs
    )
    return dataclasses.replace(stored, runs=same)


def test_equal_digests_settle_nothing_where_a_judged_metric_differs():
    stored = with_shares(with_digests(STORED), 0.9)
    same, lost = (runs(0.95, metrics={"invariance": share}) for share in (0.9, 0.8))
    assert judge(same, stored, rules=BY_SHARE).verdict is Verdict.IDENTICAL
    assert judge(lost, stored, rules=BY_SHARE).seeds == (1, 2)
    assert judge(lost, stored, rules=RULES).verdict is Verdict.IDENTICAL
    lost = runs(0.95, 0.95, 0.95, metrics={"invariance": 0.8})
    assert judge(lost, stored, rules=BY_SHARE).verdict is Verdict.REGRESSED


def test_a_cached_digest_says_nothing_of_a_judged_metric():
    stored = with_shares(STORED, 0.9, environment(instruction_set="AVX512").key())
    cached = {(environment().key(), CELL.key, stored.fingerprint, 0): "digest-0"}
    lost = runs(0.95, metrics={"invariance": 0.8})
    assert judge(lost, stored, rules=RULES, digests=cached).verdict is Verdict.IDENTICAL
    assert judge(lost, stored, rules=BY_SHARE, digests=cached).seeds == (1, 2)
    without = {(environment().key(), CELL.key, STORED.fingerprint, 0): "digest-0"}
    assert judge(lost, rules=BY_SHARE, digests=without).verdict is Verdict.IDENTICAL


def test_a_run_without_a_digest_repeats_nothing():
    blind = [record(seed, 0.95, digest=None) for seed in range(3)]
    assert judge(blind[:1], rules=RULES).seeds == (1, 2)
    assert judge(blind, rules=THREE).verdict is Verdict.PASS


def test_what_is_clear_stops_early_and_what_is_not_wants_more():
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


def test_what_could_have_been_caught_is_said_and_is_caught():
    points = judge(runs(0.95, 0.95, 0.95), rules=RULES).detectable_points
    assert MIN_DROP_POINTS <= points < 5
    # The bound is for seeds that vary; ten that all show the drop leave no doubt at all.
    assert judge(runs(*[0.95 - 1.05 * points / 100] * 10), rules=RULES).verdict is Verdict.REGRESSED


def test_two_stored_runs_see_next_to_nothing_and_say_so():
    assert judge(runs(0.95, 0.95, 0.95), baseline([0.90, 0.99])).detectable_points == 100


def test_speed_is_advice_unless_it_is_judged():
    stored = with_digests(STORED)
    slow = runs(0.95, 0.95, 0.95, train_seconds=2 * 2.0)
    advised = judge(slow, stored, rules=RULES)
    assert advised.verdict is Verdict.IDENTICAL
    strict = dataclasses.replace(RULES, gates_speed=True)
    assert judge(slow[:1], stored, rules=strict).seeds == (1, 2)
    failed = judge(slow, stored, rules=strict)
    assert failed.verdict is Verdict.REGRESSED
    assert failed.message == "training took 2.00 times as long as stored"
    assert judge(runs(0.95, 0.95, 0.95), stored, rules=strict).verdict is Verdict.IDENTICAL


def test_speed_is_compared_on_the_same_device_only():
    strict = dataclasses.replace(THREE, gates_speed=True)
    elsewhere = environment(device_name="another processor")
    slow = runs(0.95, 0.95, 0.95, train_seconds=4.0, environment=elsewhere)
    assert judge(slow, rules=strict).verdict is Verdict.PASS


def test_the_level_depends_on_the_matrix_and_on_what_is_judged():
    assert THREE.level == pytest.approx(0.006 / 36)
    assert dataclasses.replace(THREE, gates_speed=True).level == pytest.approx(0.006 / 54)


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


def test_what_fails_a_session():
    passing = {verdict for verdict in Verdict if verdict.passes}
    assert passing == {
        *(Verdict.PASS, Verdict.IDENTICAL, Verdict.IMPROVED, Verdict.NEW, Verdict.SKIPPED)
    }


def test_every_metric_has_a_spread_even_where_the_runs_have_none():
    perfect = baseline([1.0] * 5)
    for metric in Metric:
        assert metric.least_deviation(perfect.runs, 500) > 0
        assert np.isfinite(metric.badness(perfect.runs, 500)).all()


def test_accuracies_in_words():
    assert accuracy_text([0.95, 0.97]) == "96.00 ± 1.41 (2)"
    assert accuracy_text([0.95]) == "95.00 (1)"
    assert accuracy_text([]) == ""


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
