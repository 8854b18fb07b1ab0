"""The JSON schemas of what a session writes, made from the classes that read it."""

from __future__ import annotations

import json

import msgspec

from stn_core.gate import CellBaseline
from stn_core.session.records import RunRecord
from stn_core.session.stored_judgements import StoredJudgement

CLASSES = {"records": RunRecord, "baselines": CellBaseline, "judgements": StoredJudgement}


def schema(name: str) -> str:
    """The schema of one of the files, as JSON text."""
    return json.dumps(msgspec.json.schema(CLASSES[name]), indent=2)
