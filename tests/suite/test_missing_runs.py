"""Which runs a claim still needs, beside those that are stored."""

import dataclasses

import pytest

from stn_core.gate.baselines import Baselines, baseline_of
from stn_core.report.stored_cells import stored_cells
from stn_core.session.budgets import get_budget
from stn_core.suite.missing_runs import missing_runs
from tests.examples import environment, record
from tests.report.claiming import CLAIM, claims_of

SIDES = ("cnn", "stn")
SEEDS = (0, 1, 2)


def claim_about(tmp_path, metric='"accuracy"'):
    text = CLAIM.replace('"accuracy"', metric).replace('"a"', '"stn"').replace('"b"', '"cnn"')
    (claim,) = claims_of(tmp_path, text).claims
    return claim


def runs(model, seeds=SEEDS, device="cpu", **changes):
    recipe = get_budget("smoke").recipe_for("digits", model, model)
    environment = dataclasses.replace(record().environment, device_type=device)
    changes = {"recipe_hash": recipe.hash(), "environment": environment} | changes
    return [
        dataclasses.replace(record(seed=seed), model=model, dataset="digits", **changes)
        for seed in seeds
    ]


def lacking(claim, baselines, records, device="cpu"):
    cells = {f"smoke/digits/{model}": baseline_of(of_model) for model, of_model in baselines}
    stored = stored_cells(Baselines(cells, {}), records)
    here = environment(device_type=device).machine
    return [(cell.model, seed) for cell, seed in missing_runs(claim, stored, SEEDS, here)]


def test_seeds_that_are_stored_are_not_trained_again(tmp_path):
    claim = claim_about(tmp_path)
    assert lacking(claim, [], []) == [(model, seed) for seed in SEEDS for model in SIDES]
    assert lacking(claim, [("stn", runs("stn"))], runs("cnn", (0, 2))) == [("cnn", 1)]
    # Other seeds do as well as those asked for.
    assert lacking(claim, [("stn", runs("stn", (7, 8)))], runs("cnn", (5, 6, 7))) == [("stn", 0)]


def test_epochs_need_whole_records(tmp_path):
    claim = claim_about(tmp_path, '"epochs"\ntarget = 90.0')
    stored = [(model, runs(model)) for model in SIDES]
    assert lacking(claim_about(tmp_path), stored, []) == []
    assert lacking(claim, stored, runs("stn")) == [("cnn", seed) for seed in SEEDS]


def test_baselines_of_an_older_recipe_do_not_count(tmp_path):
    stored = [(model, runs(model, recipe_hash="before")) for model in SIDES]
    assert len(lacking(claim_about(tmp_path), stored, [])) == 6


def test_seeds_measured_on_another_type_of_device_are_not_trained_again(tmp_path):
    claim = claim_about(tmp_path)
    on_card = [run for model in SIDES for run in runs(model, device="cuda")]
    assert lacking(claim, [], on_card) == []
    assert lacking(claim, [], on_card[1:] + runs("stn")) == [("cnn", seed) for seed in SEEDS]


def test_training_times_need_runs_on_a_quiet_machine(tmp_path):
    claim = claim_about(tmp_path, '"train_time"')
    busy = runs("cnn", (0,), other_load=0.5) + runs("cnn", (1,)) + runs("stn", other_load=0.02)
    assert lacking(claim, [("cnn", runs("cnn"))], busy) == [("cnn", seed) for seed in SEEDS]
    assert lacking(claim, [], runs("cnn", other_load=0.1) + runs("stn", other_load=0.0)) == []


def timed(model, seeds=SEEDS, **changes):
    return runs(model, seeds, other_load=0.0, environment=environment(**changes))


@pytest.mark.parametrize(
    "changes",
    [{"device_name": "another"}, {"instruction_set": "AVX512"}, {"threads": 2}],
    ids=lambda changes: next(iter(changes)),
)
def test_training_times_need_both_models_on_one_kind_of_machine(tmp_path, changes):
    claim = claim_about(tmp_path, '"train_time"')
    elsewhere = timed("stn", **changes)
    assert lacking(claim, [], elsewhere + timed("cnn")) == [("stn", seed) for seed in SEEDS]
    both = elsewhere + timed("cnn", (0, 1)) + timed("stn", (1, 2))
    assert lacking(claim, [], both) == [("stn", 0), ("cnn", 2)]
    # The new runs of a model leave the older ones of the other machine as they are.
    for order in (elsewhere + timed("stn"), timed("stn") + elsewhere):
        assert lacking(claim, [], order + timed("cnn")) == []
        assert lacking(claim, [], order + timed("cnn", **changes)) == []


def test_another_torch_is_no_other_kind_of_machine(tmp_path):
    claim = claim_about(tmp_path, '"train_time"')
    assert lacking(claim, [], timed("stn", torch="2.12.0") + timed("cnn")) == []


def test_one_record_tells_the_parameters_of_every_budget(tmp_path):
    claim = claim_about(tmp_path, '"parameters"')
    stored = [(model, runs(model)) for model in SIDES]
    assert lacking(claim, stored, []) == [("cnn", 0), ("stn", 0)]
    elsewhere = [run for model in SIDES for run in runs(model, (4,), budget="quick")]
    assert lacking(claim, stored, elsewhere) == []


def test_a_budget_limits_what_is_trained(tmp_path):
    claim = claim_about(tmp_path)
    both = dataclasses.replace(claim, budgets={"published": "predecessor", "trained": "smoke"})

    def trained(budget):
        missing = missing_runs(both, {}, SEEDS, environment().machine, budget)
        return {cell.budget for cell, _ in missing}

    assert trained(None) == {"predecessor", "smoke"}
    assert trained("predecessor") == {"predecessor"}
    assert trained("quick") == set()


def test_a_metric_on_request_needs_runs_that_were_measured_by_it(tmp_path):
    claim = claim_about(tmp_path, '"invariance"')
    measured = runs("stn", metrics={"invariance": 0.9})
    assert lacking(claim, [("cnn", runs("cnn"))], measured) == [("cnn", seed) for seed in SEEDS]
    both = [("cnn", runs("cnn", metrics={"invariance": 0.8})), ("stn", measured)]
    assert lacking(claim, both, []) == []
