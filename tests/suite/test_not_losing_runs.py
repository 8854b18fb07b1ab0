"""Killed, resumed, sharded, judged elsewhere, on a full disk: no run is lost, the verdict stays."""

import errno
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from stn_core.session.budgets import get_budget
from stn_core.session.cells import Cell
from stn_core.session.folder import hold_folder
from tests.examples import environment, record
from tests.nightly import IN_ONE_PROCESS_AND_WITH_WORKERS
from tests.platforms import needs_posix_signals
from tests.suite.sessions import command, commit, contents, exactly, folders, select, tables

pytest_plugins = ["pytester"]

TWO = ("-k", exactly("tiny", "cnn"), "--seeds", "2")


def finished_runs(path):
    found = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return {(run["model"], run["seed"]): run["digest"] for run in found if run["status"] == "ok"}


@pytest.mark.nightly
@needs_posix_signals
def test_a_killed_session_is_resumed_and_ends_as_if_nothing_had_happened(bench, pytester):
    assert bench(*TWO).ret == 0
    (undisturbed,) = folders(pytester)
    process = subprocess.Popen(
        command(*TWO), cwd=pytester.path, stdout=subprocess.DEVNULL, start_new_session=True
    )
    records = None
    while not records or not records.read_text().count("\n"):
        assert process.poll() is None
        time.sleep(0.05)
        records = next(
            (p for p in pytester.path.glob("results/*/records.jsonl") if p.parent != undisturbed),
            None,
        )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with records.open("a") as file:
        file.write('{"model": "tiny", "torn')
    before = finished_runs(records)
    assert 0 < len(before) < 4

    resumed = bench(*TWO, "--resume", "last")
    assert resumed.ret == 0
    resumed.stdout.fnmatch_lines(["*records.jsonl, line *: incomplete, skipped"])
    after = finished_runs(records)
    assert after == finished_runs(undisturbed / "records.jsonl")
    trained = records.read_text().count('"status": "ok"')
    assert trained == 4  # what was finished was not trained again
    assert tables(folders(pytester)[-1]) == tables(undisturbed)


@pytest.mark.nightly
@needs_posix_signals
def test_a_kill_while_the_baselines_are_written_costs_nothing(bench, pytester):
    (pytester.path / ".gitignore").write_text("__pycache__/\n")
    bench("--collect-only")  # writes the files of the session
    (pytester.path / "killed.py").write_text(
        "import os, pathlib, signal\n"
        "replace = pathlib.Path.replace\n"
        "def killed(path, target):\n"
        "    if target.name == 'baselines.json':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return replace(path, target)\n"
        "pathlib.Path.replace = killed\n"
    )
    commit(pytester.path)
    update = (*select("tiny"), "--update-baselines", "--seeds", "2")
    killed = subprocess.run(
        command(*update, "-p", "killed"), cwd=pytester.path, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    (left,) = pytester.path.glob("baselines.json.*")
    assert left.read_text()

    resumed = bench(*update, "--resume", "last")
    assert resumed.ret == 0
    resumed.stdout.fnmatch_lines(["1 of 1 cells written to *baselines.json"])
    (folder,) = folders(pytester)
    assert (folder / "records.jsonl").read_text().count("\n") == 2  # nothing was trained again
    assert not list(pytester.path.glob("baselines.json.*"))


def test_runs_of_another_commit_are_trained_again_and_that_is_said_first(bench, pytester):
    (pytester.path / ".gitignore").write_text("__pycache__/\nresults/\n.pytest_cache/\n")
    commit(pytester.path)
    assert bench(*select("tiny"), "--seeds", "1").ret == 0
    (pytester.path / "notes.txt").write_text("not committed")
    resumed = bench(*select("tiny"), "--seeds", "1", "--resume", "last")
    left_out = "smoke/digits/tiny: the code was * as committed, and is * with uncommitted changes"
    resumed.stdout.fnmatch_lines([f"{left_out}; 1 record left out", "*test_bench.py *"])


@pytest.mark.parametrize("workers", IN_ONE_PROCESS_AND_WITH_WORKERS)
def test_a_session_that_is_running_is_not_resumed(bench, pytester, workers):
    assert bench(*select("tiny"), "--seeds", "1").ret == 0
    (folder,) = folders(pytester)
    lock = hold_folder(folder)  # as a session does that runs
    second = bench(*select("tiny"), "--seeds", "2", "--resume", "last", *workers)
    assert second.ret != 0
    text = second.stdout.str() + second.stderr.str()
    assert f"{folder}: another session is running in it; wait for its end, or stop it" in text
    assert (folder / "records.jsonl").read_text().count("\n") == 1
    lock.release()
    assert bench(*select("tiny"), "--seeds", "2", "--resume", "last").ret == 0


RESUMED_AS_IT_IS_JUDGED = """
import pathlib, time
import pytest
from stn_core.errors import UsageError
from stn_core.session.folder import hold_folder

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        time.sleep(1.0)  # the workers have run all their tests
        (folder,) = pathlib.Path("results").iterdir()
        with pytest.raises(UsageError, match="another session is running in it"):
            hold_folder(folder)
        print("it is held")
"""


@pytest.mark.nightly
def test_a_session_is_running_until_it_is_judged_though_its_workers_have_no_more_tests(
    bench, pytester
):
    pytester.makeconftest(RESUMED_AS_IT_IS_JUDGED)
    session = (*select("tiny"), "--seeds", "1", "-n", "1")
    first = bench(*session, "-s")
    assert first.ret == 0
    first.stdout.fnmatch_lines(["*it is held"])
    assert bench(*session, "--resume", "last").ret == 0


WHOSE_HOLDER_DIED = """
from stn_core.suite.process_context import context_of

def pytest_runtest_setup(item):
    if hasattr(item.config, "workerinput"):
        context = context_of(item.config)
        context._lock.release()
        context._lock = None

def pytest_runtest_teardown(item):
    if hasattr(item.config, "workerinput"):
        assert context_of(item.config)._lock.is_locked
"""


@pytest.mark.nightly
def test_a_session_stays_protected_if_the_worker_that_held_its_folder_dies(bench, pytester):
    pytester.makeconftest(WHOSE_HOLDER_DIED)
    assert bench(*select("tiny"), "--seeds", "1", "-n", "1").ret == 0


def test_a_run_that_failed_is_run_again(bench, pytester):
    failed = bench(*select("moody"), "--seeds", "1")
    failed.stdout.fnmatch_lines(["CRASHED  smoke/digits/moody: seed 0: *in a mood"])
    (pytester.path / "good_weather").touch()
    assert bench(*select("moody"), "--seeds", "1", "--resume", "last").ret == 0


def test_a_resumed_session_in_which_nothing_is_selected_judges_nothing(bench):
    assert bench(*select("tiny"), "--seeds", "1").ret == 0
    nothing = bench("-k", "sti", "--resume", "last")
    assert nothing.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    nothing.stdout.no_fnmatch_line("*comparison*")


def test_shards_are_all_the_cells_and_are_judged_together(bench, pytester):
    names = ("tiny", "small", "tiny_that_warns")
    sessions = ("-k", exactly(*names), "--seeds", "1")
    for shard in ("1/2", "2/2"):
        assert bench(*sessions, "--shard", shard).ret == 0
    parts = [finished_runs(folder / "records.jsonl") for folder in folders(pytester)]
    assert not parts[0].keys() & parts[1].keys()
    assert {model for model, _ in parts[0] | parts[1]} == set(names)

    given = ",".join(str(folder) for folder in folders(pytester))
    together = bench(*sessions, "--from-records", given)
    assert together.ret == 0
    together.stdout.fnmatch_lines(["3 cells, 3 runs: 3 NEW"])
    one = bench(*sessions, "--from-records", str(folders(pytester)[0]))
    assert one.ret == 1
    one.stdout.fnmatch_lines(["MISSING  smoke/digits/*: 0 of 1 planned runs came back"])

    resumed = bench(*sessions, "--shard", "2/2", "--resume", "last")
    assert resumed.ret == 0
    assert finished_runs(folders(pytester)[1] / "records.jsonl") == parts[1]
    judging = folders(pytester)[2]
    assert not (judging / "records.jsonl").exists()
    refused = bench(*sessions, "--resume", str(judging))
    refused.stderr.fnmatch_lines(
        ["ERROR: --resume: * judged records that it was given, *; name the session that *"]
    )


def test_records_of_two_commits_are_judged_and_reported(bench, pytester):
    cell = Cell("tiny", "digits", "smoke", get_budget("smoke").recipe_for("digits", "own"))
    places = [environment(commit=letter * 40, dirty=False) for letter in "ab"]
    lines = [
        record(seed, cell=cell, environment=place).to_json() for seed, place in enumerate(places)
    ]
    (pytester.path / "pooled.jsonl").write_text("\n".join(lines))
    judged = bench(*select("tiny"), "--seeds", "2", "--from-records", "pooled.jsonl")
    assert judged.ret == 0
    judged.stdout.fnmatch_lines(
        ["smoke/digits/tiny: runs made at several commits: aaaaaaa, bbbbbbb", "1 *2 runs: 1 NEW"]
    )


def test_a_full_disk_fails_the_cell_and_says_so(bench, monkeypatch):
    def full(path, record):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("stn_core.session.store.append_record", full)
    result = bench(*select("tiny"), "--seeds", "1")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["CRASHED  smoke/digits/tiny: cannot write to *: No space left on device"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_tables_for_which_the_disk_is_too_full_are_named(bench, monkeypatch):
    def full(*arguments, **how):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("stn_core.suite.reporting.write_judgements", full)
    result = bench(*select("tiny"), "--seeds", "1")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["tables not written to *results*: No space left on device"])
    result.stdout.no_fnmatch_line("*None*")


REMOVED_AFTER_CELL = """
import pathlib, shutil
ended = []

def pytest_runtest_logreport(report):
    if report.when == "call":
        ended.append(report.nodeid)
        if len(ended) == {count}:
            for folder in pathlib.Path("results").iterdir():
                {remove}
"""


@pytest.mark.parametrize("workers", IN_ONE_PROCESS_AND_WITH_WORKERS)
def test_a_session_whose_folder_is_gone_at_the_end_fails_and_says_why(bench, pytester, workers):
    pytester.makeconftest(
        REMOVED_AFTER_CELL.format(count=1, remove="shutil.rmtree(folder, ignore_errors=True)")
    )
    update = ("--update-baselines", "--seeds", "2")
    result = bench(*select("tiny"), *update, *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["nothing was judged: the session's plan is no longer in *results*"]
    )
    assert not (pytester.path / "baselines.json").exists()


CHANGED_PLAN = (
    "import json; file = folder / 'session.json'; plan = json.loads(file.read_text());"
    " {}; file.write_text(json.dumps(plan))"
)


def test_baselines_that_are_gone_at_the_end_have_been_compared(bench, pytester):
    assert bench(*select("tiny"), "--seeds", "2", "--update-baselines").ret == 0
    shutil.rmtree(pytester.path / "results")
    remove = "pathlib.Path('baselines.json').unlink()"
    pytester.makeconftest(REMOVED_AFTER_CELL.format(count=1, remove=remove))
    result = bench(*select("tiny"))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*PASS (identical)*"])
    result.stdout.no_fnmatch_line("no baselines: *")


def test_baselines_that_are_gone_at_the_end_are_not_replaced_by_a_part_of_them(bench, pytester):
    update = ("--seeds", "2", "--update-baselines")
    assert bench(*select("tiny", "small"), *update).ret == 0
    shutil.rmtree(pytester.path / "results")
    remove = "pathlib.Path('baselines.json').unlink()"
    pytester.makeconftest(REMOVED_AFTER_CELL.format(count=1, remove=remove))
    result = bench(*select("tiny"), *update)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["baselines not written: *baselines.json was removed while *"])
    assert not (pytester.path / "baselines.json").exists()


def test_records_that_are_gone_at_the_end_are_missing(bench, pytester):
    remove = "(folder / 'records.jsonl').unlink(missing_ok=True)"
    pytester.makeconftest(REMOVED_AFTER_CELL.format(count=2, remove=remove))
    result = bench(*select("tiny", "small"), "--seeds", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["MISSING  *: 0 of 1 planned runs came back", "2 cells, 0 runs: *"])


@pytest.mark.parametrize(
    ("ruin", "why"),
    [
        ("(folder / 'session.json').write_text('{')", "*session.json: not JSON: *"),
        ("(folder / 'session.json').write_text('[]')", "*session.json: expected an object*"),
        (
            CHANGED_PLAN.format("plan['rules'].update(looks=[])"),
            "*session.json: looks must rise to *",
        ),
        (
            CHANGED_PLAN.format("plan['rules'].update(seeds=[3])"),
            "*session.json was changed while the session was running",
        ),
        (
            "(records := folder / 'records.jsonl').unlink(); records.mkdir()",
            "cannot read *records.jsonl: Is a directory",
        ),
    ],
)
def test_a_session_whose_files_are_replaced_fails_and_says_why(bench, pytester, ruin, why):
    pytester.makeconftest(REMOVED_AFTER_CELL.format(count=1, remove=ruin))
    result = bench(*select("tiny"), "--seeds", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"nothing was judged: {why}"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_baselines_whose_link_has_no_target_are_an_error(bench, pytester):
    (pytester.path / "baselines.json").symlink_to("not-fetched")
    result = bench(*select("tiny"), "--seeds", "1")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*baselines.json is a link to not-fetched, which cannot be found"])


def test_a_plan_that_cannot_be_written_is_one_line(bench, monkeypatch):
    def full(*arguments, **how):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("stn_core.session.plan.write_at_once", full)
    result = bench(*select("tiny"), "--seeds", "1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*cannot write results to *: No space left on device*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_session_whose_records_cannot_be_read_is_not_resumed(bench, pytester):
    plan = pytester.path / "results" / "earlier" / "session.json"
    (plan.parent / "records.jsonl").mkdir(parents=True)  # so that nobody can, not even root
    plan.write_text("{}")
    refused = bench(*select("tiny"), "--resume", "last")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stdout.fnmatch_lines(["cannot write results to *earlier: Is a directory"])


def test_a_session_of_another_budget_is_not_resumed(bench, pytester):
    plan = pytester.path / "results" / "earlier" / "session.json"
    plan.parent.mkdir(parents=True)
    plan.write_text('{"options": {"budget": "quick"}}')
    refused = bench(*select("tiny"), "--resume", "last")
    assert refused.ret != 0
    refused.stdout.fnmatch_lines(["--resume: *earlier: its budget is quick, not smoke; give*"])
    assert contents(plan.parent) == {plan: b'{"options": {"budget": "quick"}}'}
