"""Metrics other than accuracy and loss: functions of a model's logits and the labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_core.errors import UsageError, needs_extra
from stn_core.registry import Registry
from stn_core.session.metrics import PLAIN, SHARE, MetricInfo
from stn_core.training.evaluation import Evaluation

Function = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class _Entry:
    function: Function
    info: MetricInfo


_METRICS: Registry[_Entry] = Registry("metric")


def register_metric(
    *, higher_is_better: bool = True, floor: float = 0.003, scale: str = SHARE
) -> Callable[[Function], Function]:
    """Register a metric under its function's name, for ``--gate-metrics``; a decorator.

    The function takes logits ``(N, K)`` float32 and labels ``(N,)`` int64, both on the CPU, and
    returns a finite number::

        @register_metric(floor=0.01)
        def top_2_accuracy(logits, labels):
            return float((logits.topk(2).indices == labels[:, None]).any(1).float().mean())

    Args:
        higher_is_better, floor, scale: see `stn_core.session.metrics.MetricInfo`.

    Raises:
        UsageError: the name is taken, or an argument makes no sense.
    """

    def register(function: Function) -> Function:
        info = MetricInfo(function.__name__, higher_is_better, floor, scale)
        _METRICS.add(info.name, _Entry(function, info))
        return function

    return register


def list_metrics() -> list[str]:
    """The names of the registered metrics."""
    return _METRICS.names()


def metric_info(name: str) -> MetricInfo:
    """How the values of a metric are compared.

    Raises:
        UsageError: there is no such metric.
    """
    return _METRICS[name].info


def measure(names: Iterable[str], evaluation: Evaluation) -> dict[str, float]:
    """The values of some metrics.

    Raises:
        UsageError: there is no such metric, or its value is not finite.
    """
    values = {}
    for name in names:
        value = float(_METRICS[name].function(evaluation.logits, evaluation.labels))
        if not math.isfinite(value):
            raise UsageError(f"the metric {name} is {value}, not a finite number")
        values[name] = value
    return values


def _recalls(logits: Tensor, labels: Tensor) -> Tensor:
    """The recall of each class that has images."""
    classes = logits.shape[1]
    counts = torch.bincount(labels, minlength=classes)
    right = torch.bincount(labels[logits.argmax(1) == labels], minlength=classes)
    return right[counts > 0].double() / counts[counts > 0]


@register_metric(floor=0.003)
def balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The mean recall over classes."""
    return float(_recalls(logits, labels).mean())


@register_metric(floor=0.01)
def worst_class_recall(logits: Tensor, labels: Tensor) -> float:
    """The lowest recall of any class."""
    return float(_recalls(logits, labels).min())


@register_metric(floor=0.002)
def macro_auc(logits: Tensor, labels: Tensor) -> float:
    """The area under the ROC curve of each class against the rest, averaged over classes.

    From ranks (Mann and Whitney 1947), with ties in the middle; classes without images are left
    out.
    """
    with needs_extra("data"):
        from scipy.stats import rankdata

    scores = logits.double().softmax(1).numpy()
    areas = []
    for label in labels.unique().tolist():
        own = (labels == label).numpy()
        count, others = int(own.sum()), int((~own).sum())
        if others:
            ranks = float(rankdata(scores[:, label])[own].sum())
            areas.append((ranks - count * (count + 1) / 2) / (count * others))
    return sum(areas) / len(areas) if areas else math.nan


@register_metric(higher_is_better=False, floor=0.01, scale=PLAIN)
def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """How far confidence is from accuracy on average, over 15 bins (Guo et al. 2017)."""
    bins = Evaluation(logits, labels).calibration()
    gaps = sum(each["count"] * abs(each["confidence"] - each["accuracy"]) for each in bins)
    return gaps / len(labels)
