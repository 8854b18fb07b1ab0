"""Groups of cells: judged together seed by seed, and only those that can be."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_core.gate.baselines import Baselines
from stn_core.gate.digests import PassedRun
from stn_core.gate.group_members import Member, largest_group
from stn_core.gate.groups import LEAST_CELLS, groups_of_tags, judge_groups
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import Judgement, SeedsNeeded, Verdict
from stn_core.gate.metrics import Metric
from stn_core.gate.pooling import least_pooled_deviation, pooled_deviation
from stn_core.gate.rules import Rules
from stn_core.gate.statistics import log_error
from tests.examples import CELL, DATA_HASH, baseline, environment, record

LOOKS = (1, 2, 4, 8)
RULES = Rules(seeds=tuple(range(8)), looks=LOOKS, matrix_size=9, group_count=4)
CELLS = [dataclasses.replace(CELL, model=f"model_{n}") for n in range(9)]
KEYS = [cell.key for cell in CELLS]
NOISE = np.random.default_rng(0).normal(0, 0.006, (9, 60))
EVERYTHING = {"all": KEYS}


def stored_values(noise=NOISE, runs=20, **changes):
    return [baseline(list(0.95 + row[:runs]), **changes) for row in noise]


def fresh_runs(drop=0.0, noise=NOISE, runs=8, **changes):
    """Runs by key: of the cells' usual noise, with a drop of accuracy in all or in each."""
    drops = np.broadcast_to(drop, len(CELLS))
    return {
        cell.key: [
            record(seed, 0.95 + noise[n, 30 + seed] - drops[n], cell=cell, **changes)
            for seed in range(runs)
        ]
        for n, cell in enumerate(CELLS)
    }


def judge(by_key, stored=None, groups=EVERYTHING, rules=RULES, cells=CELLS, digests=None):
    """The groups' verdicts and the cells'."""
    place = environment()
    baselines = Baselines(
        dict(zip(KEYS, stored or stored_values(), strict=True)), {place.key(): place.place()}
    )
    judge = Judge(rules, baselines, "smoke", "cpu", digests or {})
    answers = [judge.judge(cell, by_key[cell.key], DATA_HASH) for cell in cells]
    verdicts = [
        Judgement(one.key, Verdict.MISSING) if isinstance(one, SeedsNeeded) else one
        for one in answers
    ]
    return judge_groups(judge, groups, cells, verdicts, by_key), verdicts


def test_a_small_loss_in_every_cell_fails_the_group_and_no_cell():
    (group,), cells = judge(fresh_runs(drop=0.006))
    assert {one.verdict for one in cells} == {Verdict.PASS}
    assert group.verdict is Verdict.REGRESSED
    assert group.message.startswith("0.6")
    assert "points lost on average (p = " in group.message
    assert "over 9 cells, most in smoke/digits/model_" in group.message
    assert group.line.startswith("REGRESSED (group)  all: 0.")


def test_a_gain_in_every_cell_improves_the_group():
    (group,), _ = judge(fresh_runs(drop=-0.009))
    assert group.verdict is Verdict.IMPROVED
    assert "points gained on average" in group.message


def test_without_a_change_the_group_passes_and_says_nothing():
    (group,), _ = judge(fresh_runs())
    assert (group.verdict, group.message) == (Verdict.PASS, "")


def test_correlated_cells_count_as_one():
    """Nine copies of one cell: a drop of one standard deviation is as little as in that cell."""
    together = np.tile(NOISE[0], (9, 1))
    (group,), _ = judge(fresh_runs(0.006, together), stored_values(together))
    assert group.verdict is Verdict.PASS


def test_a_cell_that_breaks_down_is_not_the_failure_of_its_group():
    (group,), cells = judge(fresh_runs(drop=np.where(np.arange(9) == 4, 0.5, 0.0)))
    assert [one.verdict for one in cells].count(Verdict.REGRESSED) == 1
    assert group.verdict is Verdict.PASS


def test_a_cell_that_leaps_does_not_hide_the_loss_of_its_group():
    drops = np.where(np.arange(9) == 4, -0.033, 0.009)
    (group,), cells = judge(fresh_runs(drops), rules=dataclasses.replace(RULES, looks=(8,)))
    assert cells[4].verdict is Verdict.IMPROVED
    assert group.verdict is Verdict.REGRESSED


def test_a_seed_stored_in_two_environments_counts_with_the_mean_of_both():
    here, there = stored_values()[0], stored_values(NOISE - 0.02)[0]
    there = [dataclasses.replace(run, environment="elsewhere") for run in there.runs]
    both = dataclasses.replace(here, runs=(*here.runs, *there))
    asked = Judge(RULES, Baselines({KEYS[0]: both}, {}), "smoke", "cpu")
    member = Member.of(asked, CELLS[0], fresh_runs()[KEYS[0]])
    values = log_error([here.accuracies, [run.accuracy for run in there]], here.test_images)
    assert list(member.stored[Metric.ACCURACY].values()) == pytest.approx(list(values.mean(0)))


def test_a_sure_drop_below_the_floor_passes():
    small, images = NOISE / 20, {"test_images": 10**7}
    stored = stored_values(small, **images)
    (group,), _ = judge(fresh_runs(0.0013, small, **images), stored)
    assert group.verdict is Verdict.PASS
    (group,), cells = judge(fresh_runs(0.0017, small, **images), stored)
    assert group.verdict is Verdict.REGRESSED
    assert {one.verdict for one in cells} == {Verdict.PASS}


def test_a_group_that_leans_asks_all_of_its_members_for_the_same_seeds():
    runs = fresh_runs(drop=0.006, runs=1)
    runs[KEYS[3]] = fresh_runs(drop=0.006, runs=2)[KEYS[3]]
    verdicts = [Judgement(key, Verdict.PASS) for key in KEYS]
    baselines = Baselines(dict(zip(KEYS, stored_values(), strict=True)), {})
    asked = Judge(RULES, baselines, "smoke", "cpu")
    (group,) = judge_groups(asked, EVERYTHING, CELLS, verdicts, runs)
    assert group.verdict is Verdict.PASS
    assert group.seeds_needed == {key: (1,) for key in KEYS if key != KEYS[3]}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(-0.01, 0.02))
def test_more_records_never_change_a_verdict(seed, drop):
    noise = np.random.default_rng(seed).normal(0, 0.006, (9, 60))
    everything = fresh_runs(drop, noise)
    (last,), _ = judge(everything, stored_values(noise))
    for runs in LOOKS:
        some = {key: records[:runs] for key, records in everything.items()}
        # Members whose own verdict still wants seeds are left out: judge as if they had passed.
        baselines = Baselines(dict(zip(KEYS, stored_values(noise), strict=True)), {})
        asked = Judge(RULES, baselines, "smoke", "cpu")
        verdicts = [Judgement(key, Verdict.PASS) for key in KEYS]
        (group,) = judge_groups(asked, EVERYTHING, CELLS, verdicts, some)
        if not group.seeds_needed:
            assert group == last
            return
    pytest.fail("the last look ends")


def test_cells_not_judged_by_values_are_left_out_of_groups_and_failures_named():
    runs = fresh_runs(drop=0.009)
    runs[KEYS[2]] = [record(0, None, cell=CELLS[2], status="diverged", message="because")]
    (group,), _ = judge(runs)
    assert KEYS[2] not in group.members
    assert group.message.endswith(f"left out, as they failed: {KEYS[2]}")
    same = [
        dataclasses.replace(run, digest=f"digest-{run.seed}") for run in stored_values()[0].runs
    ]
    stored = stored_values()
    stored[0] = dataclasses.replace(stored[0], runs=tuple(same))
    (group,), cells = judge(fresh_runs(drop=0.009), stored)
    assert cells[0].verdict is Verdict.IDENTICAL
    assert KEYS[0] not in group.members


def remembered(by_key, stored, keys):
    """The digests of a session in which these cells passed."""
    place = environment().key()
    baselines = dict(zip(KEYS, stored, strict=True))
    return {
        (place, key, baselines[key].fingerprint, run.seed): PassedRun(
            run.digest, run.test_accuracy, run.test_cross_entropy
        )
        for key in keys
        for run in by_key[key]
    }


def test_small_losses_of_one_cell_after_the_other_add_up():
    """Of the last cell only does the session know that it changed; the others passed before."""
    stored, worse = stored_values(), fresh_runs(drop=0.006)
    digests = remembered(worse, stored, KEYS[:8])
    now = {key: worse[key] if key == KEYS[8] else worse[key][:1] for key in KEYS}
    (group,), cells = judge(now, stored, digests=digests)
    assert [one.verdict for one in cells] == [Verdict.IDENTICAL] * 8 + [Verdict.PASS]
    assert group.verdict is Verdict.REGRESSED
    assert len(group.members) == 9
    (whole,), _ = judge(worse, stored)
    assert group == whole


def test_a_group_asks_only_for_seeds_that_are_not_remembered():
    stored, worse = stored_values(), fresh_runs(drop=0.006)
    first = {key: runs[:1] for key, runs in worse.items()}
    digests = remembered({key: runs[:2] for key, runs in worse.items()}, stored, KEYS[:4])
    digests |= remembered(first, stored, KEYS[4:8])
    verdicts = [Judgement(key, Verdict.IDENTICAL) for key in KEYS[:8]]
    verdicts.append(Judgement(KEYS[8], Verdict.PASS))
    baselines = Baselines(dict(zip(KEYS, stored, strict=True)), {})
    asked = Judge(RULES, baselines, "smoke", "cpu", digests)
    (group,) = judge_groups(asked, EVERYTHING, CELLS, verdicts, first)
    assert group.seeds_needed == dict.fromkeys(KEYS[4:], (1,))


def test_groups_of_which_nothing_changed_since_they_passed_are_not_judged_again():
    stored, same = stored_values(), fresh_runs(drop=0.006)
    found, cells = judge(same, stored, digests=remembered(same, stored, KEYS))
    assert {one.verdict for one in cells} == {Verdict.IDENTICAL}
    assert found == []


def test_a_cell_that_repeats_its_baseline_is_in_no_group_even_if_it_is_remembered():
    stored, now = stored_values(), fresh_runs(drop=0.006)
    runs = [dataclasses.replace(run, digest=f"digest-{run.seed}") for run in stored[0].runs]
    stored[0] = dataclasses.replace(stored[0], runs=tuple(runs))
    (group,), cells = judge(now, stored, digests=remembered(now, stored, KEYS[:1]))
    assert cells[0].verdict is Verdict.IDENTICAL
    assert KEYS[0] not in group.members


def test_a_group_without_two_cells_or_five_common_seeds_is_not_judged():
    assert judge(fresh_runs(), groups={"one": KEYS[:1], "gone": ["smoke/x/y"], "none": []})[0] == []
    assert len(judge(fresh_runs(), groups={"two": KEYS[:2]})[0]) == 1
    assert judge(fresh_runs(), stored_values(runs=4))[0] == []


def test_a_cell_of_few_stored_seeds_is_left_out_and_the_others_are_judged():
    stored = stored_values()
    stored[5] = baseline(list(0.95 + NOISE[5, :4]))
    (group,), _ = judge(fresh_runs(drop=0.009), stored)
    assert KEYS[5] not in group.members
    assert len(group.members) == 8
    assert group.verdict is Verdict.REGRESSED
    assert group.message.endswith(f"; left out, as they have fewer stored seeds: {KEYS[5]}")


@pytest.mark.parametrize("few", [5, 6, 10])
def test_a_cell_of_few_stored_seeds_costs_the_others_none_of_their_power(few):
    """The others are judged as if they were alone, with all of their stored seeds."""
    stored = stored_values()
    stored[5] = baseline(list(0.95 + NOISE[5, :few]))
    others = {"all": [*KEYS[:5], *KEYS[6:]]}
    (alone,), _ = judge(fresh_runs(drop=0.009), stored, others)
    (group,), _ = judge(fresh_runs(drop=0.009), stored)
    assert group.verdict is Verdict.REGRESSED
    named = f"{alone.message}; left out, as they have fewer stored seeds: {KEYS[5]}"
    assert group == dataclasses.replace(alone, message=named)


def test_cells_of_few_stored_seeds_are_judged_together_if_most_have_few():
    """Those with many use as many as the others, or a few cells would speak for all."""
    stored = [*stored_values(runs=8)[:7], *stored_values()[7:]]
    (group,), _ = judge(fresh_runs(drop=0.012), stored)
    assert len(group.members) == 9
    assert group.verdict is Verdict.REGRESSED


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(5, 30), min_size=9, max_size=9), st.integers(0, 2**32 - 1))
def test_the_members_follow_from_the_numbers_of_stored_seeds_alone(counts, seed):
    def members(noise):
        stored = [baseline(list(0.95 + row[:n])) for row, n in zip(noise, counts, strict=True)]
        baselines = Baselines(dict(zip(KEYS, stored, strict=True)), {})
        asked = Judge(RULES, baselines, "smoke", "cpu")
        runs, verdicts = fresh_runs(), [Judgement(key, Verdict.PASS) for key in KEYS]
        (group,) = judge_groups(asked, EVERYTHING, CELLS, verdicts, runs)
        return group.members

    chosen = members(NOISE)
    assert chosen == members(np.random.default_rng(seed).normal(0, 0.006, (9, 60)))
    least = min(n for key, n in zip(KEYS, counts, strict=True) if key in chosen)
    assert chosen == tuple(key for key, n in zip(KEYS, counts, strict=True) if n >= least)


@pytest.mark.parametrize("others", [[5], [0, 1, 2, 3], [0, 2, 4, 6, 8]])
def test_members_measured_with_other_seeds_are_paired_with_the_rest_by_position(others):
    """The names of their seeds change nothing: not the members, the size or p."""
    stored, runs = stored_values(), fresh_runs(drop=0.006)
    (expected,), _ = judge(runs, stored)
    for n in others:
        stored[n] = baseline(list(0.95 + NOISE[n, :20]), first_seed=100)
        runs[KEYS[n]] = [
            dataclasses.replace(run, seed=100 + run.seed) for run in fresh_runs(0.006)[KEYS[n]]
        ]
    (group,), _ = judge(runs, stored)
    assert group == expected
    assert group.verdict is Verdict.REGRESSED


@pytest.mark.parametrize("others", [[5], [0, 1, 2, 3], [0, 2, 4, 6, 8], range(9)])
def test_members_measured_with_other_seeds_are_judged_with_the_rest_if_seeds_are_named(others):
    """All train the same seeds, whatever their baselines have."""
    named = dataclasses.replace(RULES, looks=(8,), are_named=True)
    stored = stored_values()
    (expected,), _ = judge(fresh_runs(drop=0.009), stored, rules=named)
    for n in others:
        stored[n] = baseline(list(0.95 + NOISE[n, :20]), first_seed=100)
    (group,), _ = judge(fresh_runs(drop=0.009), stored, rules=named)
    assert group.members == expected.members == tuple(KEYS)
    assert group.verdict is expected.verdict is Verdict.REGRESSED


def test_members_of_which_no_two_were_measured_with_the_same_seeds_count_as_one():
    """How much their runs of the same seeds resemble each other is not known."""
    named = dataclasses.replace(RULES, looks=(8,), are_named=True)
    stored = [baseline(list(0.95 + row[:20]), first_seed=100 * n) for n, row in enumerate(NOISE)]
    (group,), _ = judge(fresh_runs(drop=0.006), stored, rules=named)
    assert (group.verdict, len(group.members)) == (Verdict.PASS, 9)
    (group,), _ = judge(fresh_runs(drop=0.018), stored, rules=named)
    assert group.verdict is Verdict.REGRESSED


def test_two_members_are_paired_by_the_stored_seeds_that_they_share():
    """One more stored seed each would cost knowing how much they resemble each other."""
    whole = stored_values(runs=21)
    stored = {
        key: dataclasses.replace(cell, runs=tuple(run for run in cell.runs if run.seed != lacking))
        for key, cell, lacking in zip(KEYS[:2], whole[:2], (20, 19), strict=True)
    }
    asked = Judge(RULES, Baselines(stored, {}), "smoke", "cpu")
    runs = fresh_runs()
    group = largest_group([Member.of(asked, cell, runs[cell.key]) for cell in CELLS[:2]], RULES)
    assert group.stored_seeds == (tuple(range(19)),) * 2
    assert group.measurements == (0, 0)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 3), min_size=2, max_size=12))
def test_the_spread_of_members_of_several_measurements_is_between_none_and_all_in_common(
    seed, measurements
):
    stored = np.random.default_rng(seed).normal(size=(20, len(measurements)))
    deviation = float(pooled_deviation(stored, measurements))
    assert least_pooled_deviation(len(measurements)) <= deviation
    assert deviation <= max(stored.std(axis=0, ddof=1).max(), least_pooled_deviation(2))
    again = np.random.default_rng(seed).permutation(4)
    assert deviation == pytest.approx(pooled_deviation(stored, [again[n] for n in measurements]))


def test_members_that_are_all_alike_within_a_measurement_are_expected_to_be_so_across():
    first, second = np.random.default_rng(0).normal(size=(2, 20, 1))
    stored = np.concatenate([np.tile(first, 4), np.tile(second, 4)], axis=1)
    variances = [first.var(ddof=1), second.var(ddof=1)]
    spread = pooled_deviation(stored, [0] * 4 + [1] * 4)
    assert spread == pytest.approx(np.sqrt(np.mean(variances)))


def test_the_selection_does_not_change_the_level():
    few = {"all": KEYS, "dataset x": [*KEYS[:2], "smoke/x/y"]}
    (everything, pair), _ = judge(fresh_runs(0.006), groups=few)
    (alone,), _ = judge(fresh_runs(0.006), groups={"all": KEYS})
    assert everything == alone
    (selected,), _ = judge(fresh_runs(0.006), groups={"all": KEYS}, cells=CELLS[:2])
    assert dataclasses.replace(selected, name=pair.name) == pair


def test_only_the_smallest_group_with_the_same_judged_cells_is_judged():
    groups = {"all": KEYS, "three": KEYS[:3], "two": KEYS[1::-1], "others": KEYS[3:]}
    judged, _ = judge(fresh_runs(), groups=groups, cells=CELLS[:2])
    assert [one.name for one in judged] == ["two"]
    judged, _ = judge(fresh_runs(), groups=groups)
    assert [one.name for one in judged] == list(groups)


def test_a_tag_that_a_cell_has_twice_counts_once():
    tags = {str(number): ["all", "all"] for number in range(LEAST_CELLS)}
    assert groups_of_tags(tags) == {"all": list(tags)}
    del tags["0"]
    assert groups_of_tags(tags) == {}


def test_a_cell_that_is_blind_was_judged_by_its_values():
    blind = dataclasses.replace(RULES, must_detect_points=0.01)
    (group,), cells = judge(fresh_runs(drop=0.006), rules=blind)
    assert {one.verdict for one in cells} == {Verdict.BLIND}
    assert len(group.members) == 9
    assert group.verdict is Verdict.REGRESSED


def test_the_floor_of_a_group_is_half_of_its_cells_own_floors_on_average():
    runs = fresh_runs(drop=0.006)
    for pattern, verdict in (("digits/*", Verdict.PASS), ("mnist/*", Verdict.REGRESSED)):
        floors = dataclasses.replace(RULES, min_drops={pattern: 2.0})
        (group,), _ = judge(runs, rules=floors)
        assert group.verdict is verdict
