"""--tensorboard: a folder for every run of a session, and a line where there can be none."""

import sys

import pytest

from stn_core.training.event_file import STEP_LOSS
from tests.event_files import hyperparameters, scalars
from tests.nightly import IN_ONE_PROCESS_AND_WITH_WORKERS
from tests.suite.sessions import select

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("workers", IN_ONE_PROCESS_AND_WITH_WORKERS)
def test_every_run_of_a_session_has_a_folder(bench, pytester, workers):
    result = bench(*select("tiny"), "--tensorboard", "--seeds", "2", "--epochs", "1", *workers)
    assert result.ret == 0
    (parent,) = pytester.path.glob("results/*/tensorboard")
    assert {folder.name for folder in parent.iterdir()} == {"digits-tiny-0", "digits-tiny-1"}
    for seed in (0, 1):
        folder = parent / f"digits-tiny-{seed}"
        assert hyperparameters(folder)[0]["seed"] == seed
        assert scalars(folder)[STEP_LOSS]


def test_without_the_option_there_is_no_folder(bench, pytester):
    assert bench(*select("tiny"), "--seeds", "1", "--epochs", "1").ret == 0
    assert not list(pytester.path.glob("results/*/tensorboard"))


def test_a_missing_package_is_reported_before_anything_trains(bench, pytester, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    result = bench(*select("tiny"), "--tensorboard")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines == [
        "ERROR: --tensorboard: tensorboard is not installed: pip install 'stn-core[tensorboard]'",
        "",
    ]
    assert not (pytester.path / "results").exists()


@pytest.mark.parametrize("option", ["--from-records=some.jsonl", "--drop-vanished"])
def test_a_session_that_trains_nothing_refuses_tensorboard(bench, pytester, option):
    (pytester.path / "some.jsonl").touch()
    result = bench(option, "--tensorboard")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*trains nothing, so there is nothing for --tensorboard to show"])
