"""A cell judged by the gate: its records against a stored baseline."""

import dataclasses

import numpy as np

from stn_core.gate.baselines import Baselines
from stn_core.gate.judge import Judge
from stn_core.gate.rules import Rules
from tests.examples import CELL, DATA_HASH, baseline, environment, record

STORED = baseline(list(np.linspace(0.94, 0.96, 20)))
RULES = Rules(seeds=tuple(range(10)), looks=(3, 6, 10), matrix_size=18)
THREE = Rules(seeds=(0, 1, 2), looks=(3,), matrix_size=18, are_named=True)


def judge(records, stored=STORED, cell=CELL, rules=THREE, data_hash=DATA_HASH, digests=None):
    """The answer of a session that judges one cell, whose baseline is `stored`."""
    cells = {CELL.key: stored} if stored else {}
    place = environment()
    baselines = Baselines(cells, {place.key(): place.place()})
    return Judge(rules, baselines, "smoke", "cpu", digests or {}).judge(cell, records, data_hash)


def runs(*accuracies, **changes):
    """Runs of the seeds from 0 on, with these accuracies."""
    return [record(seed, accuracy, **changes) for seed, accuracy in enumerate(accuracies)]


def with_digests(stored):
    """The baseline, with the digests that `runs` have."""
    same = tuple(dataclasses.replace(run, digest=f"digest-{run.seed}") for run in stored.runs)
    return dataclasses.replace(stored, runs=same)
