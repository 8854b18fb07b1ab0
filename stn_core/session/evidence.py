"""Whole records that are kept in the repository: curves and times, which baselines do not hold."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

from stn_core.atomic_files import replaced_at_once
from stn_core.errors import UsageError, check_regular, is_missing, needs_extra
from stn_core.schema import parse_json
from stn_core.session.answers import Question
from stn_core.session.records import RunRecord

with needs_extra("suite"):
    from filelock import FileLock


_GZIP = b"\x1f\x8b"
"""What a compressed file begins with."""


def read_evidence(path: Path) -> list[RunRecord]:
    """The records of an evidence file, or of a session's own file; none if there is no file.

    Raises:
        UsageError: it cannot be read, or a line of it is no record.
    """
    if is_missing(path):
        return []
    check_regular(path)
    try:
        content = path.read_bytes()
        if not content:
            raise ValueError("it is empty")
        text = gzip.decompress(content) if content.startswith(_GZIP) else content
        lines = text.decode("utf-8").split("\n")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UsageError(f"{path} is not a file of records: {error}") from None
    return [_record(path, number, line) for number, line in enumerate(lines, start=1) if line]


def _record(path: Path, number: int, line: str) -> RunRecord:
    try:
        return RunRecord.from_dict(parse_json(line, ""))
    except UsageError as error:
        raise UsageError(f"{path}, line {number}: {error}") from None


def add_evidence(path: Path, records: Iterable[RunRecord]) -> None:
    """Put records into an evidence file; the newer one of a cell, seed and environment counts.

    Older records of a cell are dropped if they are of another recipe or other data than the new
    ones on the same type of device: only runs of one kind can be compared, and the sorted file does
    not say which seed's are newer.

    The file is sorted by cell and seed, so that a new record changes one line, and is replaced at
    once. Records of one seed from several environments stay in the order in which they were added:
    where only one of them counts, it is the last one.
    """
    with FileLock(path.with_name(f".{path.name}.lock")):
        read = [RunRecord.from_dict(json.loads(record.to_json())) for record in records]
        new = {_side(record): Question.answered_by(record) for record in read}
        kept: dict[tuple[str, int, str], RunRecord] = {}
        for record in [*read_evidence(path), *read]:
            if new.get(_side(record)) in (None, Question.answered_by(record)):
                # Removed first, or the new one would take the place of the old one.
                kept.pop(_place(record), None)
                kept[_place(record)] = record
        ordered = sorted(kept.values(), key=lambda record: (record.key, record.seed))
        text = "".join(f"{record.to_json()}\n" for record in ordered)
        with replaced_at_once(path) as unfinished:
            unfinished.write_bytes(gzip.compress(text.encode(), mtime=0))


def _side(record: RunRecord) -> tuple[str, str]:
    return record.key, record.environment.device_type


def _place(record: RunRecord) -> tuple[str, int, str]:
    return record.key, record.seed, record.environment.key()
