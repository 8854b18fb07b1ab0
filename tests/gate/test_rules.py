"""Limits that a project sets: the smallest drop of some cells, and the drop that must be seen."""

import dataclasses
import functools

import numpy as np
import pytest

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines, baseline_of, read_baselines, write_baselines
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import SeedsNeeded, Verdict
from stn_core.gate.rules import Rules
from stn_core.schema import checked
from stn_core.session.budgets import Budget
from stn_core.session.metrics import MetricInfo
from stn_core.session.recipe import Recipe
from tests.examples import CELL, DATA_HASH, baseline, environment, record

SPREAD = np.random.default_rng(1).normal(0, 0.006, (2, 20))
STORED = Baselines({CELL.key: baseline(list(0.95 + SPREAD[0]))}, {})
RULES = Rules(seeds=tuple(range(14)), looks=(1, 2, 4, 8, 14), matrix_size=9)


def verdict(drop=0.0, drop_of=None, **rules):
    """What comes of a cell that brings every seed that it is asked for.

    Args:
        drop: in accuracy, of every seed.
        drop_of: gives that of one seed instead.
        rules: that differ from `RULES`.
    """
    drop_of = drop_of or (lambda seed: drop)
    judge = Judge(dataclasses.replace(RULES, **rules), STORED, "smoke", "cpu")
    records = []
    answer = judge.judge(CELL, records, DATA_HASH)
    while isinstance(answer, SeedsNeeded):
        records += [record(seed, 0.95 - drop_of(seed) + SPREAD[1, seed]) for seed in answer.seeds]
        answer = judge.judge(CELL, records, DATA_HASH)
    return answer


def test_the_last_pattern_that_matches_says_how_large_a_drop_must_be():
    rules = Rules((0,), (1,), 1, min_drops={"*": 1.0, "digits/*": 2.0, "digits/vit": 5.0})
    assert rules.min_drop("smoke/digits/stn") == 2.0
    assert rules.min_drop("smoke/mnist/stn") == 1.0
    assert rules.min_drop("smoke/digits/vit") == 5.0
    assert Rules((0,), (1,), 1, min_drop_points=0.4).min_drop("smoke/digits/stn") == 0.4
    variant = Rules((0,), (1,), 1, min_drops={"digits/stn[warp=tps]": 2.0})
    assert variant.min_drop("smoke/digits/stn[warp=tps]") == 2.0
    assert verdict(0.03).verdict is Verdict.REGRESSED
    assert verdict(0.03, min_drops={"digits/stn": 8.0}).verdict is Verdict.PASS


@pytest.mark.parametrize("seeds", range(1, 15))
def test_a_comparison_looks_at_all_the_seeds_that_it_may_train(seeds):
    looks = Rules(tuple(range(seeds)), (seeds,), 1).side_looks
    assert looks[-1] == min(seeds, 10)
    assert list(looks) == sorted(set(looks))


def test_a_budget_with_limits_that_are_not_points_is_refused():
    with pytest.raises(UsageError, match=r"min_drops of '\*' is 100, not 0 to 100 points"):
        Budget("mine", ("digits",), (3,), 5, Recipe(), min_drops={"*": 100})


def test_a_cell_that_could_not_have_shown_a_drop_gets_more_seeds_or_is_blind():
    usual = verdict()
    assert usual.verdict is Verdict.PASS
    seen = verdict(must_detect_points=2.0)
    assert seen.verdict is Verdict.PASS
    assert seen.detectable_points <= 2.0 < usual.detectable_points
    assert len(seen.records) > len(usual.records)
    blind = verdict(must_detect_points=0.5)
    assert blind.verdict is Verdict.BLIND
    assert not blind.verdict.passes
    assert len(blind.records) == RULES.looks[-1]
    assert "would not have shown a drop of 0.5 points" in blind.message
    assert verdict(0.06, must_detect_points=0.5).verdict is Verdict.REGRESSED


def test_the_runs_that_show_whether_a_drop_would_be_seen_count_in_the_verdict():
    """The first run is as good as stored ones, and would end the test if nothing must be seen."""
    judged = functools.partial(verdict, drop_of=lambda seed: 0.0 if seed == 0 else 0.06)
    assert judged().verdict is Verdict.PASS
    assert judged(must_detect_points=2.0).verdict is Verdict.REGRESSED


@pytest.mark.parametrize("points", [1.6, 1.78, 1.9, 2.2, 4.0])
def test_a_cell_that_passes_detects_the_drop_that_must_be_seen(points):
    seen = verdict(must_detect_points=points)
    assert (seen.verdict is Verdict.PASS) == (seen.detectable_points <= points)


RECALL = MetricInfo("worst_class_recall", floor=0.01)
ERROR = MetricInfo("calibration_error", higher_is_better=False, floor=0.01, scale="plain")


def with_metrics(seed, recall, error):
    values = {"worst_class_recall": recall, "calibration_error": error}
    return record(seed, 0.95 + SPREAD[1, seed], metrics=values, digest=f"fresh-{seed}")


def test_a_metric_that_gates_fails_a_cell_whose_accuracy_holds(tmp_path):
    noise = 0.004 * np.random.default_rng(2).normal(size=40)
    stored = [
        record(s, 0.95 + SPREAD[0, s], metrics=with_metrics(s, 0.9 + noise[s], 0.05).metrics)
        for s in range(20)
    ]
    for number, run in enumerate(stored):
        run.metrics["calibration_error"] += noise[number] / 2
    place = environment()
    path = tmp_path / "baselines.json"
    cells = {CELL.key: baseline_of(stored)}
    write_baselines(path, Baselines(cells, {place.key(): place.place()}))
    read = read_baselines(path)
    assert read.cells == cells

    def judged(recall, error, metrics=(RECALL, ERROR)):
        judge = Judge(dataclasses.replace(RULES, metrics=metrics), read, "smoke", "cpu")
        runs = [with_metrics(s, recall + noise[20 + s], error) for s in range(14)]
        return judge.judge(CELL, runs, DATA_HASH)

    assert judged(0.9, 0.05).verdict is Verdict.PASS
    worse = judged(0.8, 0.05)
    assert worse.verdict is Verdict.REGRESSED
    assert "worst class recall 90 % further from 1" in worse.message
    assert judged(0.8, 0.05, ()).verdict is Verdict.PASS
    miscalibrated = judged(0.9, 0.09)
    assert "calibration error 0.04" in miscalibrated.message
    assert judged(0.9, 0.01).verdict is Verdict.IMPROVED


def test_a_baseline_without_the_metric_judges_the_others():
    judge = Judge(dataclasses.replace(RULES, metrics=(RECALL,)), STORED, "smoke", "cpu")
    runs = [with_metrics(s, 0.5, 0.5) for s in range(14)]
    assert judge.judge(CELL, runs, DATA_HASH).verdict is Verdict.PASS


def test_every_metric_that_gates_shares_the_level():
    more = dataclasses.replace(RULES, metrics=(RECALL, ERROR))
    assert more.level == pytest.approx(RULES.level / 2)


def test_the_level_depends_on_the_matrix_and_on_what_is_judged():
    rules = dataclasses.replace(RULES, matrix_size=18)
    assert rules.level == pytest.approx(0.006 / 36)
    assert dataclasses.replace(rules, gates_speed=True).level == pytest.approx(0.006 / 54)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("seeds", [-1], "must be 0 or more"),
        ("looks", [0], "must be 1 or more"),
        ("matrix_size", 0, "must be 1 or more"),
        ("min_drop_points", -1, "must be 0 or more"),
        ("min_drop_points", float("nan"), "is out of range"),
        ("must_detect_points", float("inf"), "is out of range"),
        ("min_drops", {"digits/cnn": -1}, "must be 0 or more"),
    ],
)
def test_rules_that_are_out_of_range_are_refused_when_a_plan_is_read(field, value, complaint):
    rules = {"seeds": [0], "looks": [1], "matrix_size": 1, field: value}
    with pytest.raises(UsageError, match=f"^session.json: {field}.*{complaint}"):
        checked(Rules, rules, "session.json: ")
