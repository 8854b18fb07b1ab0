"""Cells over the commits of several sessions: slow drift adds up against the baseline."""

import dataclasses

import numpy as np
import pytest

from stn_core.gate.baselines import Baselines, write_baselines
from stn_core.report.history import CellHistory, history_chart
from stn_core.report.svg import drawing_style
from stn_core.session.records import append_record
from stn_core.suite.commands import main
from tests.examples import CELL, baseline, environment, record

NOISE = np.random.default_rng(0).normal(0, 0.004, (3, 8))


@pytest.fixture
def sessions(tmp_path):
    """Three commits that each lose a point of what the one before had."""
    folders = []
    for number, noise in enumerate(NOISE):
        folder = tmp_path / f"session-{number}"
        folder.mkdir()
        place = environment(commit=f"{number}" * 40, dirty=False)
        for seed, value in enumerate(noise):
            accuracy = 0.95 - 0.01 * number + value
            append_record(folder / "records.jsonl", record(seed, accuracy, environment=place))
        folders.append(str(folder))
    place = environment()
    stored = {CELL.key: baseline(list(0.95 + NOISE.flatten()))}
    write_baselines(tmp_path / "stored.json", Baselines(stored, {place.key(): place.place()}))
    return folders


def test_slow_drift_shows_against_the_baseline(sessions, tmp_path, capsys):
    arguments = ["history", *sessions, "--baselines", str(tmp_path / "stored.json")]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "1 cell lower than the baseline (smoke/digits/stn)." in printed
    page = (tmp_path / "history.html").read_text()
    assert all(commit in page for commit in ("0000000", "1111111", "2222222", "<svg"))
    assert len(list((tmp_path / "figures").glob("history-*.svg"))) == 1


def test_without_drift_and_without_a_baseline_nothing_is_claimed(
    sessions, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    stored = ["--baselines", str(tmp_path / "stored.json"), "--out", str(tmp_path)]
    assert main(["history", sessions[0], *stored]) == 0
    assert (
        "No cell differs from its baseline by more than chance explains." in capsys.readouterr().out
    )
    nothing = ["--out", str(tmp_path)]
    assert main(["history", sessions[2], *nothing]) == 0
    assert "No cell has a baseline to compare with." in capsys.readouterr().out
    assert main(["history", str(tmp_path / "nowhere.jsonl"), *nothing]) == 2


def test_a_baseline_of_other_data_is_left_out_and_named(sessions, tmp_path, capsys):
    other = dataclasses.replace(baseline([0.95, 0.96]), data_hash="0" * 8)
    place = environment()
    environments = {place.key(): place.place()}
    write_baselines(tmp_path / "other.json", Baselines({CELL.key: other}, environments))
    arguments = ["history", *sessions, "--baselines", str(tmp_path / "other.json")]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    message = "smoke/digits/stn: its baseline was measured on other data, left out"
    assert "No cell has a baseline to compare with." in printed.out
    assert message in printed.err
    assert message in (tmp_path / "history.html").read_text()


def test_a_baseline_and_a_session_of_another_recipe_are_named(sessions, tmp_path, capsys):
    folder = tmp_path / "search"
    folder.mkdir()
    append_record(folder / "records.jsonl", record(0, 0.5, recipe_hash="0" * 12))
    stored = ["--baselines", str(tmp_path / "stored.json"), "--out", str(tmp_path)]
    assert main(["history", *sessions, str(folder), *stored]) == 0
    printed = capsys.readouterr()
    assert "No cell has a baseline to compare with." in printed.out
    assert (
        "smoke/digits/stn: its baseline was measured with another recipe, left out" in printed.err
    )
    assert "smoke/digits/stn: 0000000 was measured with another recipe than the last" in printed.err


def test_budgets_and_devices_are_told_apart(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "session"
    folder.mkdir()
    for budget in ("smoke", "quick"):
        for device in ("cpu", "cuda"):
            place = environment(device_type=device)
            one = record(0, 0.95, budget=budget, environment=place)
            append_record(folder / "records.jsonl", one)
    monkeypatch.chdir(tmp_path)
    assert main(["history", str(folder), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in printed if "digits" in line] == [
        [budget, device, "digits", "stn"]
        for budget in ("quick", "smoke")
        for device in ("cpu", "cuda")
    ]
    assert len(list((tmp_path / "figures").glob("history-*.svg"))) == 4


def test_a_folder_without_results_is_left_out_and_named(sessions, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    out = ["--out", str(tmp_path)]
    assert main(["history", sessions[0], str(tmp_path / "nothing"), *out]) == 0
    assert f"left out: {tmp_path / 'nothing'} holds no results" in capsys.readouterr().err
    assert main(["history", str(tmp_path / "nothing"), *out]) == 2


def test_runs_that_are_left_out_are_named_on_the_page_too(sessions, tmp_path, capsys):
    append_record(tmp_path / "session-0" / "records.jsonl", record(9, status="crashed"))
    assert main(["history", *sessions, "--out", str(tmp_path)]) == 0
    message = "smoke/digits/stn: left out, crashed: seed 9"
    assert message in capsys.readouterr().err
    assert message in (tmp_path / "history.html").read_text()


def test_no_interval_leaves_0_to_100_per_cent():
    """Two values close to 100 %, whose interval alone would reach to 106."""
    near = [0.99, 1.0]
    cell = CellHistory("a/b/c", "cpu", ("one", "two"), (near, [0.98]), near, test_images=100)
    with drawing_style():
        (axes,) = history_chart(cell).axes
    low, high = axes.dataLim.intervaly
    assert high == 100.0
    assert 90 < low < 99
