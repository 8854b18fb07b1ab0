"""A model that loses its invariance, and nothing else, fails."""

import dataclasses

import pytest

from stn_core.gate.baselines import read_baselines
from stn_core.training import metrics
from stn_core.training.robustness import CHANGES, robustness
from tests.suite.sessions import exactly

pytest_plugins = ["pytester"]

MODELS = """
import os
import torch
from torch import nn
from stn_core.datasets import load_dataset
from stn_core.models import register_model
from stn_core.session.budgets import Budget, register_budget
from stn_core.session.recipe import Recipe

register_budget(Budget("brief", ("digits",), (3,), 8, Recipe(epochs=1, batch_size=64)))
DIGITS = load_dataset("digits")
SPLITS = (DIGITS.train, DIGITS.val, DIGITS.test)
KNOWN = torch.cat([split.images.long().sum((1, 2, 3)) for split in SPLITS])

class Forgetful(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        logits = self.network(images)
        if not os.path.exists("forgetful"):
            return logits
        pixels = 255 * (images * DIGITS.std[0] + DIGITS.mean[0])
        changed = ~torch.isin(pixels.double().sum((1, 2, 3)).round().long(), KNOWN)
        return torch.where(changed[:, None], logits.roll(1, dims=1), logits)

@register_model
def invariant(in_shape, num_classes):
    return Forgetful(nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, num_classes)))
"""


@pytest.fixture
def gate(bench, pytester, monkeypatch):
    """Run a session that judges the model's invariance, by one change in place of four."""
    turn = dataclasses.replace(CHANGES[0], amounts=(0, 15))
    monkeypatch.setattr(metrics, "robustness", lambda *given: robustness(*given[:-1], [turn]))
    pytester.makepyfile(my_models=MODELS)
    options = ["--budget", "brief", "-k", exactly("invariant")]
    return lambda *more: bench(*options, "--gate-metrics", "invariance", *more)


@pytest.mark.nightly
def test_lost_invariance_regresses_though_every_digest_is_the_same(gate, pytester):
    gate("--update-baselines").assert_outcomes(passed=1)
    kept = gate()
    kept.assert_outcomes(passed=1)
    assert "PASS (identical)" in kept.stdout.str()

    (pytester.path / "forgetful").touch()
    lost = gate()
    lost.assert_outcomes(failed=1)
    assert lost.ret == 1
    lost.stdout.re_match_lines([r".*REGRESSED.*invariance \d+ % further from 1 \(p = .*baseline"])
    without = gate("--gate-metrics", "macro_auc")
    without.assert_outcomes(passed=1)
    assert "PASS (identical)" in without.stdout.str()


def test_a_baseline_that_is_measured_again_keeps_its_metrics(bench, pytester):
    pytester.makepyfile(my_models=MODELS)
    update = ("--budget", "brief", "-k", exactly("invariant"), "--update-baselines")
    bench(*update, "--gate-metrics", "macro_auc").assert_outcomes(passed=1)
    bench(*update, "--seeds", "2").assert_outcomes(passed=1)
    (cell,) = read_baselines(pytester.path / "baselines.json").cells.values()
    assert len(cell.runs) == 2
    assert all(set(run.metrics) == {"macro_auc"} for run in cell.runs)
