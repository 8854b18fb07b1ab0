"""The contents of a session's folder: records, and the files that each run left.

To find what a run left, ask here with its record; to write it, get the folder from here. No other
room builds a path inside a session's folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stn_core.atomic_files import replaced_at_once
from stn_core.errors import UsageError, is_missing
from stn_core.session.artifacts import Artifacts, artifacts_path, read_artifacts
from stn_core.session.file_names import (
    ARTIFACTS_FOLDER,
    BEATS_FOLDER,
    CHECKPOINTS_FOLDER,
    MODELS_FOLDER,
    RECORDS_FILE,
    TENSORBOARD_FOLDER,
)
from stn_core.session.records import RecordsFollower, RunRecord, append_record, read_records

_NO_FILES: Mapping[str, bytes] = {}


@dataclass(frozen=True)
class SessionStore:
    """A session's folder.

    Args:
        folder: of the session.
        given: files of records that it was given (``--from-records``), with the files of their
            runs beside them.
    """

    folder: Path
    given: tuple[Path, ...] = ()

    @property
    def record_files(self) -> tuple[Path, ...]:
        """The files of the session's records: its own, then those it was given."""
        return (self.folder / RECORDS_FILE, *self.given)

    def keep(self, record: RunRecord, files: Mapping[str, bytes] = _NO_FILES) -> None:
        """Append a record; it is on the disk when this returns.

        Args:
            record: of a run that is over.
            files: what the run left on another machine, by their paths in the folder.

        Raises:
            OSError: the disk is full, say.
        """
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with replaced_at_once(path) as unfinished:
                unfinished.write_bytes(content)
        append_record(self.folder / RECORDS_FILE, record)

    def own_records(self) -> tuple[list[RunRecord], list[str]]:
        """The session's own records without details, and messages about unreadable lines."""
        return read_for_judging([self.folder / RECORDS_FILE])

    def whole_records(self) -> tuple[list[RunRecord], list[str]]:
        """The session's records in their order, and a message for whatever cannot be read.

        Raises:
            UsageError: there is no record.
        """
        records: list[RunRecord] = []
        complaints: list[str] = []
        for file in self.record_files:
            if is_missing(file):
                if file.parent != self.folder or not self.given:  # given ones may be all there are
                    complaints.append(f"there is no file {file}")
                continue
            try:
                found, torn = read_records(file)
            except UsageError as error:
                complaints.append(str(error))
                continue
            records += found
            complaints += torn
        if not records:
            why = f": {complaints[0]}" if complaints else f": no {RECORDS_FILE} with a record in it"
            raise UsageError(f"{self.folder} holds no results{why}")
        return records, complaints

    def artifacts(self, record: RunRecord) -> Artifacts:
        """The arrays that a run left; another run's arrays of the same name differ in their digest.

        Raises:
            UsageError: it left none, or they cannot be read.
        """
        reasons = []
        for file in self.record_files:
            path = artifacts_path(file.parent / ARTIFACTS_FOLDER, record.run_name)
            try:
                artifacts = read_artifacts(path)
            except UsageError as error:
                reasons.append(str(error))
                continue
            if artifacts.digest == record.digest:
                return artifacts
            reasons.append(f"{path} belongs to another run")
        raise UsageError("; ".join(reasons))

    def has_model(self, record: RunRecord) -> bool:
        """Whether a run left its model."""
        return model_path(self.models_folder, record.run_name).exists()

    @property
    def artifacts_folder(self) -> Path:
        """Where runs leave their arrays."""
        return self.folder / ARTIFACTS_FOLDER

    @property
    def models_folder(self) -> Path:
        """Where runs leave their models."""
        return self.folder / MODELS_FOLDER

    @property
    def checkpoints_folder(self) -> Path:
        """Where unfinished runs keep their state."""
        return self.folder / CHECKPOINTS_FOLDER

    @property
    def beats_folder(self) -> Path:
        """Where processes say how far their runs are."""
        return self.folder / BEATS_FOLDER

    def follow(self) -> RecordsFollower:
        """What reads the session's own records from now on, as they are kept."""
        return RecordsFollower(self.folder / RECORDS_FILE)

    @property
    def tensorboard_folder(self) -> Path:
        """Where TensorBoard finds the runs."""
        return self.folder / TENSORBOARD_FOLDER


def read_for_judging(files: Iterable[Path]) -> tuple[list[RunRecord], list[str]]:
    """The records of several files, in their order, and messages about lines that are not records.

    They are read without details: there may be tens of thousands.
    """
    records, complaints = [], []
    for file in files:
        found, torn = read_records(file, with_details=False)
        records += found
        complaints += torn
    return records, complaints


def model_path(folder: Path, run_name: str) -> Path:
    """The file of a run's model."""
    return folder / f"{run_name}.safetensors"
