"""A cell whose runs repeat the stored ones needs no statistics: what counts as a repetition."""

import dataclasses

import numpy as np

from stn_core.gate.digests import PassedRun
from stn_core.gate.judgement import Verdict
from stn_core.session.metrics import MetricInfo
from tests.examples import CELL, baseline, environment, record
from tests.gate.judging import RULES, STORED, THREE, judge, runs, with_digests

PASSED = PassedRun("digest-0", accuracy=0.95, cross_entropy=0.2)
BY_SHARE = dataclasses.replace(RULES, metrics=(MetricInfo("invariance", floor=0.01),))


def test_equal_digests_are_identical():
    stored = with_digests(STORED)
    assert judge(runs(0.95, 0.95, 0.95), stored).verdict is Verdict.IDENTICAL
    changed = [*runs(0.95, 0.95), record(2, 0.95, digest="another")]
    assert judge(changed, stored).verdict is Verdict.PASS


def test_one_repeated_run_settles_a_cell_if_seeds_run_one_by_one():
    stored = with_digests(STORED)
    assert judge([], stored, rules=RULES).seeds == (0,)
    settled = judge(runs(0.95), stored, rules=RULES)
    assert settled.verdict is Verdict.IDENTICAL
    assert settled.difference_points is None  # one seed's luck is no difference
    other_place = runs(0.95, environment=environment(instruction_set="AVX512"))
    assert judge(other_place, stored, rules=RULES).seeds == (1, 2)


def test_statistics_decide_if_identical_runs_do_not_count():
    rules = dataclasses.replace(RULES, settles_identical=False)
    assert judge(runs(0.95), with_digests(STORED), rules=rules).seeds == (1, 2)


def test_a_cached_digest_counts_like_a_stored_one():
    place, fingerprint = environment().key(), STORED.fingerprint
    cached = {(place, CELL.key, fingerprint, 0): PASSED}
    assert judge(runs(0.95), rules=RULES, digests=cached).verdict is Verdict.IDENTICAL
    elsewhere = {("another place", CELL.key, fingerprint, 0): PASSED}
    assert judge(runs(0.95), rules=RULES, digests=elsewhere).seeds == (1, 2)


def test_a_cached_digest_counts_only_against_the_baseline_it_passed_against():
    cached = {(environment().key(), CELL.key, STORED.fingerprint, 0): PASSED}
    higher = baseline(list(np.linspace(0.98, 0.99, 20)))
    assert judge(runs(0.95), higher, rules=RULES, digests=cached).seeds == (1, 2)
    worse = judge(runs(0.95, 0.95, 0.95), higher, rules=RULES, digests=cached)
    assert worse.verdict is Verdict.REGRESSED


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


def test_equal_digests_do_not_settle_a_cell_if_a_judged_metric_differs():
    stored = with_shares(with_digests(STORED), 0.9)
    same, lost = (runs(0.95, metrics={"invariance": share}) for share in (0.9, 0.8))
    assert judge(same, stored, rules=BY_SHARE).verdict is Verdict.IDENTICAL
    assert judge(lost, stored, rules=BY_SHARE).seeds == (1, 2)
    assert judge(lost, stored, rules=RULES).verdict is Verdict.IDENTICAL
    lost = runs(0.95, 0.95, 0.95, metrics={"invariance": 0.8})
    assert judge(lost, stored, rules=BY_SHARE).verdict is Verdict.REGRESSED


def test_a_metric_that_cannot_fail_an_identical_cell_is_named():
    stored = with_digests(STORED)
    measured = runs(0.95, metrics={"invariance": 0.9})
    never = judge(measured, stored, rules=BY_SHARE)
    assert never.verdict is Verdict.IDENTICAL
    assert never.message == "not judged by invariance: no stored values"
    lost = judge(runs(0.95), with_shares(stored, 0.9), rules=BY_SHARE)
    assert lost.message == "not judged by invariance: these runs have no values"
    assert judge(measured, with_shares(stored, 0.9), rules=BY_SHARE).message == ""
    assert judge(measured, stored, rules=RULES).message == ""


def test_a_metric_that_cannot_fail_a_cell_that_passes_is_named():
    rules = dataclasses.replace(BY_SHARE, settles_identical=False)
    measured = runs(0.95, 0.95, 0.95, metrics={"invariance": 0.9})
    assert judge(measured, rules=rules).message == "not judged by invariance: no stored values"
    lost = judge(runs(0.95, 0.95, 0.95), with_shares(STORED, 0.9), rules=rules)
    assert lost.verdict is Verdict.PASS
    assert lost.message == "not judged by invariance: these runs have no values"


def test_a_cached_digest_does_not_settle_a_judged_metric():
    stored = with_shares(STORED, 0.9, environment(instruction_set="AVX512").key())
    cached = {(environment().key(), CELL.key, stored.fingerprint, 0): PASSED}
    lost = runs(0.95, metrics={"invariance": 0.8})
    assert judge(lost, stored, rules=RULES, digests=cached).verdict is Verdict.IDENTICAL
    assert judge(lost, stored, rules=BY_SHARE, digests=cached).seeds == (1, 2)
    without = {(environment().key(), CELL.key, STORED.fingerprint, 0): PASSED}
    assert judge(lost, rules=BY_SHARE, digests=without).verdict is Verdict.IDENTICAL


def test_a_run_without_a_digest_repeats_nothing():
    blind = [record(seed, 0.95, digest=None) for seed in range(3)]
    assert judge(blind[:1], rules=RULES).seeds == (1, 2)
    assert judge(blind, rules=THREE).verdict is Verdict.PASS


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


def test_a_cell_whose_speed_cannot_be_judged_says_so():
    """On a machine of another kind than the stored runs, and on machines of two kinds."""
    strict = dataclasses.replace(RULES, gates_speed=True)
    note = "not judged by speed: no times of one device on both sides"
    here, elsewhere = (
        runs(0.95, 0.95, 0.95, environment=environment(device_name=name), digest=f"on {name}")
        for name in (environment().device_name, "another")
    )
    assert judge(here, rules=strict).message == ""
    assert judge(elsewhere, rules=strict).message == note
    assert judge([*here[:2], elsewhere[2]], rules=strict).message == note
    assert judge(elsewhere, rules=RULES).message == ""
    remembered = {
        (run.environment.key(), CELL.key, STORED.fingerprint, run.seed): dataclasses.replace(
            PASSED, digest=run.digest
        )
        for run in elsewhere
    }
    identical = judge(elsewhere, rules=strict, digests=remembered)
    assert (identical.verdict, identical.message) == (Verdict.IDENTICAL, note)
