"""Changes to the baselines file by a session: cells measured again, or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from stn_core.atomic_files import remove_unfinished
from stn_core.errors import UsageError, is_missing, needs_extra
from stn_core.gate.baselines import (
    Baselines,
    baseline_of,
    read_baselines,
    write_baselines,
)
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.session.file_names import lock_of

with needs_extra("suite"):
    from filelock import FileLock


def update_baselines(path: Path, judgements: Sequence[Judgement], *, existed: bool = False) -> str:
    """Write the cells whose runs all succeeded to the baselines file, and report it in one line.

    All other cells stay. The file is read again, because another session may have written to it.

    Args:
        path: the file.
        judgements: of a session that was judged without baselines, so that a good cell is NEW.
        existed: the file was there when the session began; a new one would lack its other cells.

    Raises:
        UsageError: a run cannot be part of a baseline, or the file is gone; nothing is written.
    """
    good = [judgement for judgement in judgements if judgement.verdict is Verdict.NEW]
    measured = {judgement.key: baseline_of(judgement.records) for judgement in good}
    records = [record for judgement in good for record in judgement.records]
    with FileLock(lock_of(path)):
        remove_unfinished(path)
        if existed and is_missing(path):
            raise UsageError(f"{path} was removed while the session was running")
        stored = Baselines({}, {}) if is_missing(path) else read_baselines(path)
        updated = stored.updated(measured, records)
        write_baselines(path, updated)
    line = f"{len(measured)} of {len(judgements)} cells written to {path}"
    lost = [text for key in sorted(measured) if (text := _metrics_lost(key, stored, updated))]
    if lost:
        line += f"; no longer stored, because no run measured them: {', '.join(lost)}"
    return line


def _metrics_lost(key: str, before: Baselines, after: Baselines) -> str:
    """The metrics whose values a cell had before and has no longer: "invariance of smoke/…"."""
    if key not in before.cells:
        return ""
    lost = sorted(before.cells[key].metrics - after.cells[key].metrics)
    return f"{' and '.join(lost)} of {key}" if lost else ""


def drop_baselines(path: Path, keys: Iterable[str]) -> str:
    """Remove cells from the baselines file, and report it in one line."""
    gone = sorted(keys)
    if not gone:
        return f"nothing to drop from {path}"
    with FileLock(lock_of(path)):
        remove_unfinished(path)
        write_baselines(path, read_baselines(path).without(gone))
    return f"dropped from {path}: {', '.join(gone)}"
