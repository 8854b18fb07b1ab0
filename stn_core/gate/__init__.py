"""The gate: records against stored baselines. Plain data in, verdicts out, torch never imported."""

from stn_core.gate.baselines import BaselineRun, Baselines, CellBaseline, read_baselines
from stn_core.gate.verdict import Judgement, Verdict, judge_cell

__all__ = [
    "BaselineRun",
    "Baselines",
    "CellBaseline",
    "Judgement",
    "Verdict",
    "judge_cell",
    "read_baselines",
]
