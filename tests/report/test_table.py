"""The table says what the judgements say, in order."""

import dataclasses

import pandas as pd

from stn_core.gate.baselines import Baselines
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.report.table import (
    comparison_frame,
    comparison_table,
    plan_table,
    remarks,
    tally,
    write_step_summary,
    write_tables,
)
from tests.examples import CELL, baseline, record


def judgement(dataset, model, accuracies, verdict=Verdict.PASS, message=""):
    records = tuple(record(seed, accuracy) for seed, accuracy in enumerate(accuracies))
    stored = baseline([0.9, 0.9])
    detectable = 1.0 if accuracies else None
    key = f"smoke/{dataset}/{model}"
    return Judgement(key, verdict, message, records, stored, detectable)


SESSION = [
    judgement("b", "worse", [0.80, 0.82]),
    judgement("b", "better", [0.90, 0.92]),
    judgement("a", "gone", [], Verdict.MISSING, "it did not run"),
    judgement("a", "only", [0.95]),
]


def test_sorted_by_accuracy_within_each_dataset():
    frame = comparison_frame(SESSION)
    rows = list(zip(frame["dataset"], frame["model"], strict=True))
    assert rows == [("a", "only"), ("a", "gone"), ("b", "better"), ("b", "worse")]


def test_numbers_are_means_and_differences_in_points():
    row = comparison_frame(SESSION).iloc[2]
    assert row["accuracy_percent"] == 91.0
    assert round(row["accuracy_sd"], 6) == round(100 * 0.02 / 2**0.5, 6)
    assert round(row["difference_points"], 9) == 1.0
    assert row["seconds_per_epoch"] == 2.0


def test_text_has_every_cell_and_verdict():
    lines = comparison_table(SESSION).splitlines()
    assert len(lines) == 2 + len(SESSION)
    assert "91.00 ± 1.41 (2)" in lines[4]
    assert "+1.00" in lines[4]
    assert "27,360" in lines[4]
    assert lines[3].endswith("MISSING")  # it has built no model, so there is none of 0 parameters
    assert "nan" not in "\n".join(lines)


def test_only_what_needs_a_word_gets_one():
    assert remarks(SESSION) == ["MISSING  smoke/a/gone: it did not run"]


def test_what_is_said_of_many_is_said_once():
    many = [judgement("a", f"m{n}", [], Verdict.MISSING, "not run") for n in range(5)]
    assert remarks(many[:2]) == ["MISSING  smoke/a/m0, smoke/a/m1: not run"]
    assert remarks(many) == ["MISSING  5 cells: not run"]


def test_files_hold_the_same(tmp_path):
    write_tables(tmp_path, SESSION, 10)
    assert comparison_table(SESSION, "github") in (tmp_path / "table.md").read_text()
    frame = pd.read_csv(tmp_path / "table.csv")
    assert list(frame["model"]) == ["only", "gone", "better", "worse"]


def test_the_best_of_each_dataset_are_marked():
    clear = [judgement("c", "good", [0.97, 0.98, 0.975]), judgement("c", "bad", [0.1, 0.11, 0.12])]
    close = [judgement("d", "one", [0.90, 0.92, 0.91]), judgement("d", "two", [0.91, 0.90, 0.92])]
    frame = comparison_frame([*clear, *close]).set_index("model")
    assert frame["best"].to_dict() == {"good": True, "bad": False, "one": True, "two": True}


def test_a_cell_that_repeats_its_baseline_is_compared_by_all_its_runs():
    """One lucky seed of an unchanged model makes it no winner."""
    lucky = dataclasses.replace(judgement("e", "lucky", [0.99], Verdict.IDENTICAL))
    lucky = dataclasses.replace(lucky, baseline=baseline([0.50, 0.51] * 10))
    steady = judgement("e", "steady", [0.90, 0.91, 0.92])
    frame = comparison_frame([lucky, steady]).set_index("model")
    assert list(frame.index) == ["steady", "lucky"]
    assert frame["best"].to_dict() == {"lucky": False, "steady": True}


def test_the_tally_counts_runs_and_gives_advice_on_speed():
    slow = dataclasses.replace(SESSION[3], slowdown=2.0)
    assert tally(SESSION, 3) == [
        "4 cells, 5 runs: 1 MISSING, 3 PASS; 4 runs spared, the answer was clear"
    ]
    one = dataclasses.replace(slow, records=slow.records[:1])
    assert tally([one], 2)[0] == "1 cell, 1 run: 1 PASS; 1 run spared, the answer was clear"
    assert tally([slow], 3)[1].startswith(
        "advice: 1 cells trained more slowly than stored, in the m"
    )


def test_the_step_summary_is_appended(tmp_path):
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    write_step_summary(page, "smoke", SESSION, 10)
    text = page.read_text()
    assert text.startswith("before\n## stn_core, budget smoke\n\n| dataset")
    assert "- MISSING  smoke/a/gone: it did not run" in text


def test_a_plan_says_how_long_it_takes():
    new = dataclasses.replace(CELL, model="new")
    left = {CELL.key: (1, 10), new.key: (3, 3)}
    lines = plan_table([CELL, new], left, Baselines({CELL.key: baseline([0.9] * 3)}, {}), "cpu")
    first, second, _, total = lines.splitlines()[2:]
    assert first.split() == ["digits", "stn", "2", "1", "to", "10", "2.0", "0.0", "to", "0.3"]
    assert second.split() == ["digits", "new", "2", "3", "unknown"]
    assert total == "2 cells, 0.0 to 0.3 minutes of training, beside 1 that were never measured"
    assert plan_table([new], left, Baselines({}, {}), "cpu").splitlines()[-1].startswith("1 cell, ")


def test_nothing_gives_an_empty_table():
    assert comparison_table([]) == ""
