"""A project's own callbacks follow its runs, and the summary names what fails in one."""

import pytest

from tests.nightly import IN_ONE_PROCESS_AND_WITH_WORKERS
from tests.suite.sessions import select

pytest_plugins = ["pytester"]

CONFTEST = """
from dataclasses import dataclass
from pathlib import Path

from stn_core.training.callbacks import Callback, Watcher


@dataclass(frozen=True)
class Diary(Callback):
    folder: str

    def watch(self, run):
        return Writer(Path(self.folder, run.record.run_name), run)


class Writer(Watcher):
    def __init__(self, path, run):
        self.path, self.run = path, run

    def end(self):
        self.path.write_text(self.run.record.status)
        if self.run.record.seed:
            raise OSError("the ink is dry")


def pytest_stn_callbacks(config):
    return [Diary(str(config.rootpath))]
"""


@pytest.mark.parametrize("workers", IN_ONE_PROCESS_AND_WITH_WORKERS)
def test_a_hook_names_callbacks_and_the_summary_names_what_failed(bench, pytester, workers):
    pytester.makeconftest(CONFTEST)
    result = bench(*select("tiny"), "--seeds", "3", "--epochs", "1", *workers)
    assert result.ret == 0
    for seed in range(3):
        assert (pytester.path / f"digits-tiny-{seed}").read_text() == "ok"
    result.stdout.fnmatch_lines(["digits-tiny-1 and 1 more: Diary failed: OSError: the ink is dry"])
