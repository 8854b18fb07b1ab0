"""The code of another commit, checked out beside the session's own."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from stn_core.engines.reference import ReferenceCode
from stn_core.errors import UsageError, needs_extra
from stn_core.suite.checkout import ask_git

with needs_extra("suite"):
    from filelock import FileLock


def find_commit(folder: Path, revision: str) -> str:
    """The 40 digits of a branch, tag or commit; a branch may exist only on a remote.

    Args:
        folder: in the repository.
        revision: as the user wrote it.

    Raises:
        UsageError: there is no repository, or no such commit in it.
    """
    if not _git(folder, "rev-parse", "--show-toplevel"):
        raise UsageError(f"--against {revision}: {folder} is not a git checkout")
    for name in (revision, f"origin/{revision}"):
        if commit := _git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
            return commit
    advice = ""
    if _git(folder, "rev-parse", "--is-shallow-repository") == "true":
        advice = f"; this clone is shallow: {_fetch_command(revision)}"
    raise UsageError(f"--against {revision}: there is no such branch, tag or commit{advice}")


def is_in_commit(folder: Path, commit: str, path: str) -> bool:
    """Whether a commit has a file or folder; False if there is no such commit.

    Args:
        folder: in the repository; a relative path starts there.
        commit: its digits or name.
        path: of the file.
    """
    relative = os.path.relpath(folder / path, folder)
    return bool(_git(folder, "rev-parse", "--verify", "--quiet", f"{commit}:./{relative}"))


def _fetch_command(revision: str) -> str:
    """What brings a commit into a shallow clone."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return f"git fetch --depth=1 origin {revision}"
    # A server knows no commit by its first digits, nor by its distance from another.
    if re.fullmatch("[0-9a-f]{4,39}", revision) or set(revision) & set("~^@:"):
        return "git fetch --unshallow"
    name = revision.removeprefix("origin/")
    return f"git fetch --depth=1 origin {name}:refs/remotes/origin/{name}"


def repository_of(folder: Path) -> Path:
    """The top folder of the checkout around a folder."""
    return Path(_git(folder, "rev-parse", "--show-toplevel") or folder).resolve()


def worktree_of(session: Path, commit: str) -> Path:
    """Where a session keeps the files of a commit: outside any checkout, in `_own_folder`."""
    name = hashlib.sha256(f"{session.resolve()} {commit}".encode()).hexdigest()[:16]
    return _own_folder() / name


def _own_folder() -> Path:
    """A folder that no other user can write to, because code is imported from it.

    Raises:
        UsageError: another user could, or it cannot be made.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"stn_core-worktrees-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UsageError(f"--against: {error}") from None
    if hasattr(os, "getuid") and (found.st_uid != user or found.st_mode & 0o022):
        raise UsageError(
            f"--against: {folder} is not only yours to write to; remove it, or set TMPDIR to a"
            " folder of your own"
        )
    return folder


def add_worktree(repository: Path, worktree: Path, commit: str) -> None:
    """Check a commit out, once for all processes of a session.

    A session that was killed meanwhile left only a part of the files: they are checked out again.

    Raises:
        UsageError: git fails.
    """
    complete = _mark_of(worktree)
    with FileLock(f"{worktree}.lock"):
        if complete.exists() and (worktree / ".git").exists():
            return
        _remove_files(repository, worktree)
        _git(repository, "worktree", "prune")  # remove what killed sessions left
        # Twice forced: a worktree that git was killed in stays locked.
        how = ("--quiet", "--force", "--force", "--detach")
        answer = ask_git(repository, "worktree", "add", *how, str(worktree), commit)
        if answer is None or answer.returncode:
            says = answer.stderr.strip().splitlines() if answer else []
            reason = says[-1] if says else "git fails"
            raise UsageError(f"--against: cannot check out {commit[:12]}: {reason}")
        complete.touch()


def remove_worktree(repository: Path, worktree: Path) -> None:
    """Remove a commit's files."""
    _remove_files(repository, worktree)
    with contextlib.suppress(OSError):
        Path(f"{worktree}.lock").unlink()


def _mark_of(worktree: Path) -> Path:
    """The file that exists while all of a commit's files are there."""
    return Path(f"{worktree}.complete")


def _remove_files(repository: Path, worktree: Path) -> None:
    _mark_of(worktree).unlink(missing_ok=True)
    if worktree.exists():
        _git(repository, "worktree", "remove", "--force", "--force", str(worktree))
        shutil.rmtree(worktree, ignore_errors=True)


def reference_code(
    revision: str,
    commit: str,
    worktree: Path,
    repository: Path,
    imports: Sequence[str],
    folder: Path,
) -> ReferenceCode:
    """Which of a commit's modules to import, and from where.

    Args:
        revision, commit: as for `find_commit`.
        worktree: where it is checked out.
        repository: the top folder of the session's own checkout.
        imports: modules or files that register the user's models and datasets.
        folder: where to look for them.

    Raises:
        UsageError: the session's own code was not imported from its checkout.
    """

    def there(path: Path) -> Path:
        path = path.resolve()
        return worktree / path.relative_to(repository) if _is_within(path, repository) else path

    names = [name for name in imports if not name.endswith(".py")]
    files = [there(folder / name) for name in imports if name.endswith(".py")]
    places = [repository, repository / "src", folder, folder / "src"]
    own = list(_own_modules(["stn_core", *names], repository, places, revision))
    if not own and not any(path.is_relative_to(worktree) for path in files):
        raise UsageError(
            f"--against {revision}: none of the session's code lies in {repository}; name the"
            " modules to compare with --import"
        )
    if missing := [path for path in files if not path.exists()]:
        raise UsageError(f"--against {revision}: it has no file {missing[0].relative_to(worktree)}")
    entries = [*places[:2], *(Path(entry) for entry in sys.path if entry), *places[2:]]
    path = [there(entry) for entry in entries if _is_within(entry, repository)]
    return ReferenceCode(
        revision=revision,
        commit=commit,
        worktree=worktree,
        path=tuple(dict.fromkeys(map(str, path))),
        modules=tuple(names),
        files=tuple(map(str, files)),
        own=tuple(own),
    )


def _own_modules(
    names: Iterable[str], repository: Path, places: Iterable[Path], revision: str
) -> Iterable[str]:
    """The modules that belong to the repository.

    Args:
        names: to look up.
        repository: its top folder.
        places: where in it a module may lie; a project may be in a folder of its repository.
        revision: as the user named it.

    Raises:
        UsageError: one belongs to it, but was imported from an installed copy.
    """
    for name in names:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin and _is_within(origin, repository):
            yield name
        elif any(
            _is_within(place, repository)
            and (place / name.partition(".")[0] / "__init__.py").exists()
            for place in places
        ):
            raise UsageError(
                f"--against {revision}: {name} was imported from {origin and origin.parent}, not"
                f" from {repository}; install it with pip install --editable"
            )


def _is_within(path: Path, repository: Path) -> bool:
    """Whether a path belongs to a checkout; a Python environment inside it does not."""
    path, environment = path.resolve(), Path(sys.prefix).resolve()
    return path.is_relative_to(repository) and not (
        environment != repository and path.is_relative_to(environment)
    )


def _git(folder: Path, *arguments: str) -> str:
    """Git's answer, "" if it fails or is not installed."""
    answer = ask_git(folder, *arguments)
    return answer.stdout.strip() if answer and not answer.returncode else ""
