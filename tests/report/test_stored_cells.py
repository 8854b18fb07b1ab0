"""Which stored runs are evidence for a claim."""

from __future__ import annotations

import dataclasses

import pytest

from stn_core.gate.baselines import Baselines, baseline_of
from stn_core.report.stored_cells import stored_cells
from tests.examples import record
from tests.report.claiming import HIGH, LOW, runs


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


@pytest.mark.parametrize(
    ("present", "seeds"), [("new", [0, 1, 2]), ("old", [0, 1]), ("newest", [0, 1]), ("", [0, 1])]
)
def test_records_of_an_older_recipe_do_not_hide_a_baseline_of_the_present_one(present, seeds):
    stored = Baselines({"smoke/digits/a": baseline_of(runs("a", LOW[:3], recipe_hash="new"))}, {})
    older = runs("a", HIGH[:2], recipe_hash="old")
    (cell,) = stored_cells(stored, older, lambda key: present).values()
    assert [run.seed for run in cell.runs] == seeds
    assert cell.is_outdated is (present == "newest")


def test_searches_failures_and_closed_test_sets_are_no_evidence():
    good = runs("a", HIGH) + runs("b", LOW)
    bad = [
        dataclasses.replace(record(seed=9), model="b", dataset="digits", status="crashed"),
        *runs("b", [0.999], is_search=True),
    ]
    assert stored_cells(Baselines({}, {}), good + bad) == stored_cells(Baselines({}, {}), good)
