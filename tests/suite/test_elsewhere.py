"""Sessions whose runs are computed elsewhere: verdicts, order, faults, and what is kept."""

import json
import re
import time
from types import SimpleNamespace

import pytest

from stn_core.engines import away
from stn_core.suite import reporting, time_limit
from tests.suite.sessions import GATE, exactly, select, tables

pytest_plugins = ["pytester"]

CONFTEST = """
from stn_core.engines.away import run_away
from stn_core.engines.cluster import Cluster
from tests.engines.fake_executor import FakeExecutor

executors = []

def compute(task, surroundings):
    return run_away(task, surroundings, "fake")

def pytest_stn_engine(config, surroundings):
    executor = FakeExecutor(lambda task: compute(task, surroundings), {arguments})
    executors.append(executor)
    return Cluster(executor)
"""

LAST_FIRST = "next_place=lambda tasks: len(tasks) - 1"
THREE = ("-k", exactly("tiny", "small", "cnn"), "--epochs", "1")


@pytest.fixture
def elsewhere(bench, pytester):
    """Run a session on a fake cluster; the first argument is what the executor is made with."""

    def run(arguments, *options, more=""):
        pytester.makeconftest(CONFTEST.replace("{arguments}", arguments) + more)
        away.prepare.cache_clear()
        try:
            return bench(*options)
        finally:
            (pytester.path / "conftest.py").unlink()

    return run


def folders(pytester):
    return sorted(path.parent for path in pytester.path.glob("results/*/session.json"))


def runs(folder):
    lines = (folder / "records.jsonl").read_text().splitlines()
    found = [(run["model"], run["seed"], run["digest"]) for run in map(json.loads, lines)]
    assert len(found) == len(set(found))
    return sorted(found)


def files(folder):
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(path) for path in found if "checkpoints" not in path.parts}


def lines_of_cells(result):
    return [line.split()[0] for line in result.outlines if line.startswith("smoke/digits/")]


@pytest.mark.nightly
def test_verdicts_records_and_files_are_those_of_a_sequential_session(bench, elsewhere, pytester):
    stored = (*THREE[:2], "--update-baselines", "--seeds", "2")
    assert bench(*stored).ret == 0
    path = pytester.path / "baselines.json"
    content = json.loads(path.read_text())
    for run in content["cells"]["smoke/digits/tiny"]["runs"]:  # so that it wants more and more
        run["accuracy"] = min(run["accuracy"] + 0.045, 1.0)
    path.write_text(json.dumps(content))

    usual = (*THREE[:2], "--no-identical", "--save-models")
    first, alone = bench(*usual), folders(pytester)[-1]
    second = elsewhere(LAST_FIRST, *usual)
    there = folders(pytester)[-1]
    assert there != alone
    assert second.ret == first.ret
    assert tables(there) == tables(alone)
    assert runs(there) == runs(alone)
    assert len({seed for model, seed, _ in runs(there) if model == "tiny"}) > 2
    assert files(there) == files(alone)
    assert sorted(lines_of_cells(second)) == sorted(lines_of_cells(first))


MIXED = """
import pytest

def test_before(): pass

@pytest.mark.parametrize("number", [1, 2])
class TestCells:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def around(cls):
        print("class set up")
        yield
        print("class torn down")

    def test_cell(self, cell, train_and_judge, number):
        assert train_and_judge(cell).verdict.passes

def test_between(): pass
""" + GATE.replace("import pytest\n", "")


@pytest.mark.nightly
def test_cells_get_their_turn_as_they_are_ready_and_change_places_only_among_themselves(
    elsewhere, pytester
):
    result = elsewhere(LAST_FIRST, *THREE, "--seeds", "1")
    order = lines_of_cells(result)
    result = elsewhere("", *THREE, "--seeds", "1")
    assert lines_of_cells(result) == order[::-1]
    assert len(order) == 3

    pytester.makepyfile(test_bench=MIXED)
    result = elsewhere(
        LAST_FIRST,
        "--dataset",
        "digits",
        "--model",
        "tiny,small",
        "--epochs",
        "1",
        "--seeds",
        "1",
        "-v",
        "-s",
    )
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 8}
    told = result.stdout.str()
    ran = [name.split("[")[0] for name in re.findall(r"test_bench.py::(\S+)", told)]
    assert ran.index("test_before") == 0
    assert ran.index("test_between") == 5
    assert told.count("class set up") == told.count("class torn down") >= 1


def test_the_first_failure_ends_the_session_and_unfinished_runs_are_dropped(elsewhere, pytester):
    names = exactly("tiny", "fragile", "small")
    result = elsewhere(
        "next_place=lambda tasks: [t.cell.model for t in tasks].index('fragile')"
        " if 'fragile' in [t.cell.model for t in tasks] else 0",
        *("-k", names, "--epochs", "1", "-x", "--seeds", "1"),
    )
    assert result.ret == 1
    assert [model for model, *_ in runs(folders(pytester)[0])] == ["fragile"]
    result.stdout.fnmatch_lines(["CRASHED  smoke/digits/fragile*", "*0 of 1 planned runs*"])


def test_a_run_that_is_lost_too_often_crashes_its_cell_and_is_asked_for_again(elsewhere, pytester):
    result = elsewhere("deaths={('small', 1): 4, ('tiny', 0): 3}", *THREE, "--seeds", "2")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["CRASHED  smoke/digits/small: seed 1: tried 4 times: its node died"]
    )
    (folder,) = folders(pytester)
    kept = runs(folder)
    assert len(kept) == 5
    resumed = elsewhere("", *THREE, "--seeds", "2", "--resume", "last")
    assert resumed.ret == 0
    assert len(runs(folder)) == 6
    assert set(kept) < set(runs(folder))


def test_a_cluster_that_is_gone_ends_the_session_in_one_line(elsewhere, pytester):
    result = elsewhere("ends_after=3", *THREE, "--seeds", "2")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*Interrupted: the cluster is gone: nobody answers*"])
    result.stdout.fnmatch_lines(["*results, budget smoke*", "*--resume*trains what is missing*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    (folder,) = folders(pytester)
    assert len(runs(folder)) == 3
    assert elsewhere("", *THREE, "--seeds", "2", "--resume", "last").ret == 0
    assert len(runs(folder)) == 6


def test_an_interrupt_keeps_finished_runs_and_drops_the_others(elsewhere, pytester):
    interrupts = """
import pytest

def compute(task, surroundings):
    if task.seed == 1:
        raise pytest.exit.Exception("stopped")  # as Ctrl-C does, but for this test's own pytest
    return run_away(task, surroundings, "fake")

def pytest_unconfigure(config):
    (executor,) = executors
    assert executor.is_closed and not executor.out
    print("given up:", len(executor.cancelled))
"""
    result = elsewhere("", *THREE, "--seeds", "2", "-s", more=interrupts)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*results, budget smoke*", "*--resume*trains what is missing*"])
    result.stdout.fnmatch_lines(["given up: 5"])
    assert len(runs(folders(pytester)[0])) == 1


def test_with_a_time_limit_runs_wait_for_a_worker_and_late_ones_never_start(
    elsewhere, pytester, monkeypatch
):
    """Every run takes 200 s of a made-up clock, one after the other."""
    clock = SimpleNamespace(now=time.time())
    monkeypatch.setattr(time_limit, "time", SimpleNamespace(time=lambda: clock.now))
    monkeypatch.setattr(away, "run_away", slow_down(away.run_away, clock, seconds=200))
    more = "\ndef pytest_unconfigure(config):\n    print('ran:', len(executors[0].started))\n"
    four = ("-k", exactly("tiny", "small", "cnn", "tiny_that_warns"), *THREE[2:])
    result = elsewhere("", *four, "--seeds", "1", "--minutes", "5", "-s", more=more)
    # Two start at once, a third when the first has ended after 200 s, none after 300 s.
    result.stdout.fnmatch_lines(["--minutes 5: 1 cell not finished in time*", "ran: 3"])
    assert len(runs(folders(pytester)[0])) == 3


def slow_down(run_away, clock, seconds):
    def slowly(*arguments):
        clock.now += seconds
        return run_away(*arguments)

    return slowly


def test_a_run_that_cannot_be_sent_ends_the_session_in_one_line(elsewhere, pytester):
    refuses = """
from stn_core.engines import EngineError

class Refuses(FakeExecutor):
    def start(self, number, task):
        raise EngineError("a callback cannot be sent")

def pytest_stn_engine(config, surroundings):
    return Cluster(Refuses())
"""
    result = elsewhere("", *THREE, "--seeds", "2", more=refuses)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*Interrupted: a callback cannot be sent*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_runs_that_groups_of_cells_need_are_computed_there_too(elsewhere, pytester, monkeypatch):
    def settle(plan, judge, judgements, records, read_records, train, why_not):
        train([(plan.cells[0], 7)], [])
        return [], []

    monkeypatch.setattr(reporting, "settle_groups", settle)
    more = "\ndef pytest_unconfigure(config):\n    print('ran:', executors[0].started[-1])\n"
    result = elsewhere("", *THREE, "--seeds", "1", "-s", more=more)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["groups of cells need 1 more run", "ran: (*, 7)"])
    assert 7 in {seed for _, seed, _ in runs(folders(pytester)[0])}


@pytest.mark.parametrize(
    ("mark", "outcome"), [("skip", "skipped"), ("xfail(run=False)", "xfailed")]
)
def test_skipped_tests_are_not_submitted(elsewhere, pytester, mark, outcome):
    pytester.makepyfile(test_bench=GATE.replace("def test", f"@pytest.mark.{mark}\ndef test"))
    started = "\ndef pytest_unconfigure(config):\n    print('started:', executors[0].started)\n"
    result = elsewhere("", *THREE, "--seeds", "1", "-s", more=started)
    assert result.parseoutcomes()[outcome] == 3
    result.stdout.fnmatch_lines(["started: []"])


def test_a_refusal_is_one_line_and_nothing_is_trained(elsewhere, pytester):
    other = "surroundings, code=dataclasses.replace(surroundings.code, torch='1.0')"
    refuses = f"""
import dataclasses

def compute(task, surroundings):
    return run_away(task, dataclasses.replace({other}), "10.0.0.7")
"""
    result = elsewhere("", *THREE, "--seeds", "1", more=refuses)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*Interrupted: node 10.0.0.7 has stn_core *, torch 2*"])
    assert not (folders(pytester)[0] / "records.jsonl").exists()
    assert not result.parseoutcomes().keys() & {"passed", "failed"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--against", "HEAD"), "--against, which compares *"),
        pytest.param(
            ("-n", "2"), "-n, which spreads *", marks=pytest.mark.nightly
        ),  # and each worker would submit all cells
    ],
)
def test_an_engine_elsewhere_is_refused_what_would_train_here(elsewhere, pytester, arguments, why):
    result = elsewhere("", *THREE[:2], *arguments)
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"the project's engine (pytest_stn_engine) *: leave out {why}"])
    assert not list(pytester.path.glob("results/*/records.jsonl"))


def test_ray_and_workers_cannot_be_combined(bench):
    result = bench(*select("tiny"), "--ray", "auto", "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --ray spreads the runs over a cluster; leave out -n*"])
