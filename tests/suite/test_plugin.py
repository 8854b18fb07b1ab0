"""The plugin as a user sees it: sessions in a temporary folder, with the user's models."""

import fnmatch
import json
import signal
import subprocess
import time

import pytest
import torch

from stn_core.suite.checkout import describe_checkout, git_failure
from tests.platforms import needs_posix_signals
from tests.suite.sessions import GATE, command, commit, exactly, folders, git, select

pytest_plugins = ["pytester"]


def records(pytester):
    """What the last session wrote."""
    path = max(pytester.path.glob("results/*/records.jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_new_cells_pass_and_leave_everything_behind(bench, pytester):
    result = bench(*select("tiny", "tiny_that_warns"))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["no baselines: there is no file *baselines.json; *"])
    result.stdout.fnmatch_lines(
        [
            "smoke/digits/tiny  * (3)  NEW: no baseline  * s",
            "*results, budget smoke*",
            "dataset * model * verdict * accuracy, % *",
            "digits * tiny * NEW * ± * (3)*",
            "2 cells, 6 runs: 2 NEW",
        ]
    )
    (folder,) = pytester.path.glob("results/*")
    files = {path.name for path in folder.iterdir()}
    assert {"records.jsonl", "session.json", "table.md", "table.csv"} <= files
    assert json.loads((folder / "session.json").read_text())["rules"]["looks"] == [1, 2, 4, 8, 14]
    assert [record["seed"] for record in records(pytester)].count(2) == 2


@pytest.mark.nightly
def test_measured_baselines_judge_the_next_session(bench, pytester):
    measured = bench(*select("tiny"), "--update-baselines", "--seeds", "100-109")
    assert measured.ret == 0
    path = pytester.path / "baselines.json"
    stored = json.loads(path.read_text())
    assert len(stored["cells"]["smoke/digits/tiny"]["runs"]) == 10

    same = bench(*select("tiny"))
    assert same.ret == 0
    same.stdout.fnmatch_lines(
        ["digits * tiny * PASS (identical) *", "1 cell, 1 run: 1 PASS (identical)*"]
    )
    assert [record["seed"] for record in records(pytester)] == [100]

    close = bench(*select("tiny"), "--no-identical")
    assert close.ret == 0
    close.stdout.fnmatch_lines(["1 cell, 1 run: 1 PASS; 13 runs skipped (stopped early)"])

    for run in stored["cells"]["smoke/digits/tiny"]["runs"]:
        run["accuracy"], run["digest"] = 0.999, "of better days"
    path.write_text(json.dumps(stored))
    worse = bench(*select("tiny"), "-n", "1")
    assert worse.ret == 1
    worse.stdout.fnmatch_lines(
        [
            "REGRESSED  smoke/digits/tiny: * points lost (p = *; baseline 99.90 %, limit *",
            "1 cell, 2 runs: 1 REGRESSED; 12 runs skipped (stopped early)",
            "FAILED *",
        ]
    )
    worse.stdout.no_fnmatch_line("*Traceback*")

    stored["cells"]["smoke/digits/tiny"]["recipe_hash"] = "of yore"
    for departed in ("digits/departed", "departed/tiny"):
        stored["cells"][f"smoke/{departed}"] = stored["cells"]["smoke/digits/tiny"]
    path.write_text(json.dumps(stored))
    stale = bench(*select("tiny"))
    assert stale.ret == 1
    stale.stdout.fnmatch_lines(
        [
            # Before anything trains, and again at the end:
            "MISSING  smoke/departed/tiny: the baseline's dataset is gone*",
            "MISSING  smoke/digits/departed: the baseline's model is gone*",
            "STALE  smoke/digits/tiny: the recipe has changed*",
            "*results, budget smoke*",
            "MISSING  smoke/departed/tiny: the baseline's dataset is gone*",
            "MISSING  smoke/digits/departed: the baseline's model is gone*",
            "STALE  smoke/digits/tiny: the recipe has changed*",
        ]
    )
    stale.stdout.no_fnmatch_line("no baselines:*")


def test_a_baseline_is_removed_only_on_request(bench, pytester):
    update = ("--update-baselines", "--seeds", "2")
    assert bench(*select("tiny"), *update).ret == 0
    path = pytester.path / "baselines.json"
    stored = json.loads(path.read_text())
    departed = {"smoke/digits/departed", "smoke/departed/tiny"}
    for key in departed:
        stored["cells"][key] = stored["cells"]["smoke/digits/tiny"]
    path.write_text(json.dumps(stored))
    kept = {"smoke/digits/tiny", "smoke/digits/small"}

    bench(*select("small"), *update).stdout.fnmatch_lines(["MISSING  smoke/*--drop-vanished"])
    assert set(json.loads(path.read_text())["cells"]) == kept | departed

    broken = pytester.makepyfile(test_broken="import a_module_that_registers_small_and_is_gone")
    before = (pytester.path / "baselines.json").read_bytes()
    refused = bench("--drop-vanished")
    assert refused.ret == pytest.ExitCode.INTERRUPTED
    refused.stdout.fnmatch_lines(["nothing dropped from *baselines.json: the collection failed*"])
    assert (pytester.path / "baselines.json").read_bytes() == before
    broken.unlink()

    dropped = bench("--drop-vanished")
    assert dropped.ret == 0
    dropped.stdout.fnmatch_lines(
        ["dropped from *baselines.json: smoke/departed/tiny, smoke/digits/departed"]
    )
    assert set(json.loads(path.read_text())["cells"]) == kept
    assert len(list(pytester.path.glob("results/*"))) == 2  # those of the measurements
    again = bench("--drop-vanished")
    again.stdout.fnmatch_lines(["nothing to drop from *baselines.json"])


@pytest.mark.nightly
def test_workers_give_the_same_digests_as_one_process(bench, pytester):
    alone = bench("-k", exactly("tiny", "cnn"), "--seeds", "1")
    shared = bench("-k", exactly("tiny", "cnn"), "--seeds", "1", "-n", "2")
    assert (alone.ret, shared.ret) == (0, 0)
    sessions = []
    for path in sorted(pytester.path.glob("results/*/records.jsonl")):
        found = [json.loads(line) for line in path.read_text().splitlines()]
        sessions.append({r["model"]: r["digest"] for r in found})
    assert len(sessions[0]) == 2
    assert sessions[0] == sessions[1]


def test_baselines_come_from_a_clean_checkout_only(bench, pytester):
    (pytester.path / ".gitignore").write_text("__pycache__/\n")
    commit(pytester.path)
    for _ in range(2):  # what the first session writes makes no checkout dirty
        assert bench(*select("tiny"), "--update-baselines", "--seeds", "2").ret == 0
        environment = records(pytester)[0]["environment"]
        assert environment["dirty"] is False
        assert len(environment["commit"]) == 40
    with (pytester.path / "my_models.py").open("a") as file:
        file.write("# a change\n")
    dirty = bench(*select("tiny"), "--update-baselines", "--seeds", "2")
    assert dirty.ret != 0
    dirty.stdout.fnmatch_lines(["--update-baselines: the checkout has uncommitted changes*"])


def test_baselines_come_from_no_checkout_that_git_refuses(bench, pytester, monkeypatch):
    commit(pytester.path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as in a container
    refused = bench(*select("tiny"), "--update-baselines", "--seeds", "2")
    assert refused.ret != 0
    refused.stdout.fnmatch_lines(["--update-baselines: git fails in *: fatal: detected dubious *"])
    assert not (pytester.path / "results").exists()


def test_git_fails_neither_outside_a_checkout_nor_before_a_commit(tmp_path, monkeypatch):
    assert git_failure(tmp_path) == ""
    git(tmp_path, "init", "--quiet")
    assert git_failure(tmp_path) == ""
    (tmp_path / ".git" / "index").write_text("damaged")
    assert describe_checkout(tmp_path) == (None, None)
    assert "index" in git_failure(tmp_path)
    (tmp_path / ".git" / "index").unlink()
    (tmp_path / "worktree").mkdir()
    (tmp_path / "worktree" / ".git").write_text("gitdir: /moved/away")
    assert git_failure(tmp_path / "worktree").startswith("fatal: not a git repository: ")
    monkeypatch.setenv("PATH", "")
    assert git_failure(tmp_path / "worktree").startswith("git is not installed")
    (tmp_path / ".git").rename(tmp_path / "git")
    assert git_failure(tmp_path) == ""


def test_a_search_shows_validation_and_is_compared_with_nothing(bench, pytester):
    result = bench(*select("tiny"), "--epochs", "1", "--lr", "0.1", "--seeds", "1")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*NEW: the recipe is overridden*", "digits * tiny * NEW * validation*"]
    )
    (record,) = records(pytester)
    assert record["test_accuracy"] is None
    assert record["recipe"]["epochs"] == 1


@needs_posix_signals
def test_failures_are_reported_and_the_others_go_on(bench, pytester):
    (pytester.path / ".gitignore").write_text("__pycache__/\n")
    commit(pytester.path)
    result = bench(*select("tiny", "deadly", "fragile"), "-n", "1", "--seeds", "1")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "CRASHED  smoke/digits/deadly: its worker process died: killed, or out of memory?",
            "CRASHED  smoke/digits/fragile: seed 0: RuntimeError: made of glass",
            "3 cells, 2 runs: 2 CRASHED, 1 NEW",
        ]
    )
    # The worker that takes the dead one's place finds a core file, and asks for no other code.
    assert {run["environment"]["dirty"] for run in records(pytester)} == {False}
    (plan,) = pytester.path.glob("results/*/session.json")
    assert plan.stat().st_mtime_ns == (pytester.path / "core.1234").stat().st_mtime_ns


def test_a_diverged_cell_fails(bench):
    learning = ["--optimizer", "sgd", "--lr", "1e30", "--set", "schedule=constant"]
    result = bench(*select("tiny"), "--seeds", "1", *learning)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["DIVERGED  smoke/digits/tiny: seed 0: the loss was not finite*"])


@pytest.mark.nightly
@needs_posix_signals
def test_ctrl_c_keeps_and_shows_what_is_finished(bench, pytester):
    process = subprocess.Popen(
        command(*select("tiny", "slow"), "--seeds", "1"),
        stdout=subprocess.PIPE,
        text=True,
        cwd=pytester.path,
        # Tests that run in the background inherit a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None:
        found = pytester.path.glob("results/*/records.jsonl")
        if any(
            path.read_text().endswith("\n") for path in found
        ):  # a whole one, not the file alone
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 2
    assert "2 cells, 1 run: 1 MISSING, 1 NEW" in output
    assert [record["model"] for record in records(pytester)] == ["tiny"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--budget", "smok"], "unknown budget 'smok'; did you mean smoke?"),
        (["--seeds", "few"], "*argument --seeds*: expected a count*"),
        (
            ["--set", "epoch=3"],
            "*argument --set*: unknown recipe field 'epoch'; did you mean *",
        ),
        (["--recipe", "fats"], "*argument --recipe*: expected fast or predecessor, not 'fats'"),
        (["--lr", "-1"], "*learning_rate must be above 0*"),
        (["--threads", "0"], "*argument --threads*: expected a whole number*"),
        (["--epochs", "2", "--update-baselines"], "--update-baselines takes the shipped*"),
        (["--dataset", "digitz"], "unknown dataset 'digitz'; did you mean digits*"),
        (["--dataset", "mnist"], "*--download*"),
        (["--download", "--data-root", "test_bench.py"], "--download: cannot write into *"),
        (["--device", "cuda"], "*use --device cpu"),
        (["-k", "digits-stm"], "unknown model or dataset 'stm'; did you mean stn*"),
        (["--import", "no_such_module"], "--import no_such_module: ModuleNotFoundError*"),
        (["--results-dir", "test_bench.py"], "cannot write results to *"),
        pytest.param(
            ["--results-dir", "test_bench.py", "-n", "1"],
            "cannot write results to *",
            marks=pytest.mark.nightly,
        ),
        (["--baselines", "test_bench.py"], "* not JSON: *"),
        (["--baselines", "typo.json"], "--baselines: there is no file *typo.json"),
        (["--dataset", "digits,digits"], "--dataset names a dataset twice"),
        (["--update-baselines", "--seeds", "1"], "--update-baselines needs two or more seeds"),
        (["--shard", "3/2"], "*argument --shard*: expected K/N with K from 1 to N*"),
        (["--min-drop", "some"], "*argument --min-drop*: expected points of accuracy*"),
        (["--resume", "no_such_folder"], "--resume: *no_such_folder is not a session's folder*"),
        (["--resume", "last"], "--resume last: there is no session in *"),
        (["--from-records", "none.jsonl"], "--from-records: there is no file *none.jsonl"),
        (
            ["--from-records", "test_bench.py"],
            "--from-records: no record of the budget smoke; *: incomplete*",
        ),
        (["--update-digests"], "--update-digests needs --digest-cache FILE"),
        (
            ["--update-digests", "--digest-cache", "test_bench.py/digests.json"],
            "--update-digests: cannot write into *test_bench.py",
        ),
        (["--drop-vanished"], "--drop-vanished: there is no file *baselines.json"),
        (["--drop-vanished", "--update-baselines"], "--drop-vanished trains nothing*"),
        (["--drop-vanished", "--epochs", "2"], "--drop-vanished takes the shipped recipes*"),
        (["--digest-cache", "test_bench.py"], "* not JSON: *; delete it"),
        (["--digest-cache", "test_bench.py", "--plan"], "* not JSON: *; delete it"),
    ],
)
def test_a_mistake_gets_one_line_and_no_traceback(pytester, run_here, arguments, complaint):
    if arguments == ["--device", "cuda"] and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    pytester.makepyfile(test_bench=GATE)
    result = run_here("-p", "stn_core.suite.short_options", *arguments)
    assert result.ret != 0
    lines = [line.removeprefix("ERROR: ") for line in result.outlines + result.errlines]
    assert any(fnmatch.fnmatchcase(line, complaint) for line in lines)
    assert not any("Traceback" in line for line in lines)


def test_tests_of_one_cell_share_its_runs_and_its_verdict(bench, pytester):
    again = GATE.replace("test_accuracy", "test_again")
    (pytester.path / "test_bench.py").write_text(GATE + again)
    result = bench("-k", exactly("tiny"), "--seeds", "2")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 cell, 2 runs: 1 NEW"])
    (folder,) = folders(pytester)
    assert (folder / "records.jsonl").read_text().count("\n") == 2
