"""A claim of model a on model b, and runs that decide it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from stn_core.gate.baselines import Baselines
from stn_core.report.claims import read_claims
from stn_core.report.judged_claims import judge_claims
from stn_core.report.stored_cells import stored_cells
from tests.examples import record

CLAIM = """
[[claim]]
id = "better"
source = "a paper"
sentence = "A is better."
trained = "smoke"
dataset = "digits"
metric = "accuracy"
model = "a"
than = ["b"]
expected = "higher"
"""


def claims_of(tmp_path: Path, text: str = CLAIM):
    path = tmp_path / "claims.toml"
    path.write_text(text)
    return read_claims(path)


def runs(model: str, accuracies: list[float], **changes):
    return [
        dataclasses.replace(
            record(seed=seed), model=model, dataset="digits", test_accuracy=accuracy, **changes
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def judged(tmp_path: Path, records, text: str = CLAIM):
    stored = stored_cells(Baselines({}, {}), records)
    return judge_claims(claims_of(tmp_path, text).claims, stored)


HIGH = [0.97, 0.971, 0.972, 0.969, 0.97]
MIDDLE = [0.95, 0.951, 0.952, 0.949, 0.95]
LOW = [0.90, 0.901, 0.902, 0.899, 0.90]

EPOCHS = CLAIM.replace('"accuracy"', '"epochs"\ntarget = 90.0').replace('"higher"', '"lower"')
NEVER, SOON = (0.5, 0.6, 0.7, 0.8), (0.8, 0.91, 0.95, 0.95)


def with_curve(model: str, *accuracies: float):
    """Five runs of four epochs that all had these validation accuracies."""
    curve = [
        {"epoch": epoch, "train_loss": 1.0, "loss": 1.0, "accuracy": accuracy}
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]
    return runs(
        model, HIGH, validation=curve, kept_epoch=2, recipe={**record().recipe, "epochs": 4}
    )
