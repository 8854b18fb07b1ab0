"""The commit that a session runs at, where git knows it and where only the environment does."""

import pytest

from stn_core.errors import UsageError
from stn_core.suite.checkout import describe_checkout
from stn_core.suite.worktree import add_worktree, remove_worktree
from tests.suite.sessions import commit, git

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize("told", [COMMIT, f"{COMMIT}-dirty"])
def test_without_a_checkout_the_environment_names_the_commit(tmp_path, monkeypatch, told):
    monkeypatch.setenv("STN_COMMIT", told)
    assert describe_checkout(tmp_path) == (COMMIT, told.endswith("-dirty"))


def test_without_git_or_variable_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("STN_COMMIT", raising=False)
    assert describe_checkout(tmp_path) == (None, None)


@pytest.mark.parametrize("told", ["main", COMMIT[:12], f"{COMMIT}+", COMMIT.upper()])
def test_a_commit_in_the_environment_is_whole(tmp_path, monkeypatch, told):
    monkeypatch.setenv("STN_COMMIT", told)
    with pytest.raises(UsageError, match="STN_COMMIT: expected 40 hexadecimal digits"):
        describe_checkout(tmp_path)


def test_a_checkout_knows_better_than_the_environment(tmp_path, monkeypatch, pytestconfig):
    before = describe_checkout(pytestconfig.rootpath)
    monkeypatch.setenv("STN_COMMIT", COMMIT)
    if before[0] is not None:  # the tests may run outside of a checkout
        assert describe_checkout(pytestconfig.rootpath)[0] == before[0]


def test_the_index_that_git_names_in_a_hook_is_neither_read_nor_overwritten(tmp_path, monkeypatch):
    here, worktree = tmp_path / "here", tmp_path / "worktree"
    here.mkdir()
    (here / "code.py").touch()
    commit(here)
    (here / "staged.py").touch()
    git(here, "add", "staged.py")
    with monkeypatch.context() as hook:
        hook.setenv("GIT_INDEX_FILE", str(here / ".git" / "index"))
        add_worktree(here, worktree, "HEAD")
        assert describe_checkout(worktree)[1] is False
    assert git(here, "status", "--porcelain") == "A  staged.py\n"
    remove_worktree(here, worktree)


def test_a_change_anywhere_in_the_checkout_counts_but_what_the_session_writes(tmp_path):
    project, library = tmp_path / "project", tmp_path / "library"
    for folder in (project, library):
        folder.mkdir()
        (folder / "code.py").touch()
    commit(tmp_path)
    results = project / "results"
    for written in (results, tmp_path / "shared"):
        written.mkdir()
        (written / "file").touch()
    own = [results, tmp_path / "shared"]
    assert describe_checkout(project, own)[1] is False
    assert describe_checkout(project, own[:1])[1] is True
    (library / "code.py").write_text("SLOPE = 2")
    assert describe_checkout(project, own)[1] is True
