"""Metrics other than accuracy and loss.

Most are functions of a model's logits and the labels. Some look at the model itself: what it makes
of changed images shows whether it is invariant, whatever its accuracy.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from stn_core.datasets import Split
from stn_core.errors import UsageError, needs_extra
from stn_core.registry import Registry
from stn_core.session.metrics import PLAIN, SHARE, MetricInfo
from stn_core.training.evaluation import Evaluation
from stn_core.training.random_state import generators_kept
from stn_core.training.robustness import CHANGES, Robustness, robustness


@dataclass(eq=False)
class TrainedModel:
    """A model after its training, and the images that it is measured on.

    A metric gets the model in evaluation mode. What it changes of the mode, of the weights and of
    the images is put back before the next one.

    Args:
        model: images ``(B, C, H, W)`` to logits ``(B, K)``.
        split: the images, on the model's device.
        normalise: uint8 images to what the model sees.
        background: what lies outside of an image, per channel, in 0 to 255.
    """

    model: nn.Module
    split: Split
    normalise: Callable[[Tensor], Tensor]
    background: tuple[float, ...]

    @functools.cached_property
    def on_changed_images(self) -> tuple[Robustness, ...]:
        """What it makes of images that are turned, scaled, shifted and sheared, measured once."""
        found = robustness(self.model, self.split, self.normalise, self.background, CHANGES)
        return tuple(found)

    @contextlib.contextmanager
    def lent_to(self, metric: str) -> Iterator[None]:
        """Evaluation mode, and afterwards the modes and values that were there before.

        Args:
            metric: its name, for an error.

        Raises:
            UsageError: the model has other parts now, so that values cannot be put back.
        """
        model, split = self.model, self.split
        modes = [(module, module.training) for module in model.modules()]
        buffers = [
            (module, name, buffer)
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]
        tensors = [*model.parameters(), *model.buffers(), split.images, split.labels]
        values = [(tensor, tensor.detach().clone()) for tensor in tensors]
        layout = _layout(model)
        model.eval()
        try:
            yield
        finally:
            is_whole = _layout(model) == layout
            if is_whole:
                for module, was_training in modes:
                    module.training = was_training
                for module, name, buffer in buffers:
                    setattr(module, name, buffer)
                _put_back(values)
        if not is_whole:
            raise UsageError(
                f"the metric {metric} replaced parts of the model: let it work on a copy,"
                " copy.deepcopy(trained.model)"
            )


def _layout(model: nn.Module) -> list[tuple[Any, ...]]:
    """Which modules and parameters a model has, and how each parameter is stored."""
    parameters = [(id(one), one.dtype, one.device, one.shape) for one in model.parameters()]
    return [*((id(module),) for module in model.modules()), *parameters]


@torch.no_grad()
def _put_back(values: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Give tensors the values that they had, where they have others."""
    for tensor, value in values:
        if not torch.equal(tensor, value):
            tensor.copy_(value)


Function = TypeVar("Function", bound=Callable[..., float | None])


@dataclass(frozen=True)
class _Entry:
    function: Callable[..., float | None]
    info: MetricInfo
    of_model: bool


_METRICS: Registry[_Entry] = Registry("metric")


def register_metric(
    *,
    higher_is_better: bool = True,
    floor: float = 0.003,
    scale: str = SHARE,
    of_model: bool = False,
) -> Callable[[Function], Function]:
    """Register a metric under its function's name, for ``--gate-metrics``; a decorator.

    The function takes logits ``(N, K)`` float32 and labels ``(N,)`` int64, both on the CPU, and
    returns a finite number, or None if these labels have no such value::

        @register_metric(floor=0.01)
        def top_2_accuracy(logits, labels):
            return float((logits.topk(2).indices == labels[:, None]).any(1).float().mean())

    Args:
        higher_is_better, floor, scale: see `stn_core.session.metrics.MetricInfo`.
        of_model: the function takes a `TrainedModel` instead; None then says that this model has no
            such value.

    Raises:
        UsageError: the name is taken, or an argument makes no sense.
    """

    def register(function: Function) -> Function:
        info = MetricInfo(function.__name__, higher_is_better, floor, scale)
        _METRICS.add(info.name, _Entry(function, info, of_model))
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


def measure(
    names: Iterable[str], evaluation: Evaluation, trained: TrainedModel
) -> dict[str, float]:
    """The values of some metrics, without those that the model has no value of.

    Args:
        names: of registered metrics.
        evaluation: of the model on the images.
        trained: the model and the images.

    Raises:
        UsageError: there is no such metric, it fails, or its value is not finite or not a share.
    """
    values = {}
    for name in names:
        entry = _METRICS[name]
        found = _value(name, entry, evaluation, trained)
        if found is None:
            continue
        value = float(found)
        if not math.isfinite(value):
            raise UsageError(f"the metric {name} is {value}, not a finite number")
        entry.info.check(value)
        values[name] = value
    return values


def _value(name: str, entry: _Entry, evaluation: Evaluation, trained: TrainedModel) -> float | None:
    """What a metric's function returns; what it writes into is a copy, or put back afterwards."""
    try:
        if entry.of_model:
            with trained.lent_to(name), generators_kept(trained.split.images.device):
                return entry.function(trained)
        return entry.function(evaluation.logits.clone(), evaluation.labels.clone())
    except UsageError:
        raise
    except Exception as error:  # a metric may be a user's own
        raise UsageError(f"the metric {name} failed: {type(error).__name__}: {error}") from error


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
def macro_auc(logits: Tensor, labels: Tensor) -> float | None:
    """The area under the ROC curve of each class against the rest, averaged over classes.

    From ranks (Mann and Whitney 1947), with ties in the middle; classes without images are left
    out. None if all images are of one class.
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
    return sum(areas) / len(areas) if areas else None


@register_metric(higher_is_better=False, floor=0.01, scale=PLAIN)
def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """How far confidence is from accuracy on average, over 15 bins (Guo et al. 2017)."""
    bins = Evaluation(logits, labels).calibration()
    gaps = sum(each["count"] * abs(each["confidence"] - each["accuracy"]) for each in bins)
    return gaps / len(labels)


@register_metric(floor=0.01, of_model=True)
def invariance(trained: TrainedModel) -> float | None:
    """How often a prediction stays the same as its image is turned, scaled, shifted and sheared.

    The area under the curve over the amounts of a change, as a share; the mean over the changes.
    """
    return _area([(one.change, one.amount, one.consistency) for one in trained.on_changed_images])


@register_metric(higher_is_better=False, floor=0.1, scale=PLAIN, of_model=True)
def misplaced_pixels(trained: TrainedModel) -> float | None:
    """How far the warp of such images is from one that follows the change, in pixels.

    Averaged as `invariance` is; None for a model that warps nothing, or means something else by
    `transform`.
    """
    found = trained.on_changed_images
    return _area([(o.change, o.amount, o.misplaced) for o in found if o.misplaced is not None])


def _area(points: Iterable[tuple[str, float, float]]) -> float | None:
    """The mean height of the curves of several changes, None if there is no point.

    Args:
        points: change, amount and value.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for change, amount, value in points:
        curves.setdefault(change, []).append((amount, value))
    heights = []
    for curve in curves.values():
        amounts, values = zip(*sorted(curve), strict=True)
        heights.append(np.trapezoid(values, amounts) / (amounts[-1] - amounts[0]))
    return float(np.mean(heights)) if heights else None
