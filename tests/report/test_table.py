"""The table says what the judgements say, in order."""

import pandas as pd

from stn_core.gate.verdict import Judgement, Verdict
from stn_core.report.table import comparison_frame, comparison_table, remarks, write_tables
from tests.examples import baseline, record


def judgement(dataset, model, accuracies, verdict=Verdict.PASS, message=""):
    records = tuple(record(seed, accuracy) for seed, accuracy in enumerate(accuracies))
    stored = baseline([0.9, 0.9])
    tolerance = 1.0 if accuracies else None
    key = f"smoke/{dataset}/{model}"
    return Judgement(key, verdict, message, records, stored, tolerance)


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
    assert "nan" not in "\n".join(lines)


def test_only_what_needs_a_word_gets_one():
    assert remarks(SESSION) == ["MISSING  smoke/a/gone: it did not run"]


def test_what_is_said_of_many_is_said_once():
    many = [judgement("a", f"m{n}", [], Verdict.MISSING, "not run") for n in range(5)]
    assert remarks(many[:2]) == ["MISSING  smoke/a/m0, smoke/a/m1: not run"]
    assert remarks(many) == ["MISSING  5 cells: not run"]


def test_files_hold_the_same(tmp_path):
    write_tables(tmp_path, SESSION)
    assert comparison_table(SESSION, "github") in (tmp_path / "table.md").read_text()
    frame = pd.read_csv(tmp_path / "table.csv")
    assert list(frame["model"]) == ["only", "gone", "better", "worse"]


def test_nothing_gives_an_empty_table():
    assert comparison_table([]) == ""
