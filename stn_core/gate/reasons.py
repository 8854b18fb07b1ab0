"""A verdict in words: what changed, how certain that is, and what to do about it."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stn_core.gate.baselines import CellBaseline, baseline_run
from stn_core.gate.judgement import Judgement
from stn_core.gate.metrics import AnyMetric, Metric
from stn_core.gate.sequential import Decision, Outcome
from stn_core.session.budgets import get_budget
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord

_ACCEPT = "measure it again with --update-baselines"

SUSPICIOUS_SHARE = 0.5
"""A change that leaves less than this share of the errors is more likely a leak than a success."""


def reasons(judgement: Judgement, decisions: Mapping[AnyMetric, Decision]) -> str:
    """The change in each metric, and the evidence."""
    sentences = []
    for metric, decision in decisions.items():
        chance = min(decision.p_value, 1 - decision.p_value)
        plural = "s" * (decision.looked_at != 1)
        evidence = f"p = {max(chance, 1e-99):.0e}, {decision.looked_at} seed{plural}"
        if decision.outcome is Outcome.ROSE and judgement.baseline:
            stored = judgement.baseline.runs
            where = metric.baseline_in_words(stored, decision.stored_mean, decision.limit)
            evidence += f"; {where}"
        sentences.append(f"{_change(metric, decision, judgement)} ({evidence})")
    return ", ".join(sentences)


def _change(metric: AnyMetric, decision: Decision, judgement: Judgement) -> str:
    if metric is Metric.ACCURACY:
        return metric.in_words(-(_until(decision, judgement).difference_points or 0.0))
    return metric.in_words(decision.rise)


def _until(decision: Decision, judgement: Judgement) -> Judgement:
    """A judgement with the runs that a metric was decided by; another may have needed more."""
    count, baseline = decision.looked_at, judgement.baseline
    if baseline and not baseline.is_stored:
        baseline = replace(baseline, runs=baseline.runs[:count])
    return replace(judgement, records=judgement.records[:count], baseline=baseline)


def advice(cell: Cell, judgement: Judgement, better: Mapping[AnyMetric, Decision]) -> str:
    """What to do about an improvement."""
    assert judgement.baseline
    accuracy = better.get(Metric.ACCURACY)
    doubt = ""
    if accuracy and math.exp(accuracy.rise) <= SUSPICIOUS_SHARE:
        doubt = "suspiciously large: look for a leak of test images first; "
    stored = [run.seed for run in judgement.baseline.runs]
    # Seeds that were not judged yet: those that led to the verdict are biased in its favour.
    looked_at = stored + [record.seed for record in judgement.records]
    first = 100 * (1 + max(looked_at) // 100)
    last = first - 1 + max(len(stored), get_budget(cell.budget).baseline_seeds)
    is_plain = re.fullmatch(r"[\w.:-]+", cell.id)  # what -k takes for one name
    select = f"-k '{cell.id}]'" if is_plain else f"--model {shlex.quote(cell.model)}"
    return (
        f"{doubt}accept with fresh seeds: pytest benchmarks --budget {shlex.quote(cell.budget)}"
        f" --dataset {shlex.quote(cell.dataset)} {select} --seeds {first}-{last} --update-baselines"
    )


def not_judged(
    metrics: Sequence[AnyMetric], baseline: CellBaseline, records: Sequence[RunRecord]
) -> str:
    """Which metrics could not fail a cell, and why; "" if all could."""
    stored = baseline.runs
    runs = [baseline_run(record) for record in records]
    without = [m.value for m in metrics if not m.is_known(stored)]
    lost = [m for m in metrics if m.is_known(stored) and not m.is_known(runs)]
    partly = [m.value for m in lost if any(m.is_known([run]) for run in runs)]
    wholly = [m.value for m in lost if m.value not in partly]
    lacks = "no stored values" if baseline.is_stored else "the other commit has no values"
    parts = [f"{', '.join(without)}: {lacks}"] if without else []
    parts += [f"{', '.join(wholly)}: these runs have no values"] if wholly else []
    parts += [f"{', '.join(partly)}: some of these runs have no value"] if partly else []
    return f"not judged by {', nor by '.join(parts)}" if parts else ""


def stale_reason(cell: Cell, data_hash: str, baseline: CellBaseline | None) -> str:
    """Why the baseline does not apply, "" if it does."""
    if baseline and baseline.recipe_hash != cell.recipe.hash():
        return f"the recipe has changed since the baseline; {_ACCEPT}"
    if baseline and data_hash and baseline.data_hash != data_hash:
        return f"the data have changed since the baseline; {_ACCEPT}"
    return ""
