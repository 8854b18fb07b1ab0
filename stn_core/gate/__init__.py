"""The gate: records against stored baselines. Plain data in, verdicts out, torch never imported."""

from stn_core.gate.baselines import BaselineRun, Baselines, CellBaseline, read_baselines
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.gate.rules import Rules

__all__ = [
    "BaselineRun",
    "Baselines",
    "CellBaseline",
    "Judge",
    "Judgement",
    "Rules",
    "Verdict",
    "read_baselines",
]
