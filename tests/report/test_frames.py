"""A session as DataFrames: the numbers of its records, and how sure a standing is."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from stn_core.gate.judgement import Judgement, Verdict
from stn_core.report.frames import epochs_frame, runs_frame, statistics_frame
from stn_core.report.results_table import results_table
from tests.examples import baseline, record


def judgement(model, accuracies, dataset="d", verdict=Verdict.PASS, stored=None, **changes):
    records = tuple(record(n, accuracy, **changes) for n, accuracy in enumerate(accuracies))
    stored = baseline(stored) if stored else None
    return Judgement(f"smoke/{dataset}/{model}", verdict, records=records, baseline=stored)


CLEAR = [
    judgement("bad", [0.10, 0.11, 0.12]),
    judgement("good", [0.97, 0.98, 0.975]),
    judgement("fair", [0.97, 0.975, 0.96]),
]


def test_the_interval_is_students():
    row = statistics_frame(CLEAR).iloc[0]
    values = 100 * np.array([0.97, 0.98, 0.975])
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (row["model"], row["runs"]) == ("good", 3)
    given = row[["mean_percent", "sd_points", "low_percent", "high_percent"]].astype(float)
    assert given.tolist() == pytest.approx([97.5, values.std(ddof=1), low, high])


def test_no_end_of_an_interval_is_beyond_what_an_accuracy_can_be():
    frame = statistics_frame([judgement("low", [0.0, 0.01]), judgement("high", [1.0, 0.99])])
    assert frame["low_percent"].min() == 0
    assert frame["high_percent"].max() == 100


def test_the_tied_models_agree_with_the_table_and_the_p_values():
    frame = statistics_frame(CLEAR).set_index("model")
    assert list(frame.index) == ["good", "fair", "bad"]
    best = results_table(CLEAR, 3).frame.set_index("model")["best_of_dataset"] != ""
    assert frame["tied"].equals(best.rename("tied"))
    assert frame["tied"].equals((frame["p_against_best"] >= 0.05).rename("tied"))
    assert frame["tied"].to_dict() == {"good": True, "fair": True, "bad": False}


@pytest.mark.parametrize("verdict", [Verdict.IDENTICAL, Verdict.PASS])
def test_stored_runs_of_a_cell_that_passes_count(verdict):
    lucky = judgement("lucky", [0.99], verdict=verdict, stored=[0.99] + [0.50] * 19)
    row = statistics_frame([lucky, *CLEAR]).set_index("model").loc["lucky"]
    assert (row["runs"], row["mean_percent"], row["tied"]) == (20, pytest.approx(52.45), False)


def test_columns_that_need_two_runs_are_nan_for_one():
    row = statistics_frame([judgement("one", [0.9])]).iloc[0]
    assert row["mean_percent"] == 90
    assert row[["sd_points", "low_percent", "high_percent", "p_against_best"]].isna().all()


def test_a_search_is_not_compared_with_other_models():
    closed = {"is_search": True, "test_images": 0, "test_cross_entropy": None}
    runs = tuple(record(seed, None, **closed) for seed in range(3))
    row = statistics_frame([Judgement("smoke/d/m", Verdict.NEW, records=runs)]).iloc[0]
    assert (row["mean_percent"], row["tied"]) == (90, False)
    assert np.isnan(row["p_against_best"])


def test_a_cell_with_a_failed_run_has_a_row_but_no_rank():
    diverged = record(2, None, status="diverged", test_cross_entropy=None)
    lucky = judgement("lucky", [0.999, 0.998], verdict=Verdict.DIVERGED)
    lucky = dataclasses.replace(lucky, records=(*lucky.records, diverged))
    frame = statistics_frame([lucky, *CLEAR]).set_index("model")
    assert (frame.loc["lucky", "runs"], frame.loc["lucky", "tied"]) == (2, False)
    assert np.isnan(frame.loc["lucky", "p_against_best"])
    others = statistics_frame(CLEAR).set_index("model")
    assert frame.drop("lucky").equals(others)


def test_without_a_good_run_there_is_no_row():
    crashed = judgement("broken", [None], status="crashed")
    assert statistics_frame([crashed]).empty
    assert len(statistics_frame([crashed, *CLEAR])) == 3


def test_a_run_is_a_row_with_its_recipe_and_its_environment():
    runs = [record(0), record(1, status="crashed", kept_epoch=0)]
    frame = runs_frame(runs)
    assert frame["status"].tolist() == ["ok", "crashed"]
    assert frame["recipe.epochs"].tolist() == [runs[0].recipe["epochs"]] * 2
    assert frame["environment.torch"].tolist() == [runs[0].environment.torch] * 2
    assert frame["validation_accuracy"].fillna(-1).tolist() == [0.9, -1]
    fields = {field.name for field in dataclasses.fields(runs[0])}
    left_out = fields - set(frame) - {"recipe", "environment"}
    assert left_out == {"confusion", "worst_mistakes", "validation", "metrics"}
    (with_metric,) = runs_frame([record(0, metrics={"macro_auc": 0.5})])["metrics.macro_auc"]
    assert with_metric == 0.5


def test_an_epoch_is_a_row():
    epoch = {"train_loss": 0.5, "loss": 0.3, "accuracy": 0.9}
    runs = [
        record(seed, validation=[{"epoch": n, **epoch} for n in range(1, seed + 2)])
        for seed in (0, 1)
    ]
    frame = epochs_frame(runs)
    assert list(zip(frame["seed"], frame["epoch"], strict=True)) == [(0, 1), (1, 1), (1, 2)]
    assert frame.iloc[0].to_dict() == {
        **{"budget": "smoke", "dataset": "digits", "model": "stn", "seed": 0, "epoch": 1},
        **epoch,
    }
