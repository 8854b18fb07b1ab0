"""The git checkout that a session runs in: its commit, and whether anything is uncommitted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from stn_core.atomic_files import is_unfinished
from stn_core.errors import UsageError

COMMIT_VARIABLE = "STN_COMMIT"
"""The environment variable that names the commit if there is no checkout, as in a container."""


def describe_checkout(folder: Path, written: Iterable[Path] = ()) -> tuple[str | None, bool | None]:
    """The commit of the git checkout around a folder and whether it has uncommitted changes.

    Args:
        folder: inside the checkout.
        written: files and folders that the session writes itself; they do not count as changes.

    Returns:
        (commit, dirty); outside a checkout, without git or before the first commit, what
        `STN_COMMIT` says, or (None, None).

    Raises:
        UsageError: `STN_COMMIT` is needed and is not a commit.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    # All of it: the project's folder may be one of several in its checkout.
    top = (folder / (_git(folder, "rev-parse", "--show-cdup") or "")).resolve()
    resolved = [path.resolve() for path in written]
    inside = [path for path in resolved if path != top and path.is_relative_to(top)]
    exclusions = [f":(exclude){path.relative_to(top).as_posix()}" for path in inside]
    changed = _git(top, "status", "--porcelain", "--", ".", *exclusions)
    if commit is None or changed is None:
        return _told_commit()
    # A file that a killed session was writing is not one of the user's changes.
    return commit, any(not is_unfinished(line.rstrip('"')) for line in changed.splitlines())


def _told_commit() -> tuple[str | None, bool | None]:
    """The commit that an image was built from, as ``git describe --always --dirty --abbrev=40``
    names it."""
    told = os.environ.get(COMMIT_VARIABLE, "")
    if not told:
        return None, None
    found = re.fullmatch(r"([0-9a-f]{40})(-dirty)?", told)
    if not found:
        raise UsageError(f"{COMMIT_VARIABLE}: expected 40 hexadecimal digits, got {told!r}")
    return found[1], bool(found[2])


def git_failure(folder: Path) -> str:
    """Git's message if it fails in a folder, so that the state of the checkout is unknown.

    Returns:
        Its first line, or that git is not installed; "" if git answers, or if there is no checkout.
    """
    is_checkout = any((parent / ".git").exists() for parent in (folder.resolve() / ".git").parents)
    if is_checkout and shutil.which("git") is None:
        return "git is not installed"
    for question in (("rev-parse", "--git-dir"), ("status", "--porcelain")):
        answer = ask_git(folder, *question)
        if answer and answer.returncode:
            says = answer.stderr.strip().partition("\n")[0]
            return "" if "not a git repository (or any" in says else says
    return ""


def _git(folder: Path, *arguments: str) -> str | None:
    answer = ask_git(folder, *arguments)
    return answer.stdout.strip() if answer and not answer.returncode else None


def ask_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Git's answer, in English; None if there is no git.

    In a hook such as pre-commit, git sets GIT_INDEX_FILE. Passed on, it would make git use that
    index in another folder too, and `git worktree add` would overwrite it.
    """
    command = ["git", "-C", str(folder), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "GIT_INDEX_FILE"}
    environment["LC_ALL"] = "C"
    try:
        return subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError:
        return None
