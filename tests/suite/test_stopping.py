"""Told to stop, a session stops with its workers, judges what there is, and shows no traceback."""

import contextlib
import os
import signal
import subprocess
import time

import pytest

from tests.platforms import needs_posix_signals
from tests.suite.sessions import GATE, MODELS, command, exactly, select

pytest_plugins = ["pytester"]
pytestmark = needs_posix_signals


@pytest.fixture(autouse=True)
def sigint_as_in_a_terminal():
    """Tests that run in the background inherit a SIGINT that is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


MOST_SECONDS = 120
"""Until a process must have ended, on however busy a machine."""

STUBBORN = """
import os, pathlib, signal, time
from stn_core.models import register_model
from my_models import Slow, tiny

class Stubborn(Slow):
    def forward(self, images):
        pathlib.Path("trains").touch()
        while True:
            try:
                time.sleep(1)
            except KeyboardInterrupt:
                pass

@register_model
def tiny_but_stubborn(in_shape, num_classes):
    return Stubborn(tiny(in_shape, num_classes))
"""

WORKERS_THAT_XDIST_LEAVES_ALONE = """
import pytest, time
import execnet.gateway_base

# Else a worker of whose first process nothing is left ends by itself after 15 s.
execnet.gateway_base.WorkerGateway._terminate_execution = lambda gateway: time.sleep(600)
workers = []

@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node):
    workers.append(node.gateway._io.popen)

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    if workers:
        alive = [worker for worker in workers if worker.poll() is None]
        print(f"as it is judged {len(alive)} of {len(workers)} workers are alive")
"""
SIGTERM_WHEN_THE_SECOND_CELL_TRAINS = """
import os, pathlib, signal, time

def pytest_runtest_logreport(report):
    if report.when == "call" and workers:
        while not pathlib.Path("trains").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
"""
STUBBORN_SESSION = (
    *("-k", exactly("tiny", "tiny_but_stubborn"), "--seeds", "1", "-n", "1"),
    *("--import", "my_models,stubborn"),
)


@pytest.mark.nightly
def test_workers_stop_with_the_first_process_and_what_they_finished_is_judged(
    bench, pytester, capfd
):
    pytester.makepyfile(stubborn=STUBBORN)
    pytester.makeconftest(WORKERS_THAT_XDIST_LEAVES_ALONE + SIGTERM_WHEN_THE_SECOND_CELL_TRAINS)
    result = bench(*STUBBORN_SESSION)
    assert result.ret == 128 + signal.SIGTERM
    result.stdout.fnmatch_lines(
        [
            "*as it is judged 0 of 1 workers are alive",
            "MISSING  smoke/digits/tiny_but_stubborn: *",
            "interrupted: the same command with --resume last *",
            "2 cells, 1 run: 1 MISSING, 1 NEW",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.nightly
def test_workers_end_when_the_first_process_is_killed(pytester):
    pytester.makepyfile(my_models=MODELS, stubborn=STUBBORN, test_bench=GATE)
    pytester.makeini("[pytest]\n")
    pytester.makeconftest(WORKERS_THAT_XDIST_LEAVES_ALONE)
    process = subprocess.Popen(
        command(*STUBBORN_SESSION),
        cwd=pytester.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,  # of the worker too: it ends with the last of them
        start_new_session=True,
    )
    try:
        while not (pytester.path / "trains").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.kill()
        process.communicate(timeout=MOST_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


STOPPED_AFTER_A_CELL = """
import os, signal, pytest
stopped = []

def pytest_runtest_logreport(report):
    if report.when == "call" and not stopped:
        stopped.append(report)
        os.kill(os.getpid(), signal.{first})

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish():
    for _ in range({times}):
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture
def stopped(bench, pytester):
    """Run a session that is sent a signal after its first cell, and Ctrl-C while it is judged."""

    def run(first, times=0, arguments=()):
        pytester.makeconftest(STOPPED_AFTER_A_CELL.format(first=first, times=times))
        cells = (*select("tiny", "small"), "--seeds", "1")
        result = bench(*cells, *arguments, no_reraise_ctrlc=True)
        result.stdout.no_fnmatch_line("*Traceback*")
        return result

    return run


@pytest.mark.parametrize(("first", "status"), [("SIGINT", 2), ("SIGTERM", 143)])
def test_a_stopped_session_says_what_came_back_and_how_to_go_on(stopped, pytester, first, status):
    result = stopped(first)
    assert result.ret == status
    (folder,) = pytester.path.glob("results/*")
    result.stdout.fnmatch_lines(
        ["interrupted: the same command with --resume last *", "2 cells, 1 run: 1 MISSING, 1 NEW"]
    )
    assert (folder / "table.md").exists()


STOPPED_WHERE_PYTHON_DROPS_EXCEPTIONS = """
import signal

class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def pytest_runtest_logreport(report):
    if report.when == "call":
        Dropped()
"""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_whose_exception_is_lost_stops_the_session_before_its_next_cell(bench, pytester):
    pytester.makeconftest(STOPPED_WHERE_PYTHON_DROPS_EXCEPTIONS)
    options = ("-W", "ignore::pytest.PytestUnraisableExceptionWarning")
    result = bench(*select("tiny", "small"), "--seeds", "1", *options, no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["2 cells, 1 run: 1 MISSING, 1 NEW"])


def test_a_second_ctrl_c_is_answered_and_the_summary_is_written(stopped, capfd):
    stopped("SIGINT", times=1).stdout.fnmatch_lines(["2 cells, 1 run: 1 MISSING, 1 NEW"])
    assert "the summary is being written; once more ends" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "again"),
    [((), "--resume last"), (("-m", "claims or not claims"), "the same command")],
    ids=["cells", "claims"],
)
def test_a_third_ctrl_c_ends_the_session_with_one_line(
    stopped, pytester, capfd, monkeypatch, arguments, again
):
    ended = []
    monkeypatch.setattr("stn_core.suite.stopping.os._exit", ended.append)
    stopped("SIGTERM", times=2, arguments=arguments)
    assert ended == [128 + signal.SIGINT]
    assert f"to continue from the finished runs: {again}\n" in capfd.readouterr().err
    (records,) = pytester.path.glob("results/*/records.jsonl")
    assert records.read_text().count("\n") == 1


def test_ctrl_c_after_a_stopped_session_shows_no_traceback(stopped):
    stopped("SIGINT")
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL


def test_signals_are_as_before_after_a_session_that_ended_by_itself(bench):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert bench(*select("tiny"), "--seeds", "1").ret == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_handler_of_the_users_own_stays(bench, pytester):
    pytester.makeconftest(STOPPED_AFTER_A_CELL.format(first="SIGTERM", times=0))
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    assert bench(*select("tiny", "small"), "--seeds", "1").ret == 0
    assert heard == [signal.SIGTERM]
