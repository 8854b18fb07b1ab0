"""A commit trained beside the working tree: which seeds of which side run, and what they say."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from stn_core.gate.against import AgainstJudge
from stn_core.gate.baselines import Baselines
from stn_core.gate.difference import smallest_detectable_difference
from stn_core.gate.groups import judge_groups
from stn_core.gate.judgement import LARGEST_DROP_POINTS, Judgement, SeedsNeeded, Verdict
from stn_core.gate.metrics import Metric
from stn_core.gate.rules import Rules
from stn_core.gate.speed_change import speed_change
from stn_core.session.metrics import MetricInfo
from tests.examples import CELL, DATA_HASH, baseline, environment, record

RULES = Rules(seeds=tuple(range(14)), looks=(1, 2, 4, 8, 14), matrix_size=18, group_count=4)
SPREAD = np.random.default_rng(3).normal(0, 0.006, (2, 9, 14))


def commits_run(seed, accuracy=0.95, **changes):
    changes = {"digest": f"then-{seed}", "environment": environment(commit="c0ffee"), **changes}
    return record(seed, accuracy, **changes)


class Comparison:
    """A judge, the runs of the commit, and a loop that brings what it asks for."""

    def __init__(self, stored=None, lacking=None, rules=RULES):
        self.references = {}
        baselines = Baselines({CELL.key: stored} if stored else {}, {})
        self.judge = AgainstJudge(
            rules,
            baselines,
            "smoke",
            "cpu",
            revision="main",
            references=self.references,
            lacking=lacking or {},
        )

    def verdict(self, fresh, reference, cell=CELL):
        records = []
        answer = self.judge.judge(cell, records, DATA_HASH)
        while isinstance(answer, SeedsNeeded):
            assert answer.seeds or answer.reference_seeds
            records += [fresh(seed) for seed in answer.seeds]
            runs = self.references.setdefault(cell.key, [])
            runs += [reference(seed) for seed in answer.reference_seeds]
            answer = self.judge.judge(cell, records, DATA_HASH)
        return answer


def runs_of(values, make=record, **changes):
    return lambda seed: make(seed, float(values[seed]), **changes)


def test_equal_digests_settle_a_cell_with_one_seed_of_each_side():
    comparison = Comparison()
    same = comparison.verdict(record, lambda seed: commits_run(seed, digest=f"digest-{seed}"))
    assert same.verdict is Verdict.IDENTICAL
    assert len(same.records) == len(comparison.references[CELL.key]) == 1


def test_equal_digests_do_not_settle_a_cell_if_a_judged_metric_differs():
    rules = dataclasses.replace(RULES, metrics=(MetricInfo("invariance", floor=0.01),))

    def compared(here, there):
        return Comparison(rules=rules).verdict(
            lambda s: record(s, metrics={"invariance": here + 0.0001 * s}),
            lambda s: commits_run(
                s, digest=f"digest-{s}", metrics={} if there is None else {"invariance": there}
            ),
        )

    same = compared(0.9, 0.9)
    assert (same.verdict, same.message) == (Verdict.IDENTICAL, "")
    assert compared(0.7, 0.9).verdict is Verdict.REGRESSED
    unknown = compared(0.7, None)
    assert unknown.verdict is Verdict.IDENTICAL
    assert unknown.message == "not judged by invariance: the other commit has no values"


def test_equal_digests_do_not_settle_a_cell_on_a_nondeterministic_device():
    place = environment(nondeterministic=["a sum"])
    fresh = runs_of(0.95 + SPREAD[0, 0], environment=place)
    same = Comparison().verdict(fresh, lambda s: fresh(s))
    assert same.verdict is Verdict.PASS
    assert len(same.records) == 3


@pytest.mark.parametrize("drop", [0.08, -0.08])
def test_a_large_change_is_found_and_a_small_one_is_not(drop):
    commits = runs_of(0.8 + SPREAD[1, 0], commits_run)
    changed = Comparison().verdict(runs_of(0.8 + SPREAD[0, 0] - drop), commits)
    assert changed.verdict is (Verdict.REGRESSED if drop > 0 else Verdict.IMPROVED)
    assert "update-baselines" not in changed.message
    unchanged = Comparison().verdict(runs_of(0.8 + SPREAD[0, 0]), commits)
    assert unchanged.verdict is Verdict.PASS
    assert unchanged.detectable_points > 0.3


def test_a_cell_s_own_floor_counts_against_a_commit_too():
    commits = runs_of(0.8 + SPREAD[1, 0], commits_run)
    for pattern, verdict in (("digits/*", Verdict.PASS), ("mnist/*", Verdict.REGRESSED)):
        comparison = Comparison(rules=dataclasses.replace(RULES, min_drops={pattern: 20.0}))
        assert comparison.verdict(runs_of(0.72 + SPREAD[0, 0]), commits).verdict is verdict


@pytest.mark.parametrize("changes", [{}, {"recipe_hash": "another"}, {"data_hash": "other"}])
def test_only_stored_values_of_the_same_recipe_and_data_inform_the_spread(changes):
    """Stored values that spread less would make false alarms."""
    images = {"test_images": 10**7}  # so that no deviation is below its floor

    def deviation(stored):
        comparison = Comparison(stored=stored)
        commits = runs_of(0.8 + SPREAD[1, 0], commits_run, **images)
        fresh = comparison.verdict(runs_of(0.8 + SPREAD[0, 0], **images), commits).records
        sides = comparison.references[CELL.key][: len(fresh)], fresh
        return comparison.judge.other_side(CELL).yardstick(Metric.ACCURACY, sides).deviation

    close_together = baseline(list(np.linspace(0.799, 0.801, 20)), **images, **changes)
    assert (deviation(close_together) == deviation(None)) == bool(changes)


def test_what_a_comparison_detects_is_what_its_looks_would_if_the_spread_stayed():
    """Not less than Student's limit and its power at the last look: an early one may miss it."""
    comparison = Comparison()
    commits = runs_of(0.8 + SPREAD[1, 0], commits_run)
    passed = comparison.verdict(runs_of(0.8 + SPREAD[0, 0]), commits)
    assert len(passed.records) < RULES.side_looks[-1]
    sides = comparison.references[CELL.key], passed.records
    stick = comparison.judge.other_side(CELL).yardstick(Metric.ACCURACY, sides)
    rise = smallest_detectable_difference(
        stick.deviation, stick.degrees, looks=RULES.side_looks, level=RULES.level
    )
    assert passed.detectable_points == pytest.approx(100 * np.exp(stick.mean) * np.expm1(rise))
    error = stick.deviation * np.sqrt(2 / RULES.side_looks[-1])
    assert rise > error * scipy.stats.t.isf([RULES.level, 0.05], stick.degrees).sum()


def test_the_seeds_that_show_whether_a_drop_would_be_seen_count_in_a_comparison():
    """The first three are as good as the commit's; they would end the comparison otherwise."""

    def worse_from_the_fourth(seed):
        return record(seed, 0.8 + SPREAD[0, 0, seed] - 0.06 * (seed >= 3))

    commits = runs_of(0.8 + SPREAD[1, 0], commits_run)
    stored = baseline(list(0.8 + SPREAD[1, 1]))
    usual = Comparison(stored).verdict(worse_from_the_fourth, commits)
    assert usual.verdict is Verdict.PASS
    rules = dataclasses.replace(RULES, must_detect_points=usual.detectable_points / 1.2)
    asked = Comparison(stored, rules=rules).verdict(worse_from_the_fourth, commits)
    assert asked.verdict is Verdict.REGRESSED


def test_a_cell_that_could_not_show_a_drop_is_not_advised_to_measure_a_baseline():
    rules = dataclasses.replace(RULES, must_detect_points=0.01)
    commits = runs_of(0.8 + SPREAD[1, 0], commits_run)
    blind = Comparison(rules=rules).verdict(runs_of(0.8 + SPREAD[0, 0]), commits)
    assert blind.verdict is Verdict.BLIND
    assert blind.message.endswith("; train longer")


def test_stored_values_are_used_if_the_commit_repeats_a_stored_run():
    stored = baseline(list(0.95 + SPREAD[1, 1]))
    comparison = Comparison(stored)
    commits = runs_of(0.95 + SPREAD[1, 1], commits_run)
    first = dataclasses.replace(commits(0), digest="stored-0", environment=environment())
    passed = comparison.verdict(runs_of(0.95 + SPREAD[0, 1]), lambda seed: first)
    assert passed.verdict is Verdict.PASS
    assert passed.baseline == stored
    assert len(comparison.references[CELL.key]) == 1


def repeating_a_stored_run(commits):
    def repeats(seed):
        same = {"digest": f"stored-{seed}", "environment": environment()}
        return dataclasses.replace(commits(seed), **same)

    return repeats


def test_stored_values_too_few_to_show_any_drop_do_not_replace_the_commits_runs():
    """Else nothing could fail that new runs of both sides show."""
    comparison = Comparison(baseline(list(0.95 + SPREAD[1, 1][:3])))
    commits = repeating_a_stored_run(runs_of(0.95 + SPREAD[1, 1], commits_run))
    worse = comparison.verdict(runs_of(0.5 + SPREAD[0, 1]), commits)
    assert worse.verdict is Verdict.REGRESSED
    assert not worse.baseline.is_stored


def test_stored_values_too_low_to_show_any_drop_do_not_replace_the_commits_runs():
    low = 0.02 + SPREAD / 2
    comparison = Comparison(baseline(list(low[1, 1][:5])))
    commits = repeating_a_stored_run(runs_of(low[1, 1], commits_run))
    passed = comparison.verdict(runs_of(low[0, 1]), commits)
    assert passed.verdict is Verdict.PASS
    assert not passed.baseline.is_stored


def test_a_comparison_detects_no_drop_of_more_than_the_accuracy():
    low = 0.02 + SPREAD / 2
    commits = runs_of(low[1, 1], commits_run)
    passed = Comparison().verdict(runs_of(low[0, 1]), commits)
    assert passed.verdict is Verdict.PASS
    assert passed.detectable_points == LARGEST_DROP_POINTS


def test_stored_values_sharpen_the_spread_and_never_the_mean():
    fresh = runs_of(0.935 + SPREAD[0, 0])
    commits = runs_of(0.95 + SPREAD[1, 0], commits_run)
    low = Comparison(baseline(list(0.5 + SPREAD[1, 2]))).verdict(fresh, commits)
    assert low.difference_points == pytest.approx(-1.5, abs=0.8)
    alone = Comparison().verdict(fresh, commits)
    assert low.verdict is Verdict.REGRESSED
    assert len(low.records) <= len(alone.records)


def test_other_data_are_stale_and_a_cell_that_the_commit_lacks_is_new():
    stale = Comparison().verdict(record, lambda s: commits_run(s, data_hash="other"))
    assert stale.verdict is Verdict.STALE
    new = Comparison(lacking={CELL.key: "main lacks it: because"}).verdict(record, None)
    assert (new.verdict, new.message) == (Verdict.NEW, "main lacks it: because")
    assert len(new.records) == 3


def test_a_run_that_failed_on_either_side_is_said():
    fails = {"status": "diverged", "message": "not finite", "test_accuracy": None}
    ours = Comparison().verdict(lambda s: record(s, None, **{**fails}), commits_run)
    assert ours.verdict is Verdict.DIVERGED
    theirs = Comparison().verdict(record, lambda s: commits_run(s, **{"accuracy": None, **fails}))
    assert theirs.verdict is Verdict.NEW
    assert "main: seed 0 diverged" in theirs.message


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [(0, 0, Verdict.NEW), (1, 1, Verdict.NEW), (1, 0, Verdict.NEW), (0, 1, Verdict.DIVERGED)],
)
def test_a_cell_that_diverges_got_worse_only_if_the_commit_did_not_diverge_before(
    ours, theirs, verdict
):
    """Each side diverges at one seed; both sides run two seeds before the first look."""
    fails = {"status": "diverged", "message": "not finite", "test_accuracy": None}

    def run(make, seed, fails_at):
        return make(seed, **(fails if seed == fails_at else {}))

    found = Comparison(rules=dataclasses.replace(RULES, looks=(2, 14))).verdict(
        lambda seed: run(record, seed, ours), lambda seed: run(commits_run, seed, theirs)
    )
    assert found.verdict is verdict
    assert (f"seed {ours}: not finite" in found.message) is (ours <= theirs)
    assert (f"main: seed {theirs} diverged" in found.message) is (theirs <= ours)


def test_each_side_has_its_own_recipe_and_a_difference_is_said():
    other = {"recipe": {**CELL.recipe.to_dict(), "epochs": 99}, "recipe_hash": "other"}
    passed = Comparison().verdict(
        runs_of(0.95 + SPREAD[0, 0]), runs_of(0.95 + SPREAD[1, 0], commits_run, **other)
    )
    assert passed.verdict is Verdict.PASS
    assert "the recipe differs from that of main: epochs 99 there" in passed.message


def test_more_records_never_change_a_verdict():
    comparison = Comparison()
    fresh, commits = runs_of(0.94 + SPREAD[0, 0]), runs_of(0.95 + SPREAD[1, 0], commits_run)
    first = comparison.verdict(fresh, commits)
    comparison.references[CELL.key] = [commits(seed) for seed in range(14)]
    assert comparison.judge.judge(CELL, [fresh(s) for s in range(14)], DATA_HASH) == first


def group_of_nine(drop):
    cells = [dataclasses.replace(CELL, model=f"model_{n}") for n in range(9)]
    comparison, runs, verdicts = Comparison(), {}, []
    for cell, (fresh, commits) in zip(cells, SPREAD.swapaxes(0, 1), strict=True):
        comparison.references[cell.key] = [
            commits_run(s, 0.95 + commits[s], cell=cell) for s in range(10)
        ]
        runs[cell.key] = [record(s, 0.95 + fresh[s] - drop, cell=cell) for s in range(10)]
        verdicts.append(Judgement(cell.key, Verdict.PASS))
    keys = {"all": [cell.key for cell in cells]}
    return comparison, keys, cells, verdicts, runs


def test_groups_are_compared_seed_by_seed():
    comparison, *asked = group_of_nine(drop=0.01)
    (group,) = judge_groups(comparison.judge, *asked)
    assert group.verdict is Verdict.REGRESSED
    comparison, *asked = group_of_nine(drop=0.0)
    (group,) = judge_groups(comparison.judge, *asked)
    assert group.verdict is Verdict.PASS


def test_a_group_that_leans_asks_both_sides_for_seeds():
    comparison, keys, cells, verdicts, runs = group_of_nine(drop=0.01)
    first = {key: records[:3] for key, records in runs.items()}
    for records in comparison.references.values():
        del records[3:]
    (group,) = judge_groups(comparison.judge, keys, cells, verdicts, first)
    assert group.verdict is Verdict.PASS
    assert group.seeds_needed == group.reference_seeds_needed == dict.fromkeys(runs, (3, 4, 5))


def test_speed_is_a_ratio_per_cell_and_cached_times_do_not_count():
    seconds = {"a": 1.0, "b": 2.0, "c": 4.0}
    fresh = {name: [record(0, train_seconds=2 * value)] for name, value in seconds.items()}
    then = {name: [record(0, train_seconds=value)] for name, value in seconds.items()}
    change = speed_change(fresh, then)
    assert (change.factor, change.low, change.cells) == (pytest.approx(2), pytest.approx(2), 3)
    assert change.is_slower
    then["a"] = [record(0, train_seconds=0.0)]
    assert speed_change(fresh, then).cells == 2
    assert speed_change({}, then) is None
