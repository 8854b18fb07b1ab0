"""What a session set out to do: written and read here."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_at_once
from stn_core.errors import UsageError, is_missing, printable
from stn_core.schema import checked, json_object, read_json, shown
from stn_core.session.budgets import are_looks
from stn_core.session.file_names import PLAN_FILE
from stn_core.session.folder import next_number


@dataclass(frozen=True)
class Asked:
    """What a session was asked to do, as far as pages show it; empty if unknown.

    Args:
        command: its command line.
        environment: the variables that set options.
        results: its folder at that time.
        from_records: files of records that it was given, where they were at that time.
        looks: numbers of seeds after which a cell is judged.
        against: the commit that cells were compared with, as the user named it.
        baselines: the file that judged it.
        notes: how a user's own files became datasets, and which models were left out.
        left_out: why cells were left out of the matrix, by key.
    """

    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    results: str = ""
    from_records: list[str] = field(default_factory=list)
    looks: list[int] = field(default_factory=list)
    against: str | None = None
    baselines: str = "baselines.json"
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def record_files(self, folder: Path) -> tuple[Path, ...]:
        """The files of records that it was given, as `SessionStore` takes them.

        One that is gone is looked for where it was relative to the session's folder: results that
        are copied from a cluster move together.

        Args:
            folder: of the session, where it is now.
        """
        return tuple(self._file(Path(name), folder) for name in self.from_records)

    def _file(self, file: Path, folder: Path) -> Path:
        with contextlib.suppress(ValueError):  # on another drive, it has not moved with the folder
            moved = folder.resolve() / os.path.relpath(file, self.results or folder)
            if is_missing(file) and not is_missing(moved):
                return Path(os.path.normpath(moved))
        return file

    @property
    def line(self) -> str:
        """The command line that repeats the session, "" if unknown."""
        if not self.command:
            return ""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        program = Path(self.command[0]).name
        start = ["python", "-m", "pytest"] if program == "__main__.py" else [program]
        return printable(" ".join([*variables, shlex.join([*start, *self.command[1:]])]))


def write_plan_file(
    folder: Path,
    plan: Mapping[str, Any],
    options: Mapping[str, Any],
    command: Sequence[str],
    *,
    resumes: bool,
) -> None:
    """Write the plan of a session to its folder; every xdist worker writes the same.

    Args:
        folder: of the session.
        plan, options: the plan and the options; values that JSON lacks are written as text.
        command: the command line.
        resumes: the folder has an earlier session; the command that started it is kept.
    """
    earlier, _ = read_asked(folder) if resumes else (Asked(), [])
    variables = {name: value for name, value in os.environ.items() if name.startswith("STN_")}
    content = {
        "number": next_number(folder.parent),
        "command": earlier.command or list(command),
        "environment": earlier.environment if earlier.command else variables,
        "options": dict(options),
        **plan,
    }
    text = json.dumps(content, indent=1, default=str)
    write_at_once(folder / PLAN_FILE, text + "\n")


def read_plan_file(folder: Path) -> dict[str, Any] | None:
    """The content of a session's plan, None if no cell was planned.

    Raises:
        UsageError: it is damaged.
    """
    path = folder / PLAN_FILE
    if not path.exists() or not path.stat().st_size:
        return None
    return json_object(read_json(path, is_text=False), f"{path}: ")


def read_asked(folder: Path) -> tuple[Asked, list[str]]:
    """What a folder's session was asked to do, and a message if that cannot be read."""
    path = folder / PLAN_FILE
    try:
        plan = json_object(read_json(path, is_text=False), f"{path}: ")
        options = json_object(plan.get("options", {}), f"{path}: options: ")
        said = {**options, **plan}
        values = {entry.name: said[entry.name] for entry in fields(Asked) if entry.name in said}
        asked = checked(Asked, values, f"{path}: ")
        if "looks" in values and not are_looks(asked.looks):
            found = shown(asked.looks)
            raise UsageError(f"{path}: looks must be rising numbers of seeds, not {found}")
        return asked, []
    except UsageError as error:
        return Asked(), [f"{error}: what was asked for is not known"]
