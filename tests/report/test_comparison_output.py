"""The table and the lines say what the comparison found."""

import math

from stn_core.report.comparison import compare_sources
from stn_core.report.comparison_output import (
    comparison_answer,
    comparison_frame,
    comparison_lines,
    comparison_table,
)
from tests.report.test_comparison import cell, source

A = source(
    cell([0.90, 0.91, 0.92], "better", losses=[0.40, 0.42, 0.41]),
    cell([0.90, 0.91, 0.92], "gone"),
    cell([0.90, 0.91, 0.92], "same"),
    cell([0.90], "single"),
    cell([0.90, 0.94, 0.92], "surer", losses=[0.40, 0.42, 0.41]),
)
B = source(
    cell([0.97, 0.96, 0.98], "better", losses=[0.20, 0.21, 0.205]),
    cell([0.90, 0.91, 0.92], "same"),
    cell([0.95], "single"),
    cell([0.90, 0.92, 0.94], "surer", losses=[0.20, 0.21, 0.205], recipe_hash="new"),
)
FOUND = compare_sources(A, B)


def test_text_has_a_row_a_cell_with_both_sides_and_the_interval():
    header, *lines = comparison_table(FOUND, width=1000).splitlines()
    assert header.split()[:4] == ["budget", "dataset", "model", "finding"]
    rows = lines[-len(FOUND) :]
    assert [row.split()[2] for row in rows] == ["better", "gone", "same", "single", "surer"]
    assert "better   B better" in rows[0]
    assert "91.00 ± 1.00 (3)  97.00 ± 1.00 (3)" in rows[0]
    assert "+6.00 [+" in rows[0]
    assert "[" not in rows[1] + rows[2]
    assert "only in A" in rows[1]
    assert "identical" in rows[2]
    assert "+5.00 [n/a]" in rows[3]
    assert "not distinguishable" in rows[4]
    assert rows[4].endswith("other recipe")
    assert "nan" not in comparison_table(FOUND)


def test_a_narrow_table_does_without_the_loss():
    assert "loss" in comparison_table(FOUND, width=1000)
    table, _, note = comparison_table(FOUND, width=80).rpartition("\n(")
    assert "loss" not in table
    assert note == "also in comparison.html: budget; test loss, B - A, %)"


def test_the_device_is_named_where_it_differs():
    on_gpu = source(cell([0.5, 0.6], "better", device="cuda"))
    assert "cpu against cuda" in comparison_table(compare_sources(A, on_gpu))


def test_no_number_is_longer_than_it_means():
    wild = source(cell([0.5, 0.9], "better", losses=[1e-9, 1e9]))
    assert ">1000" in comparison_table(compare_sources(A, wild), width=1000)


def test_numbers_are_those_of_the_text():
    frame = comparison_frame(FOUND).set_index("model")
    better = frame.loc["better"]
    assert round(better["a_percent"], 9) == 91.0
    assert round(better["b_sd"], 9) == 1.0
    assert round(better["difference_points"], 9) == 6.0
    assert 0 < better["low_points"] < better["high_points"]
    assert round(better["difference_loss_percent"], 9) == -50.0
    assert better["b_train_seconds"] == 2.0
    assert frame["finding"].tolist() == [str(comparison.finding) for comparison in FOUND]
    assert frame.loc["surer", "caution"] == "other recipe"
    assert frame.loc["gone", "b_runs"] == 0
    assert math.isnan(frame.loc["gone", "b_percent"])
    assert math.isnan(frame.loc["single", "low_points"])


def test_the_answer_counts_and_names_what_is_worse():
    assert comparison_answer(FOUND) == (
        "5 cells: 1 B better, 2 not distinguishable, 1 identical, 1 only in A."
    )
    assert comparison_answer(compare_sources(B, A)) == (
        "5 cells: 1 A better, 2 not distinguishable, 1 identical, 1 only in B; worse in B: better"
        " on d (-6.00 points)."
    )


def test_the_lines_say_what_the_loss_adds():
    lines = comparison_lines(FOUND)
    assert lines[0] == (
        "the test loss of B is lower, but its accuracy was not found to be higher: smoke/d/surer"
    )
    assert lines[1].startswith("[95 %]: in 95 % of such comparisons every interval")
    assert "here 2, " in lines[1]
    turned = comparison_lines(compare_sources(B, A))
    assert turned[0].startswith("the test loss of B is higher, but its accuracy was not found")


def test_the_interval_is_not_explained_if_all_cells_are_identical():
    assert comparison_lines(compare_sources(A, A)) == []
