"""The tables of accuracy against rising changes."""

from pathlib import Path

import pandas as pd

from stn_core.report.robustness import robustness_tables, write_robustness_curves

COLUMNS = ["dataset", "model", "seed", "images", "change", "unit", "amount", "accuracy"]


def test_every_change_has_a_table_with_mean_spread_and_number_of_seeds():
    rows = [
        ("digits", model, seed, "test", change, "degrees", amount, accuracy + seed / 100)
        for model, accuracy in (("cnn", 0.5), ("stn", 0.75))
        for seed in (0, 1)
        for change, amount in (("rotation", 0), ("rotation", 1.5), ("shear", 3))
    ]
    text = robustness_tables(pd.DataFrame(rows, columns=COLUMNS))
    rotation, shear = text.strip().split("\n\n")
    assert rotation.startswith("rotation, degrees; test images; test accuracy, %\n")
    assert rotation.splitlines()[1].split()[:5] == ["dataset", "model", "0", "1.5", "area"]
    assert rotation.splitlines()[-1].split() == [
        "digits",
        "stn",
        *["75.50", "±", "0.71", "(2)"] * 2,
        *["75.50", "[69.15,", "81.85]", "(2)"],  # 12.706, Student's for two, times 0.7071 / √2
    ]
    assert shear.startswith("shear, degrees; test images; test accuracy, %\n")


def test_the_area_is_that_under_the_curve_and_what_warps_nothing_has_no_row():
    columns = [*COLUMNS, "consistency", "misplaced"]
    rows = [
        ("digits", model, 0, "test", "rotation", "degrees", amount, 0.5, same, off)
        for model, distances in (("stn", (0.0, 1.0, 4.0)), ("cnn", (None, None, None)))
        for amount, same, off in zip((0, 10, 40), (1.0, 0.8, 0.5), distances, strict=True)
    ]
    accuracy, same, off = robustness_tables(pd.DataFrame(rows, columns=columns)).split("\n\n")
    assert "same prediction as for the unchanged image, %" in same
    area = (0.9 * 10 + 0.65 * 30) / 40
    assert same.splitlines()[-1].split()[-2:] == [f"{100 * area:.2f}", "(1)"]
    assert "cnn" in accuracy
    assert "cnn" not in off
    assert off.splitlines()[-1].split()[-2:] == [f"{(0.5 * 10 + 2.5 * 30) / 40:.2f}", "(1)"]


def test_one_seed_has_no_spread():
    row = pd.DataFrame(
        [["digits", "cnn", 0, "test", "rotation", "degrees", 15, 0.5]],
        columns=COLUMNS,
    )
    assert "50.00 (1)" in robustness_tables(row)


def test_every_dataset_has_its_curves_with_every_model_and_change(tmp_path):
    rows = [
        (dataset, model, seed, "validation", change, "degrees", amount, 0.5)
        for dataset in ("digits", "my: set")
        for model in ("cnn", "stn")
        for seed in (0, 1)
        for change in ("rotation", "shear")
        for amount in (0, 1.5)
    ]
    written = write_robustness_curves(pd.DataFrame(rows, columns=COLUMNS), tmp_path)
    assert len(written) == 2
    for file in written:
        text = Path(file).read_text()
        assert all(f">{word}<" in text for word in ("cnn", "stn", "rotation, degrees"))
        assert text.count(">validation accuracy, %<") == 2
