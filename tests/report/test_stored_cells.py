"""Which stored runs are evidence for a claim."""

from __future__ import annotations

import dataclasses

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


def test_searches_failures_and_closed_test_sets_are_no_evidence():
    good = runs("a", HIGH) + runs("b", LOW)
    bad = [
        dataclasses.replace(record(seed=9), model="b", dataset="digits", status="crashed"),
        *runs("b", [0.999], is_search=True),
    ]
    assert stored_cells(Baselines({}, {}), good + bad) == stored_cells(Baselines({}, {}), good)
