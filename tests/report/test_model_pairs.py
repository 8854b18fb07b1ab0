"""Models of one dataset are compared with each other, and with no model of another."""

import csv

import pandas as pd
import pytest

from stn_core.errors import UsageError
from stn_core.report.model_pairs import (
    PairFinding,
    compare_models,
    pairs_answer,
    pairs_table,
    write_pairs,
)
from stn_core.report.model_pairs_page import (
    MOST_NUMBERED_MODELS,
    matrix_chart,
    write_pairs_page,
)
from stn_core.report.svg import drawing_style
from stn_core.suite.commands import main
from tests.report.folders import a_run, write_session
from tests.report.test_comparison import cell, source

GOOD, POOR = [0.97, 0.975, 0.98], [0.90, 0.91, 0.905]
SIDE = source(
    cell(GOOD, "good", losses=[0.1, 0.11, 0.105]),
    cell(POOR, "poor", losses=[0.3, 0.31, 0.32]),
    cell([0.965, 0.98, 0.97], "near", losses=[0.1, 0.12, 0.11]),
    cell(GOOD, "good", dataset="e"),
)


def by_names(pairs):
    return {(pair.first.model, pair.second.model): pair for pair in pairs}


def test_each_pair_of_a_dataset_is_listed_once_with_the_better_model_first():
    pairs, complaints = compare_models(SIDE)
    found = by_names(pairs)
    assert list(found) == [("good", "near"), ("good", "poor"), ("near", "poor")]
    assert complaints == ["smoke/e (cpu): only good, nothing to compare"]
    assert found["good", "poor"].finding is PairFinding.BETTER
    assert found["good", "poor"].points.estimate == pytest.approx(7.0)
    assert found["good", "poor"].loss_percent.high < 0
    near = found["good", "near"]
    assert near.finding is PairFinding.NOT_DISTINGUISHABLE
    assert near.seeds > 3
    assert found["good", "poor"].seeds is None


def test_within_a_margin_models_are_equivalent():
    pairs, _ = compare_models(SIDE, ["good", "near"], margin_points=10.0)
    (pair,) = pairs
    assert pair.finding is PairFinding.EQUIVALENT
    assert "1 is equivalent" in pairs_answer(pairs)


def test_one_run_per_side_has_no_interval_and_is_not_distinguishable():
    pairs, _ = compare_models(source(cell([0.2], "a"), cell([0.9], "b")))
    assert pairs[0].finding is PairFinding.NOT_DISTINGUISHABLE
    assert pairs[0].seeds is None
    assert "[n/a]" in pairs_table(pairs, width=1000)


def test_other_data_are_left_out_and_reported():
    other = cell(GOOD, "elsewhere", data_hash="other")
    pairs, complaints = compare_models(source(*SIDE.cells, other))
    assert len(pairs) == 3
    assert complaints[0] == "smoke/d/elsewhere: measured on other data, left out"


def test_models_that_cannot_be_compared_are_refused_in_one_line():
    with pytest.raises(UsageError, match="did you mean good"):
        compare_models(SIDE, ["goo"])
    with pytest.raises(UsageError, match="no dataset has two of these models"):
        compare_models(SIDE, ["good"])


def matrix_of(pairs):
    """What the matrix says, by row and column, and the model of each row."""
    with drawing_style():
        (axes,) = matrix_chart(pairs).axes
    said = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    return said, [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize("models", [(), ("good", "poor")], ids=["some", "none"])
def test_numbers_of_seeds_are_whole_in_the_file_though_not_every_pair_has_one(tmp_path, models):
    pairs, _ = compare_models(SIDE, models)
    write_pairs(pairs, tmp_path / "models.csv")
    with (tmp_path / "models.csv").open(newline="") as file:
        written = [row["seeds_to_settle"] for row in csv.DictReader(file)]
    assert written == [str(pair.seeds or "") for pair in pairs]


def test_the_matrix_shows_each_pair_from_both_sides():
    said, rows = matrix_of(compare_models(SIDE)[0])
    assert rows == ["good", "near", "poor"]
    assert len(said) == 6
    assert said[0, 2] == "↑\n+7.00"
    assert said[2, 0] == "↓\n-7.00"
    assert {said[0, 1][0], said[1, 0][0]} == {"○"}
    said, _ = matrix_of(compare_models(SIDE, ["good", "near"], margin_points=10.0)[0])
    assert {text[0] for text in said.values()} == {"≈"}


def test_a_matrix_of_many_models_has_symbols_alone():
    many = source(*(cell(GOOD, f"m{number}") for number in range(MOST_NUMBERED_MODELS + 1)))
    said, rows = matrix_of(compare_models(many)[0])
    assert len(said) == len(rows) * (len(rows) - 1)
    assert set(said.values()) == {"○"}


def test_the_page_has_a_matrix_and_the_seeds_of_each_dataset(tmp_path):
    both = source(*SIDE.cells, cell(POOR, "poor", dataset="e"))
    pairs, _ = compare_models(both)
    page, figures = tmp_path / "page.html", tmp_path / "figures"
    write_pairs_page(pairs, both, page, figures, ["a run was left out"])
    text = page.read_text()
    assert pairs_answer(pairs) in text
    assert "a run was left out" in text
    names = [f"{kind}-smoke-{dataset}-cpu" for kind in ("pairs", "seeds") for dataset in "de"]
    assert sorted(path.stem for path in figures.iterdir()) == names
    assert text.count('<svg role="img"') == len(names)
    assert text.count(">better</span>") == 3


def test_the_command_prints_a_table_and_writes_it(tmp_path, capsys):
    runs = [a_run(seed, model) for model in ("stn", "cnn") for seed in (0, 1)]
    folder = write_session(tmp_path / "s", runs, pictures=False)
    assert main(["compare", str(folder), "--models", "stn,cnn", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("0 of 1 pair of models differ; 1 is not distinguishable.")
    assert (tmp_path / "comparison.html").exists()
    frame = pd.read_csv(tmp_path / "models.csv")
    assert frame["finding"].tolist() == ["not distinguishable"]
    assert frame["low_points"].iloc[0] < 0 < frame["high_points"].iloc[0]


def test_a_variant_is_found_however_the_command_line_spells_it(tmp_path, capsys):
    names = ("stn[hidden=20,warp=tps]", "theirs[depth=2,width=3]")
    runs = [a_run(seed, model) for model in names for seed in (0, 1)]
    folder = write_session(tmp_path / "s", runs, pictures=False)
    command = ["compare", str(folder), "--out", str(tmp_path), "--models"]
    spelled = "stn[ warp=tps, hidden=20, sampler=bilinear], theirs[width=3,depth=2]"
    assert main([*command, spelled]) == 0
    assert "1 pair" in capsys.readouterr().out
    assert main([*command, "stn[warp=,],cnn"]) == 2
    assert capsys.readouterr().err.startswith("malformed model name 'stn[warp=,]'")


@pytest.mark.parametrize("margin", ["nan", "-1", "0", "inf", "101"])
def test_a_margin_that_makes_no_sense_is_one_line(tmp_path, capsys, margin):
    assert main(["compare", str(tmp_path), "--models", "all", f"--margin={margin}"]) == 2
    assert capsys.readouterr().err.strip() == (
        "--margin needs --models and a number of points above 0 and up to 100"
    )


def test_a_margin_is_for_models_alone(tmp_path, capsys):
    assert main(["compare", str(tmp_path), str(tmp_path), "--margin", "0.2"]) == 2
    assert capsys.readouterr().err.startswith("--margin needs --models")
