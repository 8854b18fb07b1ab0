"""The names of what a session leaves: in its results folder, and beside the baselines."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from stn_core.errors import printable

PLAN_FILE = "session.json"
RECORDS_FILE = "records.jsonl"
REFERENCE_FILE = "reference.jsonl"
"""Records of the commit that a session compares with."""
LOCK_FILE = "session.lock"
BEATS_FOLDER = "running"
CHECKPOINTS_FOLDER = "checkpoints"
ARTIFACTS_FOLDER = "artifacts"
TENSORBOARD_FOLDER = "tensorboard"
JUDGEMENTS_FILE = "judgements.json"
REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.html"
HISTORY_FILE = "history.html"
FIGURES_FOLDER = "figures"
MODELS_FOLDER = "models"
EMPTY_SHARD_FILE = "shard.empty"
EVIDENCE_FILE = "evidence.jsonl.gz"
"""Whole records that claims are judged by, beside the baselines."""


MOST_BYTES = 200
"""Of a name without its ending: file systems take 255, and an ending or two come to it."""

_UNFIT = re.compile(r'[/\\\\:*?"<>|]')


def file_stem(*parts: str) -> str:
    """The name of a file, without its suffix, made of several parts.

    The parts are joined by dashes. If a part contains a dash, so that other parts could give the
    same name, or if the result is not valid as a file name, a hash of the parts is added: different
    parts never share a file.

    Args:
        parts: dataset, model and seed of a run, say; any texts.
    """
    name = "-".join(parts)
    return name if _fits(name) and not any("-" in part for part in parts) else _hashed(name, parts)


def safe_stem(name: str) -> str:
    """A name for a file, without its ending: the name itself, or one with a hash if it is unusable.

    Args:
        name: any text.
    """
    return name if _fits(name) else _hashed(name, (name,))


def _fits(name: str) -> bool:
    is_clean = printable(name) == name and not _UNFIT.search(name)
    return is_clean and 0 < len(name.encode()) < MOST_BYTES


def _hashed(name: str, parts: tuple[str, ...]) -> str:
    code = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    readable = _UNFIT.sub("_", printable(name)).encode()[: MOST_BYTES - len(code) - 2]
    return f"{readable.decode(errors='ignore')}-{code}"


def lock_of(baselines: Path) -> Path:
    """The lock of a baselines file: beside it, since any results folder may be used with it."""
    return baselines.with_name(f".{baselines.name}.lock")
