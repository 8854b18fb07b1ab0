"""What lies in a session's folder: what was asked of it, the records it made or was given."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, fields
from pathlib import Path

from stn_core.errors import UsageError, printable
from stn_core.schema import checked, json_object, read_json
from stn_core.session.file_names import PLAN_FILE, RECORDS_FILE
from stn_core.session.records import RunRecord, read_records


@dataclass(frozen=True)
class Asked:
    """What a session was asked for, as far as a page says it; empty where nobody knows.

    Args:
        command: its command line.
        environment: the variables that stood for options.
        from_records: files of records that it was given.
        looks: after how many seeds a cell is looked at.
        baselines: the file that judged it.
    """

    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    from_records: list[str] = field(default_factory=list)
    looks: list[int] = field(default_factory=list)
    baselines: str = "baselines.json"

    @property
    def line(self) -> str:
        """The command line that repeats the session, "" where nobody knows."""
        if not self.command:
            return ""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        program = Path(self.command[0]).name
        start = ["python", "-m", "pytest"] if program == "__main__.py" else [program]
        return printable(" ".join([*variables, shlex.join([*start, *self.command[1:]])]))


def read_asked(folder: Path) -> tuple[Asked, list[str]]:
    """What a folder's session was asked for, and a sentence where that cannot be read."""
    path = folder / PLAN_FILE
    try:
        plan = json_object(read_json(path, is_text=False), f"{path}: ")
        options = json_object(plan.get("options", {}), f"{path}: options: ")
        said = {**options, **plan}
        values = {entry.name: said[entry.name] for entry in fields(Asked) if entry.name in said}
        return checked(Asked, values, f"{path}: "), []
    except UsageError as error:
        return Asked(), [f"{error}: what was asked for is not known"]


def record_files(folder: Path, asked: Asked) -> list[Path]:
    """The files of a session's records: its own, and those it was given."""
    return [folder / RECORDS_FILE, *map(Path, asked.from_records)]


def read_session_records(folder: Path, asked: Asked) -> tuple[list[RunRecord], list[str]]:
    """The records of a session in their order, and a sentence for whatever cannot be read.

    Args:
        folder: of the session.
        asked: what it was asked for; who was given records may have made none.

    Raises:
        UsageError: there is no record.
    """
    records: list[RunRecord] = []
    complaints: list[str] = []
    for file in record_files(folder, asked):
        if not file.exists():
            if file.parent != folder or not asked.from_records:
                complaints.append(f"there is no file {file}")
            continue
        try:
            found, torn = read_records(file)
        except OSError as error:
            complaints.append(f"cannot read {file}: {error.strerror}")
            continue
        records += found
        complaints += torn
    if not records:
        why = f": {complaints[0]}" if complaints else f": no {RECORDS_FILE} with a record in it"
        raise UsageError(f"{folder} holds no results{why}")
    return records, complaints
