"""baselines.json: what goes in comes out, and nothing else is taken for it."""

import dataclasses
import json

import pytest

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines, baseline_of, read_baselines, write_baselines
from tests.examples import CELL, environment, record

KEY = CELL.key


def stored(accuracies=(0.9, 0.92), key=KEY):
    records = [record(seed, accuracy) for seed, accuracy in enumerate(accuracies)]
    return Baselines({}, {}).updated({key: baseline_of(records)}, records)


def test_reading_gives_what_was_written(tmp_path):
    path = tmp_path / "baselines.json"
    write_baselines(path, stored())
    assert read_baselines(path) == stored()
    assert list(tmp_path.iterdir()) == [path]


def test_accuracies_are_stored_unrounded(tmp_path):
    """Any whole number of right images can be told from the next, however many images there are."""
    accuracies = [24_681 / 26_032, 24_682 / 26_032]
    write_baselines(tmp_path / "baselines.json", stored(accuracies))
    assert read_baselines(tmp_path / "baselines.json").cells[KEY].accuracies == accuracies


def test_only_the_cells_that_ran_are_replaced(tmp_path):
    other = "quick/mnist/cnn"
    before = Baselines({**stored().cells, other: stored().cells[KEY]}, stored().environments)
    records = [record(seed, 0.99, environment=environment(threads=2)) for seed in (0, 1)]
    after = before.updated({KEY: baseline_of(records)}, records)
    assert after.cells[other] == before.cells[other]
    assert after.cells[KEY].accuracies == [0.99, 0.99]
    assert set(after.environments) == {environment().key(), environment(threads=2).key()}


def test_environments_that_no_run_names_are_removed():
    records = [record(seed, environment=environment(threads=2)) for seed in (0, 1)]
    after = stored().updated({KEY: baseline_of(records)}, records)
    assert set(after.environments) == {environment(threads=2).key()}


def test_environments_that_only_a_dropped_cell_names_are_removed():
    other = "quick/mnist/cnn"
    records = [record(seed, environment=environment(threads=2)) for seed in (0, 1)]
    both = stored().updated({other: baseline_of(records)}, records)
    assert set(both.environments) == {environment().key(), environment(threads=2).key()}
    assert both.without([other]) == stored()


def test_a_fingerprint_is_of_what_was_measured():
    cell = stored().cells[KEY]
    assert stored().cells[KEY].fingerprint == cell.fingerprint
    assert stored((0.9, 0.93)).cells[KEY].fingerprint != cell.fingerprint
    assert dataclasses.replace(cell, data_hash="new").fingerprint != cell.fingerprint


def test_the_file_is_sorted_and_has_a_line_a_run(tmp_path):
    path = tmp_path / "baselines.json"
    cell = stored((0.9, 0.91, 0.92)).cells[KEY]
    write_baselines(path, Baselines({"b/b/b": cell, "a/a/a": cell}, stored().environments))
    lines = path.read_text().splitlines()
    assert sum('"seed"' in line for line in lines) == 6
    assert list(json.loads(path.read_text())["cells"]) == ["a/a/a", "b/b/b"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"status": "diverged", "test_accuracy": None}, "seed 1 diverged"),
        ({"is_search": True}, "search"),
        ({"environment": environment(dirty=True)}, "uncommitted"),
        ({"recipe_hash": "another"}, "different recipes or data"),
        ({"data_hash": "another"}, "different recipes or data"),
        ({"seed": 0}, "different seeds"),
    ],
)
def test_a_run_that_cannot_be_a_baseline_is_refused(changes, complaint):
    second = dataclasses.replace(record(1), **changes)
    with pytest.raises(UsageError, match=complaint):
        baseline_of([record(0), second])


def test_one_run_is_no_baseline():
    with pytest.raises(UsageError, match="two or more"):
        baseline_of([record(0)])


def broken(edit):
    values = {
        "version": 1,
        "environments": dict(stored().environments),
        "cells": {key: dataclasses.asdict(cell) for key, cell in stored().cells.items()},
    }
    edit(values)
    return json.dumps(values)


def _cell(values):
    return values["cells"][KEY]


def _run(values):
    return _cell(values)["runs"][1]


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda v: v.update(version=99), "version 1: its version is 99"),
        (lambda v: v.update(version=True), "version 1: its version is True"),
        (lambda v: v.update(extra=1), "'extra' is not a field"),
        (lambda v: _cell(v).update(test_images=10**400), f"{KEY}: test_images is out of range"),
        (lambda v: v["cells"].update({"\udcff": {}}), "udcff' is not budget/dataset/model"),
        (lambda v: v.pop("cells"), "cells is missing"),
        (lambda v: v["cells"].update(nonsense={}), "'nonsense' is not budget/dataset/model"),
        (lambda v: _cell(v).pop("data_hash"), f"{KEY}: data_hash is missing"),
        (
            lambda v: _cell(v).update(test_images="many"),
            f"{KEY}: test_images must be a whole number, not 'many'",
        ),
        (lambda v: _cell(v).update(test_images=0), f"{KEY}: test_images must be 1 or more"),
        (lambda v: _cell(v).update(runs=[]), f"{KEY}: has fewer than 2 runs"),
        (lambda v: _run(v).update(device="cuda"), f"{KEY}: run 2: device is 'cuda', that of"),
        (
            lambda v: _cell(v).update(runs=_cell(v)["runs"][:1]),
            f"{KEY}: has fewer than 2 runs on",
        ),
        (lambda v: _run(v).update(seed=0), f"{KEY}: has a seed twice"),
        (lambda v: _run(v).update(seed=-1), f"{KEY}: run 2: seed must be 0 or more"),
        (
            lambda v: _run(v).update(accuracy=10**400),
            f"{KEY}: run 2: accuracy is out of range: a whole",
        ),
        (lambda v: _run(v).update(colour="red"), f"{KEY}: run 2: 'colour' is not a field"),
        (lambda v: _cell(v).update(notes=""), f"{KEY}: 'notes' is not a field"),
        (lambda v: v["cells"].update({"//": _cell(v)}), "'//' is not budget/dataset/model"),
        (lambda v: _run(v).update(accuracy="high"), f"{KEY}: run 2: accuracy must be a number"),
        (lambda v: _run(v).update(accuracy=97.0), f"{KEY}: run 2: accuracy must be in"),
        (lambda v: _run(v).update(accuracy=float("nan")), "accuracy is out of range: nan"),
        (lambda v: _run(v).update(environment="?"), f"{KEY}: run 2: environment '\\?'"),
        (lambda v: _run(v).pop("digest"), f"{KEY}: run 2: digest is missing"),
    ],
)
def test_a_file_edited_by_hand_is_refused_with_cell_and_field(tmp_path, edit, complaint):
    path = tmp_path / "baselines.json"
    path.write_text(broken(edit))
    with pytest.raises(UsageError, match=complaint) as caught:
        read_baselines(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("once", "twice", "complaint"),
    [
        ('"version": 1', '"version": 1, "version": 1', "'version' appears twice"),
        (f'"{KEY}": {{', f'"{KEY}": {{}}, "{KEY}": {{', f"in cells: '{KEY}' appears twice"),
        ('"date"', '"date": "", "date"', f"in cells > {KEY}: 'date' appears twice"),
        ('"seed": 1', '"seed": 1, "seed": 7', f"in cells > {KEY} > runs > 2: 'seed' appears twice"),
        (
            '"threads"',
            '"threads": 2, "threads"',
            f"in environments > {environment().key()}: 'threads' appears twice",
        ),
    ],
)
def test_a_duplicate_key_is_named_with_its_place(tmp_path, once, twice, complaint):
    path = tmp_path / "baselines.json"
    text = broken(lambda values: None)
    assert text.count(once) == 1
    path.write_text(text.replace(once, twice))
    with pytest.raises(UsageError) as caught:
        read_baselines(path)
    assert str(caught.value) == f"{path}: {complaint}"


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1, "a": 2}', "[]", "\x00", '{"version": 1, "cells": []}']
)
def test_a_file_that_does_not_hold_baselines_is_refused(tmp_path, text):
    path = tmp_path / "baselines.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"baselines\.json"):
        read_baselines(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(UsageError, match="cannot read"):
            read_baselines(path)


def test_devices_stand_side_by_side_and_are_never_mixed():
    on_cuda = environment(device_type="cuda")
    records = [record(seed, 0.99, environment=on_cuda) for seed in (0, 1)]
    both = stored((0.9, 0.92)).updated({KEY: baseline_of(records)}, records)
    assert both.of(KEY, "cpu").accuracies == [0.9, 0.92]
    assert both.of(KEY, "cuda").accuracies == [0.99, 0.99]
    assert both.of(KEY, "mps") is None
    again = [record(seed, 0.5) for seed in (0, 1)]
    newer = both.updated({KEY: baseline_of(again)}, again)
    assert newer.of(KEY, "cpu").accuracies == [0.5, 0.5]
    assert newer.of(KEY, "cuda").accuracies == [0.99, 0.99]


def test_other_data_make_every_device_stale():
    on_cuda = environment(device_type="cuda")
    records = [record(s, environment=on_cuda, data_hash="new") for s in (0, 1)]
    assert stored().updated({KEY: baseline_of(records)}, records).of(KEY, "cpu") is None


def test_the_time_stored_of_a_device_orders_its_cells():
    on_cuda = environment(device_type="cuda")
    records = [record(s, train_seconds=0.1, environment=on_cuda) for s in (0, 1)]
    both = stored().updated({KEY: baseline_of(records)}, records)
    assert both.expected_seconds(KEY, "cpu") == 2.0
    assert both.expected_seconds(KEY, "cuda") == pytest.approx(0.1)
    assert stored().expected_seconds(KEY, "cuda") == float("inf")
    assert stored().expected_seconds("smoke/digits/another", "cpu") == float("inf")


def test_baselines_of_an_unregistered_budget_are_kept(tmp_path):
    path = tmp_path / "baselines.json"
    write_baselines(path, stored(key="acme_nightly/digits/cnn"))
    assert list(read_baselines(path).cells) == ["acme_nightly/digits/cnn"]
