"""--save-models: every good run leaves its model, which another process can use."""

import errno
import subprocess
import sys

import pytest
from PIL import Image

from stn_core.atomic_files import read_tensors
from stn_core.datasets import load_dataset
from tests.suite.sessions import exactly, select

pytest_plugins = ["pytester"]


def saved(pytester):
    """The names of the models that the last session left, and of whatever else is there."""
    folder = max(pytester.path.glob("results/*"))
    return sorted(path.name for path in (folder / "models").glob("*"))


@pytest.mark.nightly
def test_every_good_run_leaves_a_model_that_another_process_can_use(bench, pytester):
    chosen = ("-k", exactly("tiny", "small", "fragile"), "--seeds", "2")
    session = bench(*chosen, "--save-models", "-n", "1")
    session.stdout.fnmatch_lines(["models: 4 of 4 good runs saved in *models"])
    assert saved(pytester) == [
        f"digits-{model}-{seed}.safetensors" for model in ("small", "tiny") for seed in (0, 1)
    ]
    (model,) = pytester.path.glob("results/*/models/digits-tiny-1.safetensors")
    assert read_tensors(model)[1]["configuration"]["imports"] == ["my_models"]
    Image.fromarray(load_dataset("digits").test.images[0, 0].numpy()).save("digit.png")
    command = [sys.executable, "-m", "stn_core", "predict", str(model), "digit.png"]
    command += ["--import", "my_models"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("digit.png: ")


def test_without_the_flag_there_are_none(bench, pytester):
    session = bench(*select("tiny"), "--seeds", "1")
    session.stdout.no_fnmatch_line("models: *")
    assert saved(pytester) == []


def test_a_resumed_session_says_which_runs_left_none(bench, pytester):
    assert bench(*select("tiny"), "--seeds", "1").ret == 0
    resumed = bench(*select("tiny"), "--seeds", "2", "--resume", "last", "--save-models")
    resumed.stdout.fnmatch_lines(["models: 1 of 2 good runs saved in *"])
    assert saved(pytester) == ["digits-tiny-1.safetensors"]


def test_a_full_disk_costs_the_model_and_not_the_run(bench, pytester, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("stn_core.training.callbacks.saved_models.save_model", full)
    session = bench(*select("tiny"), "--seeds", "1", "--save-models")
    assert session.ret == 0
    session.stdout.fnmatch_lines(
        [
            "digits-tiny-0: SaveModels failed: OSError: *No space left on device",
            "1 cell, 1 run: 1 NEW",
            "models: 0 of 1 good runs saved*",
        ]
    )


@pytest.mark.parametrize("option", ["--from-records", "--drop-vanished"])
def test_a_session_that_trains_nothing_refuses_save_models(bench, pytester, option):
    (pytester.path / "records.jsonl").touch()
    given = ("--from-records", "records.jsonl") if option == "--from-records" else (option,)
    refused = bench(*given, "--save-models")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines([f"ERROR: *{option} trains nothing*"])
