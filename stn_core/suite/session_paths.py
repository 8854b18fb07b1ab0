"""The files and folders that a session's options name."""

from __future__ import annotations

from pathlib import Path

from stn_core.errors import UsageError
from stn_core.session.file_names import PLAN_FILE, RECORDS_FILE
from stn_core.session.plan import read_asked
from stn_core.suite.command_line import CommandLine


def records_files(given: CommandLine) -> tuple[Path, ...]:
    """The files of --from-records; a folder means the records in it."""
    files = []
    for name in given["from-records"] or ():
        path = given.folder("from-records") / name
        path = path / RECORDS_FILE if path.is_dir() else path
        if not path.is_file():
            raise UsageError(f"--from-records: there is no file {path}")
        files.append(path)
    return tuple(files)


def results_folder(given: CommandLine) -> Path:
    """The session's folder, an earlier session's or one to be made."""
    if given["resume"]:
        return resumed_folder(given)
    parent = given.path("results-dir") or given.default_folder / "results"
    return parent / given.start_time


def resumed_folder(given: CommandLine) -> Path:
    """The folder that --resume names; the last session is the one that trained last.

    Raises:
        UsageError: there is no such session, or it judged records that it was given.
    """
    if given["resume"] != "last":
        folder: Path = given.folder("resume") / given["resume"]
        if not (folder / PLAN_FILE).is_file():
            raise UsageError(f"--resume: {folder} is not a session's folder: it has no {PLAN_FILE}")
        if _judged_given_records(folder):
            raise UsageError(
                f"--resume: {folder} judged records that it was given, and trained nothing; name"
                " the session that trained them"
            )
        return folder
    from stn_core.session.folder import session_folders

    parent = given.path("results-dir") or given.default_folder / "results"
    for folder in session_folders(parent):
        if (folder / PLAN_FILE).is_file() and not _judged_given_records(folder):
            return folder
    raise UsageError(f"--resume last: there is no session in {parent}")


def _judged_given_records(folder: Path) -> bool:
    return bool(read_asked(folder)[0].from_records)
