"""What follows for a claim from stored values."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stn_core.gate.baselines import Baselines, baseline_of
from stn_core.gate.contrasts import Finding
from stn_core.report.claims_text import (
    claims_document,
    claims_table,
)
from stn_core.report.judged_claims import judge_claims
from stn_core.report.stored_cells import stored_cells
from tests.examples import record
from tests.report.claiming import (
    CLAIM,
    EPOCHS,
    HIGH,
    LOW,
    NEVER,
    SOON,
    claims_of,
    judged,
    runs,
    with_curve,
)


def test_runs_of_an_older_recipe_are_not_compared_with_those_of_the_present_one(tmp_path):
    records = runs("a", HIGH) + runs("b", LOW, recipe_hash="before")
    recipes = dict.fromkeys(("smoke/digits/a", "smoke/digits/b"), records[0].recipe_hash)
    stored = stored_cells(Baselines({}, {}), records, recipes.__getitem__)
    (one,) = judge_claims(claims_of(tmp_path).claims, stored)
    assert one.finding("trained") is Finding.OPEN
    assert "the runs of b have another recipe than smoke has now" in claims_table([one])
    against_number = CLAIM.replace('"a"', '"b"').replace('than = ["b"]', "value = 50.0")
    (one,) = judge_claims(claims_of(tmp_path, against_number).claims, stored)
    assert "the runs of b have another recipe than smoke has now" in claims_table([one])


@pytest.mark.parametrize(
    ("ours", "theirs", "finding"),
    [
        (HIGH, LOW, Finding.HOLDS),
        (LOW, HIGH, Finding.DOES_NOT_HOLD),
        (HIGH, HIGH, Finding.OPEN),
        (HIGH, [], Finding.OPEN),
        (HIGH[:1], LOW[:1], Finding.OPEN),
    ],
)
def test_the_finding_follows_from_the_values(tmp_path, ours, theirs, finding):
    (one,) = judged(tmp_path, runs("a", ours) + runs("b", theirs))
    assert one.finding("trained") is finding
    assert one.finding("published") is None


def test_a_published_number_is_compared_with_the_mean(tmp_path):
    text = CLAIM.replace('than = ["b"]', "value = 97.04").replace(
        'expected = "higher"', 'expected = "equal"\nmargin = 1.0'
    )
    (one,) = judged(tmp_path, runs("a", HIGH), text)
    ((difference,),) = one.ways.values()
    assert one.finding("trained") is Finding.HOLDS
    assert difference.difference.estimate == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("value", "ends"), [(100.0, (-0.5, 0.0)), (99.9, (-0.5, 0.1))])
def test_an_interval_of_accuracies_ends_at_what_is_possible(tmp_path, value, ends):
    text = CLAIM.replace('than = ["b"]', f"value = {value}")
    (one,) = judged(tmp_path, runs("a", [1.0, 0.999, 1.0, 0.999, 1.0]), text)
    ((difference,),) = one.ways.values()
    assert difference.difference.low < -0.03
    assert difference.difference.low > ends[0]
    assert difference.difference.high == pytest.approx(ends[1])


def test_parameters_are_exact_and_losses_are_reported_in_per_cent(tmp_path):
    records = [
        *runs("a", HIGH, parameters=640, test_cross_entropy=0.17),
        *runs("b", HIGH, parameters=1000, test_cross_entropy=0.2),
    ]
    fewer = CLAIM.replace('"accuracy"', '"parameters"').replace('"higher"', '"lower"\nsize = 36.0')
    (one,) = judged(tmp_path, records, fewer)
    assert one.finding("trained") is Finding.HOLDS
    (one,) = judged(tmp_path, records, fewer.replace('"parameters"', '"loss"'))
    ((difference,),) = one.ways.values()
    assert difference.difference.estimate == pytest.approx(-15.0)


@pytest.mark.parametrize("later", [(0.7, 0.8), ()], ids=["all epochs", "stopped early"])
def test_epochs_are_counted_until_the_target_is_reached(tmp_path, later):
    records = with_curve("a", 0.8, 0.91, 0.95, 0.95) + with_curve("b", 0.5, 0.6, *later)
    (one,) = judged(tmp_path, records, EPOCHS)
    ((difference,),) = one.ways.values()
    assert difference.values == ((2.0,) * 5, (5.0,) * 5)
    assert one.finding("trained") is Finding.HOLDS


@pytest.mark.parametrize(
    ("ours", "theirs", "expected", "finding"),
    [
        (NEVER, NEVER, 'lower"\nsize = 2.0', Finding.OPEN),
        (NEVER, NEVER, 'equal"\nmargin = 2.0', Finding.OPEN),
        (SOON, NEVER, 'lower"\nsize = 7.0', Finding.HOLDS),  # b may need 9 epochs or more
        (NEVER, SOON, "lower", Finding.DOES_NOT_HOLD),
        (NEVER, SOON, 'higher"\nsize = 7.0', Finding.HOLDS),
        (SOON, NEVER, 'equal"\nmargin = 5.0', Finding.OPEN),
    ],
)
def test_a_run_that_never_reaches_the_target_bounds_the_difference_on_one_side(
    tmp_path, ours, theirs, expected, finding
):
    text = EPOCHS.replace('"lower"', f'"{expected}' + ("" if "\n" in expected else '"'))
    (one,) = judged(tmp_path, with_curve("a", *ours) + with_curve("b", *theirs), text)
    assert one.finding("trained") is finding
    said = claims_table([one])
    assert "inf" in said
    assert f"5 of 5 runs of {'a' if ours is NEVER else 'b'}" in said
    assert "never reached 90 %" in said
    assert "seeds per model" not in said


def test_other_data_are_never_compared(tmp_path):
    records = runs("a", HIGH) + runs("b", LOW, data_hash="other")
    (one,) = judged(tmp_path, records)
    assert one.finding("trained") is Finding.OPEN
    assert "different data" in claims_table([one])


def measured(model: str, metric: str, values: list[float]):
    records = runs(model, HIGH[: len(values)])
    return [
        dataclasses.replace(run, metrics={metric: value})
        for run, value in zip(records, values, strict=True)
    ]


@pytest.mark.parametrize(
    ("metric", "expected", "estimate"),
    [("invariance", "higher", 10.0), ("misplaced_pixels", "lower", 0.1)],
)
def test_metrics_on_request_are_compared_in_their_unit(tmp_path, metric, expected, estimate):
    text = CLAIM.replace('"accuracy"', f'"{metric}"').replace('"higher"', f'"{expected}"')
    ours = measured("a", metric, [0.9, 0.901, 0.899])
    theirs = measured("b", metric, [0.8, 0.801, 0.799])
    (one,) = judged(tmp_path, ours + theirs, text)
    ((difference,),) = one.ways.values()
    assert difference.difference.estimate == pytest.approx(estimate)
    holds = metric == "invariance"
    assert one.finding("trained") is (Finding.HOLDS if holds else Finding.DOES_NOT_HOLD)
    assert difference.seeds == (3, 3)


def test_runs_that_were_not_measured_by_a_metric_do_not_count(tmp_path):
    text = CLAIM.replace('"accuracy"', '"invariance"')
    (one,) = judged(tmp_path, runs("a", HIGH) + measured("b", "invariance", [0.8, 0.9]), text)
    assert one.finding("trained") is Finding.OPEN
    assert "no stored runs of both models have invariance" in claims_document([one], "a command")


@pytest.mark.parametrize(
    ("metric", "more"),
    [
        ('"train_loss"', {"validation": [], "kept_epoch": 0}),
        ('"accuracy"', {"recipe_hash": "before"}),
    ],
)
def test_the_type_of_device_counts_that_the_claim_can_be_judged_on(tmp_path, metric, more):
    """Whatever the number of runs on another one, without curves or of another recipe."""
    text = CLAIM.replace('"accuracy"', metric)
    cuda = dataclasses.replace(record().environment, device_type="cuda")
    known = {"validation": [{"epoch": 1, "train_loss": 0.5, "loss": 1.0, "accuracy": 0.5}]}
    records = [run for name in "ab" for run in runs(name, HIGH[:2], kept_epoch=1, **known)]
    present = records[0].recipe_hash
    others = [run for name in "ab" for run in runs(name, HIGH, environment=cuda, **more)]
    baselines = {}
    if "validation" in more:  # only a baseline, which has no curves
        for name in "ab":
            of_model = [run for run in others if run.model == name]
            baselines[f"smoke/digits/{name}"] = baseline_of(of_model)
        others = []
    stored = stored_cells(Baselines(baselines, {}), records + others, lambda key: present)
    (one,) = judge_claims(claims_of(tmp_path, text).claims, stored)
    ((difference,),) = one.ways.values()
    assert difference.difference is not None
    assert difference.seeds == (2, 2)


def test_an_open_claim_on_a_number_says_how_many_seeds_would_settle_it(tmp_path):
    text = CLAIM.replace('than = ["b"]', "value = 96.8").replace(
        'expected = "higher"', 'expected = "equal"\nmargin = 0.5'
    )
    (one,) = judged(tmp_path, runs("a", stretched(6)), text)
    ((difference,),) = one.ways.values()
    assert one.finding("trained") is Finding.OPEN
    settled = [
        judged(tmp_path, runs("a", stretched(number)), text)[0].finding("trained")
        for number in (difference.seeds_needed - 1, difference.seeds_needed)
    ]
    assert settled == [Finding.OPEN, Finding.HOLDS]


def stretched(number: int) -> list[float]:
    """So many values with a mean of 0.97 and a standard deviation of 0.005."""
    sample = np.resize([-1.0, 1.0], number)
    sample -= sample.mean()
    return (0.97 + 0.005 * sample / sample.std(ddof=1)).tolist()


def timed(model: str, seconds: list[float], **changes):
    changes = {"other_load": 0.0} | changes
    return [
        dataclasses.replace(run, train_seconds=value)
        for run, value in zip(runs(model, HIGH, **changes), seconds, strict=True)
    ]


TIMES = CLAIM.replace('"accuracy"', '"train_time"')
SLOW, FAST = [30.0, 30.1, 29.9, 30.0, 30.2], [20.0, 20.1, 19.9, 20.0, 20.0]


def test_training_times_of_a_quiet_machine_are_compared(tmp_path):
    (one,) = judged(tmp_path, timed("a", SLOW) + timed("b", FAST), TIMES)
    ((difference,),) = one.ways.values()
    assert difference.difference.estimate == pytest.approx(50.0, abs=0.5)
    assert one.finding("trained") is Finding.HOLDS
    assert difference.values[0] == pytest.approx(SLOW)


@pytest.mark.parametrize("load", [None, 0.5])
def test_training_times_of_a_busy_machine_are_never_compared(tmp_path, load):
    (one,) = judged(tmp_path, timed("a", SLOW, other_load=load) + timed("b", FAST), TIMES)
    assert one.finding("trained") is Finding.OPEN
    assert "no training times from a quiet machine" in claims_table([one])


def test_training_times_of_different_machines_are_never_compared(tmp_path):
    elsewhere = dataclasses.replace(record().environment, device_name="another processor")
    mixed = timed("a", SLOW) + timed("b", FAST, environment=elsewhere)
    (one,) = judged(tmp_path, mixed, TIMES)
    assert one.finding("trained") is Finding.OPEN
    assert "no training times from a quiet machine" in claims_table([one])


def test_training_times_are_compared_on_the_kind_of_machine_that_has_both_models(tmp_path):
    """Also if the runs on another one are newer, and count for all else."""
    elsewhere = dataclasses.replace(record().environment, device_name="another processor")
    newer = timed("a", [90.0] * 5, environment=elsewhere)
    (one,) = judged(tmp_path, timed("a", SLOW) + newer + timed("b", FAST), TIMES)
    ((difference,),) = one.ways.values()
    assert difference.values[0] == pytest.approx(SLOW)
    assert one.finding("trained") is Finding.HOLDS


def test_training_losses_are_those_of_the_epoch_that_was_kept(tmp_path):
    def curve(*losses: float):
        return [
            {"epoch": epoch, "train_loss": loss, "loss": 1.0, "accuracy": 0.5}
            for epoch, loss in enumerate(losses, start=1)
        ]

    text = CLAIM.replace('"accuracy"', '"train_loss"').replace('"higher"', '"lower"')
    records = [
        *runs("a", HIGH, validation=curve(0.4, 0.1, 0.9), kept_epoch=2),
        *runs("b", HIGH, validation=curve(0.9, 0.4, 0.2), kept_epoch=3),
    ]
    (one,) = judged(tmp_path, records, text)
    ((difference,),) = one.ways.values()
    assert difference.difference.estimate == pytest.approx(-50.0)
    assert one.finding("trained") is Finding.HOLDS


def test_the_parameters_of_a_cell_may_be_told_by_a_record_of_another_budget(tmp_path):
    cells = {f"smoke/digits/{model}": baseline_of(runs(model, HIGH)) for model in "ab"}
    records = [*runs("a", HIGH[:1], parameters=900, budget="quick")]
    records += runs("b", HIGH[:1], parameters=600, budget="quick")
    text = CLAIM.replace('"accuracy"', '"parameters"')
    stored = stored_cells(Baselines(cells, {}), records)
    (one,) = judge_claims(claims_of(tmp_path, text).claims, stored)
    assert "a - b: +50.0 %" in claims_table([one])
