"""Claims: what a file may say, and what follows from stored values."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines, baseline_of
from stn_core.gate.contrasts import Direction, Finding
from stn_core.report.claims import check_names, read_claims
from stn_core.report.claims_page import write_claims_page
from stn_core.report.claims_text import (
    claims_document,
    claims_excerpt,
    claims_table,
    tally_line,
)
from stn_core.report.judged_claims import judge_claims
from stn_core.report.stored_cells import stored_cells
from tests.examples import record

CLAIM = """
[[claim]]
id = "better"
source = "a paper"
sentence = "A is better."
trained = "smoke"
dataset = "digits"
metric = "accuracy"
model = "a"
than = ["b"]
expected = "higher"
"""


def claims_of(tmp_path: Path, text: str = CLAIM):
    path = tmp_path / "claims.toml"
    path.write_text(text)
    return read_claims(path)


def runs(model: str, accuracies: list[float], **changes):
    return [
        dataclasses.replace(
            record(seed=seed), model=model, dataset="digits", test_accuracy=accuracy, **changes
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def judged(tmp_path: Path, records, text: str = CLAIM):
    stored = stored_cells(Baselines({}, {}), records)
    return judge_claims(claims_of(tmp_path, text).claims, stored)


HIGH = [0.97, 0.971, 0.972, 0.969, 0.97]
MIDDLE = [0.95, 0.951, 0.952, 0.949, 0.95]
LOW = [0.90, 0.901, 0.902, 0.899, 0.90]


def test_a_claim_is_what_its_entry_says(tmp_path):
    (claim,) = claims_of(tmp_path).claims
    (contrast,) = claim.contrasts
    assert (claim.id, claim.source, claim.sentence) == ("better", "a paper", "A is better.")
    assert claim.budgets == {"trained": "smoke"}
    assert (contrast.models, contrast.expectation.direction) == (("a", "b"), Direction.HIGHER)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('source = "a paper"', ""), "source is missing"),
        (('metric = "accuracy"', 'metric = "acuracy"'), "did you mean accuracy"),
        (('expected = "higher"', 'expected = "upper"'), "unknown expected 'upper'"),
        (('than = ["b"]', ""), "name either the models"),
        (('than = ["b"]', 'than = ["b"]\nvalue = 1.0'), "name either the models"),
        (('than = ["b"]', 'than = "b"'), "than must be a list of models"),
        (('trained = "smoke"', ""), "name a budget"),
        (('trained = "smoke"', 'traind = "smoke"'), "unknown field 'traind'"),
        (('expected = "higher"', 'expected = "equal"'), "a margin above 0"),
        (('model = "a"', "model = 3"), "model must be text, not 3"),
        (('expected = "higher"', 'expected = "higher"\nsize = -1'), "size must be 0 or more"),
        (('metric = "accuracy"', 'metric = "epochs"'), "target is missing"),
        (('metric = "accuracy"', 'metric = "epochs"\ntarget = 970'), "target must be an accuracy"),
        (('than = ["b"]', 'than = ["b"]\ntarget = 90'), "target is only for metric = 'epochs'"),
        (('than = ["b"]', 'than = ["b", "a"]'), "a model is compared with itself: a, b, a"),
        (('than = ["b"]', 'than = ["b", "b"]'), "a model is compared with itself: a, b, b"),
        (('than = ["b"]', "value = 101"), "value must be an accuracy in per cent, not 101"),
        (('than = ["b"]', "value = -2"), "value must be an accuracy in per cent, not -2"),
        (('than = ["b"]', "value = nan"), "value must be finite, not nan"),
        (('"higher"', '"equal"\nmargin = inf'), "margin must be finite, not inf"),
        (('"higher"', '"higher"\nsize = nan'), "size must be finite, not nan"),
        (
            ('"accuracy"\nmodel = "a"\nthan = ["b"]', '"loss"\nmodel = "a"\nvalue = 1.0'),
            "only accuracy can be compared with a number, not loss",
        ),
        (('"A is better."', '"A is\\nbetter."'), "sentence must be one line of printable text"),
    ],
)
def test_a_wrong_entry_is_one_line_and_the_others_are_judged(tmp_path, change, complaint):
    other = CLAIM.replace('"better"', '"other"')
    claims = claims_of(tmp_path, CLAIM.replace(*change) + other)
    assert [claim.id for claim in claims.claims] == ["other"]
    ((name, line),) = claims.refused
    assert name == "better"
    assert complaint in line
    assert "better" in line
    assert "\n" not in line


def test_a_name_of_an_entry_that_breaks_the_line_is_escaped(tmp_path):
    ((name, line),) = claims_of(tmp_path, CLAIM.replace('"better"', '"bet\\nter"')).refused
    assert "\n" not in name + line
    assert "id must be one line of printable text" in line


def test_an_id_that_comes_twice_is_refused(tmp_path):
    claims = claims_of(tmp_path, CLAIM + CLAIM)
    assert len(claims.claims) == 1
    assert "same id" in claims.complaints[0]


@pytest.mark.parametrize("text", ["", "claim = 3", "[[claim", '[[claim]]\n[other]\na = "b"'])
def test_a_file_without_claims_is_one_line(tmp_path, text):
    with pytest.raises(UsageError, match=r"claims\.toml"):
        claims_of(tmp_path, text)


def test_names_that_do_not_exist_are_reported_with_their_claim(tmp_path):
    claims = claims_of(tmp_path).claims
    assert check_names(claims, ["a", "b"], ["digits"], ["smoke"]) == []
    (line,) = check_names(claims, ["a", "bb"], ["digits"], ["smoke"])
    assert line.startswith("better: unknown model 'b'")
    assert "dataset" in check_names(claims, ["a", "b"], ["mnist"], ["smoke"])[0]
    assert "budget" in check_names(claims, ["a", "b"], ["digits"], ["full"])[0]


def test_a_model_that_does_not_suit_the_dataset_is_a_cell_that_is_not_there(tmp_path):
    claims = claims_of(tmp_path).claims
    names = (["a", "b"], ["digits"], ["smoke"])
    (line,) = check_names(
        claims, *names, lambda model, dataset: (model, dataset) != ("b", "digits")
    )
    assert line == "better: there is no cell of b on digits"


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


def test_a_bar_in_a_sentence_does_not_end_a_cell_of_the_table(tmp_path):
    found = judged(tmp_path, [], CLAIM.replace("A is better.", "A|B is better."))
    (row,) = [line for line in claims_document(found, "").splitlines() if "is better." in line]
    assert r"| A\|B is better. | a paper |" in row


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


def test_epochs_are_counted_until_the_target_is_reached(tmp_path):
    def curve(*accuracies: float):
        return [
            {"epoch": epoch, "train_loss": 1.0, "loss": 1.0, "accuracy": accuracy}
            for epoch, accuracy in enumerate(accuracies, start=1)
        ]

    text = CLAIM.replace('"accuracy"', '"epochs"\ntarget = 90.0').replace('"higher"', '"lower"')
    records = [
        *runs("a", HIGH, validation=curve(0.8, 0.91, 0.95, 0.95), kept_epoch=4),
        *runs("b", HIGH, validation=curve(0.5, 0.6, 0.7, 0.8), kept_epoch=4),
    ]
    (one,) = judged(tmp_path, records, text)
    ((difference,),) = one.ways.values()
    assert difference.values == ((2.0,) * 5, (5.0,) * 5)
    assert one.finding("trained") is Finding.HOLDS


def test_other_data_are_never_compared(tmp_path):
    records = runs("a", HIGH) + runs("b", LOW, data_hash="other")
    (one,) = judged(tmp_path, records)
    assert one.finding("trained") is Finding.OPEN
    assert "different data" in claims_table([one])


def test_a_record_counts_before_the_baseline_of_its_seed_and_further_seeds_stay():
    whole = runs("a", HIGH[:2])
    baseline = baseline_of(runs("a", [0.5, 0.51, 0.52]))
    stored = Baselines({"smoke/digits/a": baseline}, {})
    (cell,) = stored_cells(stored, whole).values()
    assert [(run.seed, run.accuracy) for run in cell.runs] == [(0, 0.97), (1, 0.971), (2, 0.52)]
    assert [record.seed for record in cell.records] == [0, 1]
    (cell,) = stored_cells(
        stored, [dataclasses.replace(r, recipe_hash="new") for r in whole]
    ).values()
    assert [run.seed for run in cell.runs] == [0, 1]


def test_searches_failures_and_closed_test_sets_are_no_evidence(tmp_path):
    good = runs("a", HIGH) + runs("b", LOW)
    bad = [
        dataclasses.replace(record(seed=9), model="b", dataset="digits", status="crashed"),
        *runs("b", [0.999], is_search=True),
    ]
    assert stored_cells(Baselines({}, {}), good + bad) == stored_cells(Baselines({}, {}), good)


def test_table_document_and_page_tell_the_same_verdict(tmp_path):
    found = judged(tmp_path, runs("a", HIGH) + runs("b", LOW))
    assert "holds (a - b: +7.00 points" in claims_table(found)
    assert "**holds**: a - b: +7.00 points" in claims_document(found, "stn claims claims.toml")
    assert "1 hold" in tally_line(found)
    write_claims_page(found, tmp_path / "claims.html", "stn claims claims.toml")
    page = (tmp_path / "claims.html").read_text()
    assert "A is better." in page
    assert "stn claims claims.toml" in page
    assert page.count("<svg") == 1


@pytest.mark.parametrize(("as_published", "rows"), [(HIGH, 1), (LOW, 2)])
def test_a_claim_with_the_same_finding_in_both_ways_is_listed_once(tmp_path, as_published, rows):
    text = CLAIM.replace('trained = "smoke"', 'published = "predecessor"\ntrained = "smoke"')
    found = [*runs("a", HIGH), *runs("b", MIDDLE)]
    found += runs("a", as_published, budget="predecessor")
    found += runs("b", MIDDLE, budget="predecessor")
    assert claims_excerpt(judged(tmp_path, found, text)).count("A is better.") == rows


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
