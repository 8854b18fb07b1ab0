"""The claims of a file as tests: judged from what is stored, with what is missing trained."""

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from stn_core.engines import in_process
from stn_core.session.evidence import add_evidence, read_evidence
from stn_core.session.records import read_records
from stn_core.training.callbacks import SaveCheckpoints
from tests.nightly import IN_ONE_PROCESS_AND_WITH_WORKERS
from tests.platforms import needs_posix_signals
from tests.suite.sessions import MODELS, select, session
from tests.suite.test_elsewhere import CONFTEST, LAST_FIRST

pytest_plugins = ["pytester"]
REPOSITORY = Path(__file__).parents[2]
BUDGET = """
from stn_core.session.budgets import Budget, register_budget
from stn_core.session.recipe import Recipe

register_budget(Budget("brief", ("digits",), (1, 2), 2, Recipe(epochs=1, batch_size=64)))
"""
CLAIM = """
[[claim]]
id = "small-beats-tiny"
source = "nobody"
sentence = "A hidden layer helps."
trained = "brief"
dataset = "digits"
metric = "accuracy"
model = "small"
than = ["tiny"]
expected = "higher"
"""


@pytest.fixture
def claims(bench, pytester):
    """Run the claims of a text; what came of it, and the folder of the session."""
    (pytester.path / "benchmarks").mkdir()
    shutil.copy(REPOSITORY / "conftest.py", pytester.path)
    shutil.copy(REPOSITORY / "benchmarks" / "test_claims.py", pytester.path / "benchmarks")
    pytester.makeini("[pytest]\nmarkers =\n    claims: judged by what is stored")
    pytester.makepyfile(my_models=MODELS + BUDGET)

    def run(text, *arguments):
        (pytester.path / "benchmarks" / "claims.toml").write_text(text, encoding="utf-8")
        before = set(pytester.path.glob("results/*"))
        session = bench("benchmarks/test_claims.py", "-m", "claims", *arguments)
        (folder,) = set(pytester.path.glob("results/*")) - before
        return session, folder

    return run


def test_an_open_claim_passes_and_a_wrong_entry_fails_alone(claims, pytester):
    renamed = CLAIM.replace('id = "', 'id = "again-')
    wrong_metric = renamed.replace('"accuracy"', '"acuracy"')
    wrong_model = CLAIM.replace('id = "', 'id = "other-').replace('"tiny"', '"tiney"')
    session, folder = claims(CLAIM + wrong_metric + wrong_model)
    session.assert_outcomes(passed=1, failed=2)
    shown = session.stdout.str()
    assert "again-small-beats-tiny: unknown metric 'acuracy'; did you mean accuracy" in shown
    assert "other-small-beats-tiny: unknown model 'tiney'; did you mean tiny" in shown
    assert "Traceback" not in shown
    assert "with our recipes: 1 is open" in shown
    page = (folder / "claims.html").read_text(encoding="utf-8")
    assert "A hidden layer helps." in page
    assert "other-small-beats-tiny" not in page
    assert "test_claims.py::test_claim[small-beats-tiny]&#39; -m claims --train" in page
    assert "A hidden layer helps." in (folder / "claims.md").read_text(encoding="utf-8")
    assert not list(pytester.path.rglob("evidence*"))


@pytest.mark.nightly
def test_missing_runs_are_trained_and_kept_and_the_same_command_continues(
    claims, pytester, monkeypatch
):
    def kept():
        records = read_evidence(pytester.path / "evidence.jsonl.gz")
        assert all(one.validation and one.confusion for one in records)
        return [(one.key, one.seed) for one in records]

    both = ("brief/digits/small", "brief/digits/tiny")
    session, folder = claims(CLAIM, "--train", "--seeds", "2")
    session.assert_outcomes(passed=1)
    assert kept() == [(key, seed) for key in both for seed in (0, 1)]
    assert "points [" in (folder / "claims.txt").read_text(encoding="utf-8")
    assert "n = 2" in (folder / "claims.txt").read_text(encoding="utf-8")

    trained, run_seed = [], in_process.run_seed

    def noted(cell, seed, *arguments):
        trained.append((cell.key, seed))
        return run_seed(cell, seed, *arguments)

    monkeypatch.setattr(in_process, "run_seed", noted)
    claims(CLAIM, "--seeds", "3")
    claims(CLAIM, "--train", "--seeds", "2")
    assert trained == []
    claims(CLAIM, "--train", "--seeds", "3")
    assert trained == [(key, 2) for key in both]
    assert kept() == [(key, seed) for key in both for seed in (0, 1, 2)]


FATAL = """
@register_model
def zapped(in_shape, num_classes):
    if os.path.exists("armed"):
        os.unlink("armed")
        os.kill(os.getpid(), signal.SIGKILL)
    return tiny(in_shape, num_classes)
"""


@pytest.mark.nightly
def test_what_was_trained_before_a_kill_is_not_trained_again(claims, pytester):
    def kept():
        records = read_evidence(pytester.path / "evidence.jsonl.gz")
        return {(one.model, one.seed): one.train_seconds for one in records}

    pytester.makepyfile(my_models=MODELS + BUDGET + FATAL)
    (pytester.path / "benchmarks" / "claims.toml").write_text(CLAIM.replace('"tiny"', '"zapped"'))
    command = session("benchmarks/test_claims.py", "-m", "claims", "--train", "--seeds", "2")
    (pytester.path / "armed").touch()
    assert pytester.runpytest_subprocess(*command).ret == -signal.SIGKILL
    before = kept()
    assert set(before) == {("small", 0)}
    assert pytester.runpytest_subprocess(*command).ret == 0
    after = kept()
    assert set(after) == {(model, seed) for model in ("small", "zapped") for seed in (0, 1)}
    assert after["small", 0] == before["small", 0]


def test_a_run_that_fails_is_one_line_and_the_others_are_kept(claims, pytester):
    text = CLAIM.replace('"tiny"', '"fragile"')
    session, _ = claims(text, "--train", "--seeds", "1")
    session.assert_outcomes(failed=1)
    assert "brief/digits/fragile, seed 0: crashed: RuntimeError: made of glass" in (
        session.stdout.str()
    )
    (kept,) = read_evidence(pytester.path / "evidence.jsonl.gz")
    assert kept.model == "small"


def test_a_new_recipe_is_trained_once(claims, pytester, monkeypatch):
    """Runs of the old one no longer count, whatever their seeds."""
    claims(CLAIM, "--train", "--seeds", "2")
    changed = MODELS + BUDGET.replace("batch_size=64", "batch_size=32")
    pytester.makepyfile(my_models=changed)
    trained, run_seed = [], in_process.run_seed

    def noted(cell, seed, *arguments):
        trained.append((cell.model, seed))
        assert len(trained) <= 4
        return run_seed(cell, seed, *arguments)

    monkeypatch.setattr(in_process, "run_seed", noted)
    session, _ = claims(CLAIM, "--train", "--seeds", "2")
    session.assert_outcomes(passed=1)
    assert trained == [(model, seed) for seed in (0, 1) for model in ("small", "tiny")]
    kept = read_evidence(pytester.path / "evidence.jsonl.gz")
    assert {one.recipe["batch_size"] for one in kept} == {32}


def test_a_run_is_tried_once_even_if_its_record_does_not_count(claims, monkeypatch):
    from stn_core.suite import claims_session

    monkeypatch.setattr(claims_session, "add_evidence", lambda *_: None)
    trained, run_seed = [], in_process.run_seed

    def noted(cell, seed, *arguments):
        trained.append(cell.model)
        assert len(trained) <= 2
        return run_seed(cell, seed, *arguments)

    monkeypatch.setattr(in_process, "run_seed", noted)
    session, _ = claims(CLAIM, "--train", "--seeds", "1")
    session.assert_outcomes(passed=1)
    assert trained == ["small", "tiny"]
    assert "with our recipes: 1 is open" in session.stdout.str()


@needs_posix_signals
def test_ctrl_c_while_a_record_is_added_waits_until_it_is(claims, pytester, monkeypatch):
    from stn_core.suite import claims_session

    def interrupted(path, records):
        signal.raise_signal(signal.SIGINT)
        add_evidence(path, records)

    monkeypatch.setattr(claims_session, "add_evidence", interrupted)
    # Tests that run in the background inherit a SIGINT that is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            claims(CLAIM, "--train", "--seeds", "1")
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(read_evidence(pytester.path / "evidence.jsonl.gz")) == 1


def test_a_record_that_cannot_be_added_is_kept_beside(claims, pytester, monkeypatch):
    """Another program may damage the file while a run is training."""
    run_seed = in_process.run_seed

    def damaging(*arguments):
        (pytester.path / "evidence.jsonl.gz").write_text("<<<<<<< HEAD")
        return run_seed(*arguments)

    monkeypatch.setattr(in_process, "run_seed", damaging)
    session, folder = claims(CLAIM, "--train", "--seeds", "1")
    session.assert_outcomes(failed=1, errors=1)
    (kept,) = read_records(folder / "evidence.jsonl")[0]
    assert kept.key == "brief/digits/small"
    assert f"the run's record is in {folder / 'evidence.jsonl'}" in session.stdout.str()


def test_sessions_save_the_state_of_runs_where_the_next_one_finds_it(claims, pytester, monkeypatch):
    saving, run_seed = [], in_process.run_seed

    def noted(cell, seed, settings, callbacks, *arguments):
        saving.append(callbacks)
        return run_seed(cell, seed, settings, callbacks, *arguments)

    monkeypatch.setattr(in_process, "run_seed", noted)
    claims(CLAIM, "--train", "--seeds", "1")
    claims(CLAIM, "--train", "--seeds", "2")
    assert set(saving) == {(SaveCheckpoints(str(pytester.path / "results" / "checkpoints")),)}


def test_a_run_that_failed_is_said_though_the_time_is_over(claims, monkeypatch):
    from stn_core.suite.time_limit import TimeLimit

    allowed = iter(4 * [True])  # the missing runs, as they are looked through for the first
    monkeypatch.setattr(TimeLimit, "allows", lambda *_: next(allowed, False))
    text = CLAIM.replace('"small"', '"fragile"')
    session, _ = claims(text, "--train", "--minutes", "1", "--seeds", "2")
    session.assert_outcomes(failed=1)
    shown = session.stdout.str()
    assert "brief/digits/fragile, seed 0: crashed: RuntimeError: made of glass" in shown
    assert "runs not started: --minutes 1" in shown


@pytest.mark.parametrize("n", IN_ONE_PROCESS_AND_WITH_WORKERS)
def test_no_lock_of_its_processes_is_left(claims, pytester, n):
    _, folder = claims(CLAIM, "--train", "--seeds", "1", *n)
    assert len(read_evidence(pytester.path / "evidence.jsonl.gz")) == 2
    assert (folder / "claims.html").exists()
    assert not list(folder.glob(".*"))


def test_no_run_starts_when_the_time_is_over(claims, pytester, monkeypatch):
    from stn_core.suite.time_limit import TimeLimit

    monkeypatch.setattr(TimeLimit, "allows", lambda *_: False)
    session, _ = claims(CLAIM, "--train", "--minutes", "1", "-rs")
    session.assert_outcomes(skipped=1)
    assert "10 runs not started: --minutes 1; the same command continues" in session.stdout.str()
    assert not (pytester.path / "evidence.jsonl.gz").exists()


def test_an_option_that_cannot_be_read_is_one_line(bench, pytester, monkeypatch):
    (pytester.path / "benchmarks").mkdir()
    shutil.copy(REPOSITORY / "conftest.py", pytester.path)
    shutil.copy(REPOSITORY / "benchmarks" / "test_claims.py", pytester.path / "benchmarks")
    (pytester.path / "benchmarks" / "claims.toml").write_text(CLAIM, encoding="utf-8")
    monkeypatch.setenv("STN_SEEDS", "none")
    session = bench("benchmarks/test_claims.py", "-m", "claims")
    shown = session.stdout.str() + session.stderr.str()
    assert "STN_SEEDS" in shown
    assert "Traceback" not in shown


def test_claims_run_only_on_request(claims, bench, pytester):
    claims(CLAIM)
    bench("benchmarks").assert_outcomes(deselected=1)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--epochs", "3"), "--train takes the shipped recipes: drop the overrides"),
        (("--from-records", "x.jsonl"), "drop --from-records"),
    ],
)
def test_a_training_for_claims_takes_the_shipped_recipes_here(bench, pytester, options, line):
    (pytester.path / "x.jsonl").touch()
    session = bench("--train", *options)
    assert session.ret != 0
    session.stderr.fnmatch_lines([f"*{line}*"])


@pytest.mark.parametrize("markers", [(), ("-m", "core"), ("-m", "not claims")], ids=str)
def test_a_training_for_claims_needs_claims(bench, pytester, markers):
    session = bench("--train", *select("tiny"), *markers)
    assert session.ret != 0
    session.stderr.fnmatch_lines(["ERROR: --train trains what claims lack: add -m claims*"])
    assert not (pytester.path / "results").exists()


def test_another_repository_is_told_so_in_its_own_spelling(pytester, run_here):
    pytester.makepyfile("def test_ours(): pass")
    session = run_here("-p", "stn_core.suite.plugin", "--stn-train")
    assert session.ret != 0
    session.stderr.fnmatch_lines(["ERROR: --stn-train trains what claims lack: add -m claims*"])


@pytest.mark.parametrize("train", [(), ("--train",)], ids=["judge", "train"])
def test_claims_are_not_resumed(claims, bench, pytester, train):
    _, folder = claims(CLAIM)
    earlier = folder.with_name("earlier")
    earlier.mkdir()
    (earlier / "session.json").write_text('{"number": 1, "version": 1}')
    session = bench("benchmarks/test_claims.py", "-m", "claims", *train, "--resume", "last")
    assert session.ret != 0
    shown = session.outlines + session.errlines
    line = "--resume: claims continue without it; give the same command again"
    assert line in [one.removeprefix("ERROR: ").removeprefix("E   ").strip() for one in shown]
    assert not any("Traceback" in one for one in shown)
    assert [path.name for path in earlier.iterdir()] == ["session.json"]


def test_a_run_is_measured_only_by_what_claims_on_its_cell_are_about(claims, pytester):
    """Invariance takes fifty evaluations, which a claim on another cell would not use."""
    about = CLAIM.replace('"accuracy"', '"invariance"').replace('"tiny"', '"tiny_that_warns"')
    both = CLAIM + about.replace('id = "', 'id = "other-')
    claims(both, "--train", "--seeds", "1", "-W", "ignore:old fashioned")
    kept = read_evidence(pytester.path / "evidence.jsonl.gz")
    measured = {one.model: sorted(one.metrics) for one in kept}
    assert measured == {"small": ["invariance"], "tiny_that_warns": ["invariance"], "tiny": []}


@pytest.mark.parametrize(("cores", "trains"), [(0.0, True), (0.7, False), (None, False)])
def test_training_times_are_measured_only_on_a_quiet_machine(
    claims, pytester, monkeypatch, cores, trains
):
    from stn_core.training import machine_load

    monkeypatch.setattr(machine_load, "other_cores_now", lambda: cores)
    monkeypatch.setattr(machine_load.OtherLoad, "cores", lambda *_: cores)
    about = CLAIM.replace('"accuracy"', '"train_time"')
    session, folder = claims(about, "--train", "--seeds", "2", "-rs")
    session.assert_outcomes(passed=trains, skipped=not trains)
    table = (folder / "claims.txt").read_text(encoding="utf-8")
    if trains:
        kept = read_evidence(pytester.path / "evidence.jsonl.gz")
        assert [one.other_load for one in kept] == [0.0] * 4
        assert "n = 2" in table
    else:
        assert "training times need a quiet machine" in session.stdout.str()
        assert "no training times from a quiet machine" in table or "not measured" in table
        assert not (pytester.path / "evidence.jsonl.gz").exists()


def test_on_a_cluster_the_kind_of_machine_is_known_after_one_run(claims, pytester, monkeypatch):
    from stn_core.training import machine_load

    monkeypatch.setattr(machine_load, "other_cores_now", lambda: 0.0)
    monkeypatch.setattr(machine_load.OtherLoad, "cores", lambda *_: 0.0)
    with (pytester.path / "conftest.py").open("a") as conftest:
        conftest.write(CONFTEST.replace("{arguments}", LAST_FIRST))
    about = CLAIM.replace('"accuracy"', '"train_time"')
    path = pytester.path / "evidence.jsonl.gz"
    claims(about, "--train", "--seeds", "3")
    *kept, _ = complete = read_evidence(path)
    assert len(complete) == 6
    path.unlink()
    add_evidence(path, kept)
    claims(about, "--train", "--seeds", "3")
    completed = read_evidence(path)
    assert len(completed) == 6
    assert sum(run in completed for run in kept) == 4  # one was trained again to find out
    claims(about, "--train", "--seeds", "3")
    assert read_evidence(path) == completed


def test_training_times_of_one_model_on_another_machine_are_completed_here(
    claims, pytester, monkeypatch
):
    """The runs on the other machine stay, and the claim is judged by those of this one."""
    from stn_core.training import machine_load

    monkeypatch.setattr(machine_load, "other_cores_now", lambda: 0.0)
    monkeypatch.setattr(machine_load.OtherLoad, "cores", lambda *_: 0.0)
    about = CLAIM.replace('"accuracy"', '"train_time"')
    path = pytester.path / "evidence.jsonl.gz"
    claims(about, "--train", "--seeds", "2")
    here = read_evidence(path)
    elsewhere = [
        replace(run, environment=replace(run.environment, device_name="another processor"))
        for run in here
        if run.model == "small"
    ]
    path.unlink()
    add_evidence(path, [*elsewhere, *(run for run in here if run.model != "small")])
    session, folder = claims(about, "--train", "--seeds", "2")
    session.assert_outcomes(passed=1)
    assert "n = 2" in (folder / "claims.txt").read_text(encoding="utf-8")
    kept = read_evidence(path)
    assert sorted(run.model for run in kept) == ["small"] * 4 + ["tiny"] * 2
    assert all(run in kept for run in elsewhere)
    claims(about, "--train", "--seeds", "2")
    assert read_evidence(path) == kept


def test_a_model_without_a_value_of_the_metric_is_named_after_one_run(claims, pytester):
    about = CLAIM.replace('"accuracy"', '"misplaced_pixels"')
    session, _ = claims(about, "--train", "--seeds", "2")
    session.assert_outcomes(failed=1)
    assert "small has no misplaced_pixels" in session.stdout.str()
    (kept,) = read_evidence(next(pytester.path.rglob("evidence*.gz")))
    assert (kept.model, kept.metrics) == ("small", {})
