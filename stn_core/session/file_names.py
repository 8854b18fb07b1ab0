"""The names of what a session leaves: in its results folder, and beside the baselines."""

from __future__ import annotations

from pathlib import Path

PLAN_FILE = "session.json"
RECORDS_FILE = "records.jsonl"
CHECKPOINTS_FOLDER = "checkpoints"
ARTIFACTS_FOLDER = "artifacts"
TENSORBOARD_FOLDER = "tensorboard"
JUDGEMENTS_FILE = "judgements.json"
REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.html"
FIGURES_FOLDER = "figures"
MODELS_FOLDER = "models"
EMPTY_SHARD_FILE = "shard.empty"


def lock_of(baselines: Path) -> Path:
    """The lock of a baselines file: beside it, since any results folder may be used with it."""
    return baselines.with_name(f".{baselines.name}.lock")
