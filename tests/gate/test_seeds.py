"""Which seeds a cell trains, in which order, and how many are left."""

import dataclasses

from stn_core.gate.baselines import Baselines
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import Verdict
from stn_core.gate.rules import Rules
from stn_core.session.recipe import Recipe
from tests.examples import CELL, baseline, record
from tests.gate.judging import RULES, STORED, THREE, judge, runs, with_digests


def test_the_seeds_of_the_baseline_come_first_so_that_a_run_can_be_identical():
    accepted = with_digests(baseline([0.95, 0.96] * 10, first_seed=100))
    assert judge([], accepted, rules=RULES).seeds == (100,)
    assert judge([record(100, 0.95)], accepted, rules=RULES).verdict is Verdict.IDENTICAL
    changed = [record(100, 0.95, digest="another")]
    assert judge(changed, accepted, rules=RULES).seeds == (101, 102)
    every = [record(seed, 0.95, digest="another") for seed in range(200)]
    seen = judge(every, accepted, rules=RULES).records
    assert [run.seed for run in seen] == [100, 101, 102]


def test_the_rules_seeds_follow_those_of_a_short_baseline():
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


def test_a_seed_that_comes_twice_is_not_two_runs():
    assert judge([record(0), record(0), record(1)]).seeds == (2,)


def test_the_seeds_left_to_train():
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
