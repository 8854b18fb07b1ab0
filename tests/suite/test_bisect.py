"""The exit statuses that git bisect understands."""

import sys

import pytest

from stn_core.gate.judgement import Verdict
from stn_core.suite import bisect as module
from stn_core.suite.bisect import CANNOT_BE_JUDGED, NOT_WORSE, WORSE, bisect
from stn_core.suite.commands import main
from tests.suite.sessions import commit, git

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("verdicts", "status", "said"),
    [
        ([Verdict.IDENTICAL, Verdict.REGRESSED], 1, WORSE),
        ([Verdict.PASS], 0, NOT_WORSE),
        ([Verdict.IMPROVED, Verdict.NEW], 0, NOT_WORSE),
        ([Verdict.PASS, Verdict.DIVERGED], 1, WORSE),
        ([Verdict.PASS, Verdict.CRASHED], 1, CANNOT_BE_JUDGED),
        ([Verdict.NEW], 0, CANNOT_BE_JUDGED),
        ([], 4, CANNOT_BE_JUDGED),
    ],
)
def test_a_commit_is_worse_not_worse_or_cannot_be_judged(monkeypatch, verdicts, status, said):
    asked = []

    def run(arguments, plugins):
        asked.append(arguments)
        plugins[0].verdicts = verdicts
        return status

    monkeypatch.setattr(module.pytest, "main", run)
    assert bisect("v1.0", ["-k", "stn"]) == said
    ((*_, against, _, option, word, _, _),) = asked
    assert (against, option, word) == ("--stn-against=v1.0", "-k", "stn")


def test_a_repository_whose_warnings_are_errors_is_judged(pytester):
    pytester.makeini("[pytest]\nfilterwarnings = error")
    commit(pytester.path)
    nothing = pytester.run(sys.executable, "-m", "stn_core", "bisect", "HEAD", "--collect-only")
    assert nothing.ret == CANNOT_BE_JUDGED
    nothing.stdout.fnmatch_lines(["*no tests collected*"])


def test_a_commit_that_does_not_exist_ends_the_bisection(pytester):
    """Else git would skip one commit after the other."""
    pytester.makepyfile("")
    commit(pytester.path)
    wrong = pytester.run(sys.executable, "-m", "stn_core", "bisect", "v1.O")
    assert wrong.ret >= 128
    line = "stn bisect v1.O: there is no such branch, tag or commit"
    assert [said for said in wrong.errlines if said] == [f"ERROR: {line}"]


def test_a_test_file_that_no_commit_has_ends_the_bisection(pytester):
    """Else git would skip one commit after the other."""
    pytester.makepyfile(test_new="")
    commit(pytester.path)
    wrong = pytester.run(sys.executable, "-m", "stn_core", "bisect", "HEAD", "test_nwe.py::test_a")
    assert wrong.ret >= 128
    line = "there is no file or folder test_nwe.py, neither here nor in the good or the bad commit"
    assert [said for said in wrong.errlines if said] == [f"ERROR: stn bisect HEAD: {line}"]


@pytest.mark.parametrize("in_a_subfolder", [False, True])
def test_a_commit_that_lacks_the_test_file_is_skipped(pytester, in_a_subfolder, monkeypatch):
    """The tests may be newer than the commit; then the bad one has them."""
    folder = pytester.mkdir("ml") if in_a_subfolder else pytester.path
    (pytester.path / "README").touch()
    commit(pytester.path)
    (folder / "test_new.py").touch()
    commit(pytester.path)
    git(pytester.path, "update-ref", "refs/bisect/bad", "HEAD")
    git(pytester.path, "checkout", "--quiet", "HEAD~1")
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    old = pytester.run(sys.executable, "-m", "stn_core", "bisect", "HEAD", "test_new.py")
    assert old.ret == CANNOT_BE_JUDGED


def test_a_session_that_fails_to_run_does_not_judge_the_commit(monkeypatch, capsys):
    def broken(arguments, plugins):
        raise RuntimeError("a plugin is broken")

    monkeypatch.setattr(module.pytest, "main", broken)
    assert bisect("v1.0", []) == CANNOT_BE_JUDGED
    assert "a plugin is broken" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--collect-only"]])
def test_without_a_commit_the_bisection_ends(arguments, capsys):
    assert main(["bisect", *arguments]) >= 128
    assert "name a good commit" in capsys.readouterr().err
