"""The folder that a session claims and its plan, which leave nothing where nothing is trained."""

import datetime
from types import SimpleNamespace

import pytest

from stn_core.errors import UsageError
from stn_core.session.folder import claim_folder
from stn_core.suite.agreement import Agreed, Agreement
from stn_core.suite.command_line import start_time
from stn_core.suite.plan import check_folder
from stn_core.suite.plugin import pytest_configure_node, session_options
from tests.nightly import IN_ONE_PROCESS_AND_WITH_WORKERS
from tests.suite.sessions import contents, folders, select

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--plan",),
        pytest.param(("--plan", "-n", "2"), marks=pytest.mark.nightly),
        ("--collect-only", "-q"),
    ],
)
def test_a_plan_trains_nothing_and_leaves_nothing(bench, pytester, arguments):
    result = bench(*select("tiny"), *arguments)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*plan, budget smoke*",
            "dataset * seeds *",
            "digits * tiny * 10 * 3 * unknown*",
            "1 cell, *",
        ]
    )
    assert not list(pytester.path.glob("results/*"))


@pytest.mark.parametrize("only", ["fixtures", "fixtures-per-test", "setup-only", "setup-plan"])
def test_pytests_options_that_run_no_test_train_nothing_and_leave_nothing(bench, pytester, only):
    result = bench(*select("tiny"), f"--{only}")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*train_and_judge*"])
    result.stdout.no_fnmatch_line("*budget smoke*")
    assert not list(pytester.path.glob("results/*"))


def test_a_plan_does_without_an_earlier_session_that_cannot_be_read(bench, pytester):
    records = pytester.path / "results" / "earlier" / "records.jsonl"
    records.mkdir(parents=True)  # so that nobody can read it, not even root
    result = bench(*select("tiny"), "--plan")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 cell, *(stored times; this machine's are not known)"])


def test_without_selected_cells_there_is_no_plan(bench):
    result = bench("-k", "stm", "--plan")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["unknown model or dataset 'stm'*"])
    result.stdout.no_fnmatch_line("*plan, budget smoke*")


def test_a_plan_for_a_cluster_does_not_ask_it_and_says_so(bench):
    result = bench(*select("tiny"), "--seeds", "3", "--plan", "--ray", "127.0.0.1:1")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 cell, *1 worker* run at a time; the cluster was not *"])


def test_a_plan_for_a_cluster_is_for_the_device_of_the_session_that_it_resumes(bench, pytester):
    assert bench(*select("tiny"), "--seeds", "2").ret == 0
    plan = folders(pytester)[0] / "session.json"
    plan.write_text(plan.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    again = ("--resume", "last", "--ray", "127.0.0.1:1", "--device", "auto")
    result = bench(*select("tiny"), "--seeds", "2", "--plan", *again)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["digits * tiny * 10 * 2 *"])  # the runs on the CPU do not count


def test_a_plan_is_for_as_many_workers_as_xdist_starts(bench):
    for tx, counted in (("2*popen", "2 workers"), ("popen", "1 worker")):
        result = bench(*select("tiny"), "--plan", "--tx", tx, "--dist", "load")
        result.stdout.fnmatch_lines([f"1 cell, *of training on {counted} (*"])
    # --tx alone starts none.
    bench(*select("tiny"), "--plan", "--tx", "2*popen").stdout.fnmatch_lines(["*on 1 worker (*"])


def test_a_plan_without_the_records_that_it_resumes_is_a_line(bench, pytester):
    assert bench(*select("tiny"), "--seeds", "1", "--epochs", "1").ret == 0
    records = folders(pytester)[0] / "records.jsonl"
    records.unlink()
    records.mkdir()  # so that nobody can read it, not even root
    result = bench(*select("tiny"), "--epochs", "1", "--plan", "--resume", "last")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([f"no plan: cannot read {records}: *"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_path_in_an_arguments_file_is_looked_for_where_the_user_is(bench, pytester, monkeypatch):
    (pytester.path / "arguments").write_text("--results-dir\nmine\n--epochs=1\n--seeds\n1\n")
    (pytester.path / "below").mkdir()
    monkeypatch.chdir(pytester.path / "below")
    monkeypatch.syspath_prepend(pytester.path)
    inner = f"{pytester.path / 'test_bench.py'}::test_accuracy[digits-tiny]"
    ini = str(pytester.path / "tox.ini")
    result = bench(inner, "-c", ini, "@../arguments", "--import", "../my_models.py")
    assert result.ret == 0
    assert [path.parent.name for path in pytester.path.glob("below/mine/*")] == ["mine"]


def test_a_plan_says_what_is_still_to_be_trained(bench, pytester):
    assert bench(*select("tiny"), "--seeds", "2").ret == 0
    (folder,) = folders(pytester)
    before = contents(folder)
    for earlier in (("--resume", "last"), ("--from-records", str(folder))):
        plan = bench(*select("tiny", "small"), "--seeds", "3", "--plan", *earlier)
        plan.stdout.fnmatch_lines_random(["digits * tiny * 10 * 1 *", "digits * small * 10 * 3 *"])
        done = bench(*select("tiny"), "--seeds", "2", "--plan", *earlier)
        done.stdout.fnmatch_lines(["digits * tiny * 10 * 0 *"])
        assert (plan.ret, done.ret) == (0, 0)
    assert contents(folder) == before
    assert folders(pytester) == [folder]


def test_the_last_session_is_the_one_that_ran_last(pytester):
    for name, number in (("2026-01-02", 2), ("2026-01-01", 3), ("2026-01-03", 1)):
        plan = pytester.path / "results" / name / "session.json"
        plan.parent.mkdir(parents=True)
        plan.write_text(f'{{\n "number": {number},')
    (pytester.path / "results" / "records only").mkdir()
    (pytester.path / "results" / "records only" / "records.jsonl").touch()
    config = pytester.parseconfigure("-p", "stn_core.suite.short_options", "--resume", "last")
    assert session_options(config).results.name == "2026-01-01"


def test_a_session_has_one_start_however_late_it_is_asked_for(pytester, monkeypatch):
    config = pytester.parseconfigure("-p", "stn_core.suite.plugin")
    later = datetime.datetime(2126, 1, 2)
    clock = SimpleNamespace(datetime=SimpleNamespace(now=lambda: later))
    monkeypatch.setattr("stn_core.suite.command_line.datetime", clock)
    assert not start_time(config).startswith("2126")


def test_a_session_does_not_join_a_killed_one_of_the_same_xdist_name(pytester):
    config = pytester.parseconfig("-p", "stn_core.suite.plugin")
    agreement = Agreement(f"twice-{pytester.path.name}")
    for is_first in (True, False):  # with the second worker, the session's own must stay
        agreement.decide(lambda: Agreed("results/killed", False, None, None))
        input_of_worker = {"testrunuid": f"twice-{pytester.path.name}"}
        pytest_configure_node(SimpleNamespace(config=config, workerinput=input_of_worker))
        assert agreement.exists is not is_first
    agreement.discard()


@pytest.fixture
def stopped_clock(monkeypatch):
    """It is always the same second."""
    now = datetime.datetime(2026, 1, 2, 3, 4, 5)
    stopped = SimpleNamespace(datetime=SimpleNamespace(now=lambda: now))
    monkeypatch.setattr("stn_core.suite.command_line.datetime", stopped)
    return "2026-01-02_03-04-05"


@pytest.mark.parametrize("workers", IN_ONE_PROCESS_AND_WITH_WORKERS)
def test_sessions_that_start_in_the_same_second_have_a_folder_each(
    bench, pytester, stopped_clock, workers
):
    # Another session takes the name between this one's first look and its first result.
    pytester.makeconftest(
        f"""
        from pathlib import Path
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionstart(session):
            if not hasattr(session.config, "workerinput"):
                (session.config.rootpath / "results" / "{stopped_clock}").mkdir(parents=True)
        """
    )
    assert bench(*select("tiny"), "--seeds", "1", *workers).ret == 0
    assert folders(pytester) == [pytester.path / "results" / f"{stopped_clock}_2"]
    assert not contents(pytester.path / "results" / stopped_clock)


def test_a_name_belongs_to_the_session_that_makes_the_folder(tmp_path):
    claimed = [claim_folder(tmp_path / "results" / "now") for _ in range(3)]
    assert [folder.name for folder in claimed] == ["now", "now_2", "now_3"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--dataset", "digitz"),
        ("-k", "no_such_model"),
        pytest.param(("-k", "stm", "-n", "1"), marks=pytest.mark.nightly),
    ],
)
def test_a_session_that_never_began_leaves_nothing(bench, pytester, arguments):
    assert bench(*arguments).ret != 0
    assert not (pytester.path / "results").exists()


@pytest.mark.parametrize("name", ["session.json", "records.jsonl", "reference.jsonl"])
def test_a_file_of_the_session_to_resume_that_cannot_be_used_is_a_line(tmp_path, name):
    check_folder(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"^cannot write results to .*: Is a directory$"):
        check_folder(tmp_path)
