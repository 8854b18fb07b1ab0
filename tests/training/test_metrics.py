"""Metrics of logits and labels, against scikit-learn's."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stn_core.datasets import Split
from stn_core.errors import UsageError
from stn_core.models.saved_models import read_saved_model
from stn_core.session.artifacts import artifacts_path
from stn_core.session.cells import Cell
from stn_core.session.metrics import MetricInfo
from stn_core.session.recipe import Recipe
from stn_core.session.records import RunRecord
from stn_core.session.store import model_path
from stn_core.training import metrics as module
from stn_core.training import run_cell as running
from stn_core.training.callbacks import KeepArtifacts, SaveModels
from stn_core.training.evaluation import Evaluation
from stn_core.training.metrics import (
    TrainedModel,
    list_metrics,
    metric_info,
    register_metric,
)
from stn_core.training.robustness import CHANGES, Robustness, robustness
from stn_core.training.run_cell import RunSettings, run_cell

pytestmark = pytest.mark.usefixtures("few_digits")
IMAGE = Split(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(1, dtype=torch.long))
NOBODY = TrainedModel(nn.Identity(), IMAGE, nn.Identity(), (0.0,))


ONE_EPOCH = Cell("cnn", "few_digits", "smoke", Recipe(epochs=1))


def measure(names, found, trained=NOBODY):
    return module.measure(names, found, trained)


def evaluation(seed, classes=4, images=60):
    drawn = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=drawn)
    labels[:classes] = torch.arange(classes)
    # Rounded, so that scores tie.
    return Evaluation(torch.randn((images, classes), generator=drawn).round(decimals=1), labels)


@given(st.integers(0, 2**32 - 1))
def test_recalls_and_areas_are_those_of_scikit_learn(seed):
    found = evaluation(seed)
    values = measure(["balanced_accuracy", "worst_class_recall", "macro_auc"], found)
    labels, predicted = found.labels.numpy(), found.predictions.numpy()
    recalls = sklearn.metrics.recall_score(labels, predicted, average=None)
    assert values["worst_class_recall"] == pytest.approx(recalls.min())
    assert values["balanced_accuracy"] == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, predicted)
    )
    chances = found.logits.double().softmax(1).numpy()
    areas = [
        sklearn.metrics.roc_auc_score(labels == label, chances[:, label]) for label in range(4)
    ]
    assert values["macro_auc"] == pytest.approx(np.mean(areas))


def test_a_class_without_images_says_nothing():
    found = Evaluation(torch.eye(3)[[0, 1, 1]], torch.tensor([0, 1, 1]))
    assert measure(["balanced_accuracy", "macro_auc"], found) == {
        "balanced_accuracy": 1.0,
        "macro_auc": 1.0,
    }


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    certain = Evaluation(torch.tensor([[50.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
    assert measure(["calibration_error"], certain)["calibration_error"] == pytest.approx(0.25)
    even = Evaluation(torch.zeros((4, 2)), torch.tensor([0, 0, 1, 1]))
    assert measure(["calibration_error"], even)["calibration_error"] == pytest.approx(0.0)


def test_the_default_measures_nothing_more_and_what_is_asked_for_is_kept():
    cell = Cell("cnn", "few_digits", "smoke", Recipe(epochs=1))
    (usual,) = run_cell(cell, [0])
    (asked,) = run_cell(cell, [0], RunSettings(metrics=("macro_auc",)))
    assert usual.digest == asked.digest
    assert "metrics" not in json.loads(usual.to_json())
    assert list(asked.metrics) == ["macro_auc"]
    assert RunRecord.from_dict(json.loads(asked.to_json())) == asked


INVARIANCE = ("invariance", "misplaced_pixels")


def test_invariance_is_the_mean_height_of_the_curves_over_the_changes(monkeypatch):
    found = [
        Robustness("rotation", "degrees", 0, 0.9, 1.0, 0.0),
        Robustness("rotation", "degrees", 10, 0.9, 0.6, 2.0),
        Robustness("rotation", "degrees", 40, 0.9, 0.2, 2.0),
        Robustness("translation", "pixels", 0, 0.9, 1.0, 0.0),
        Robustness("translation", "pixels", 4, 0.9, 0.5, 3.0),
    ]
    monkeypatch.setattr(module, "robustness", lambda *_: found)
    values = measure(INVARIANCE, evaluation(0))
    turned = (10 * (1.0 + 0.6) / 2 + 30 * (0.6 + 0.2) / 2) / 40
    assert values["invariance"] == pytest.approx((turned + 0.75) / 2)
    assert values["misplaced_pixels"] == pytest.approx(((10 * 1.0 + 30 * 2.0) / 40 + 1.5) / 2)


@pytest.mark.parametrize(("model", "has"), [("cnn", INVARIANCE[:1]), ("stn", INVARIANCE)])
def test_metrics_on_changed_images_are_recorded_and_leave_the_digest_as_it_is(
    monkeypatch, model, has
):
    calls = []

    def few_changes(*arguments):
        calls.append(arguments)
        shift = dataclasses.replace(CHANGES[2], amounts=(0, 4))
        return robustness(*arguments[:-1], [shift])

    monkeypatch.setattr(module, "robustness", few_changes)
    cell = Cell(model, "few_digits", "smoke", Recipe(epochs=1))
    (usual,) = run_cell(cell, [0])
    (asked,) = run_cell(cell, [0], RunSettings(metrics=INVARIANCE))
    assert usual.digest == asked.digest
    assert tuple(asked.metrics) == has
    assert 0.1 < asked.metrics["invariance"] < 1.0
    assert len(calls) == 1  # for both metrics
    if "misplaced_pixels" in has:  # an STN of one epoch follows little of a shift by 4 pixels
        assert 0.5 < asked.metrics["misplaced_pixels"] < 3.0


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (float("nan"), "the metric nothing is nan, not a finite number"),
        (2.5, "the metric nothing is 2.5, not a share from 0 to 1; register it with scale='plain'"),
    ],
)
def test_a_metric_that_is_not_on_its_scale_crashes_the_run_in_one_line(value, complaint):
    @register_metric(floor=0.01)
    def nothing(logits, labels):
        return value

    (crashed,) = run_cell(ONE_EPOCH, [0], RunSettings(metrics=("nothing",)))
    assert crashed.status == "crashed"
    assert complaint in crashed.message
    with pytest.raises(UsageError, match="nothing"):
        register_metric()(nothing)


def test_a_metric_that_fails_costs_neither_the_results_nor_the_model(tmp_path):
    @register_metric()
    def unlucky(logits, labels):
        raise IndexError("no such class")

    (usual,) = run_cell(ONE_EPOCH, [0])
    saving = [SaveModels(str(tmp_path)), KeepArtifacts(str(tmp_path))]
    (crashed,) = run_cell(ONE_EPOCH, [0], RunSettings(metrics=("unlucky",)), callbacks=saving)
    assert crashed.status == "crashed"
    assert crashed.message == "the metric unlucky failed: IndexError: no such class"
    for name in ("validation", "test_accuracy", "test_cross_entropy", "confusion", "kept_epoch"):
        assert getattr(crashed, name) == getattr(usual, name)
    assert RunRecord.from_dict(json.loads(crashed.to_json())) == crashed
    saved = read_saved_model(model_path(tmp_path, crashed.run_name))
    assert saved.configuration.test_accuracy == usual.test_accuracy
    assert artifacts_path(tmp_path, crashed.run_name).exists()


def test_the_time_that_metrics_take_counts_as_evaluation(monkeypatch):
    """Otherwise a session with a time limit starts runs that do not end in time."""
    clock = [0.0]

    @register_metric(scale="plain")
    def slow(logits, labels):
        clock[0] += 100.0
        return 0.0

    monkeypatch.setattr(running, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    (found,) = run_cell(ONE_EPOCH, [0], RunSettings(metrics=("slow",)))
    assert found.evaluate_seconds == 100.0


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (("macro_auk",), "unknown metric 'macro_auk'; did you mean macro_auc"),
        (("macro_auc", 3), "a metric is one of .*; not 3"),
        ("macro_auc", r"metrics are a tuple of names, such as \('macro_auc',\)"),
    ],
)
def test_metrics_that_do_not_exist_are_reported_before_the_training(monkeypatch, metrics, said):
    monkeypatch.setattr(running, "train", lambda *_: pytest.fail("was trained"))
    with pytest.raises(UsageError, match=said):
        run_cell(ONE_EPOCH, [0], RunSettings(metrics=metrics))


def test_a_metric_that_writes_into_its_arguments_changes_nothing_else():
    @register_metric(scale="plain")
    def careless(logits, labels):
        logits.zero_()
        labels.zero_()
        return 0.0

    found = evaluation(0)
    expected = measure(["macro_auc", "calibration_error"], evaluation(0))
    values = measure(["careless", "macro_auc", "calibration_error"], found)
    assert values == {"careless": 0.0, **expected}
    assert torch.equal(found.logits, evaluation(0).logits)
    assert torch.equal(found.labels, evaluation(0).labels)


def network_with_statistics():
    """A model with weights, buffers and dropout, in the mode that training leaves it in."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).train()


def trained_for_metrics():
    drawn = torch.randint(256, (6, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    split = Split(drawn.to(torch.uint8), torch.zeros(6, dtype=torch.long))
    return TrainedModel(network_with_statistics(), split, lambda images: images / 255, (0.0,))


def mean_logit(trained):
    with torch.no_grad():
        return float(trained.model(trained.normalise(trained.split.images)).mean())


def test_a_metric_of_the_model_changes_nothing_that_is_measured_after_it():
    @register_metric(scale="plain", of_model=True)
    def meddling(trained):
        trained.model.train()
        trained.model(trained.normalise(trained.split.images))
        with torch.no_grad():
            trained.model[3].weight.zero_()
        trained.split.images.zero_()
        torch.manual_seed(7)
        return 0.0

    register_metric(scale="plain", of_model=True)(mean_logit)
    trained, untouched = trained_for_metrics(), trained_for_metrics()
    untouched.model.eval()
    state = torch.get_rng_state()
    values = measure(["meddling", "mean_logit"], evaluation(0), trained)
    assert values["mean_logit"] == mean_logit(untouched) != 0.0
    assert trained.model.training
    assert trained.model[1].training
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(trained.split.images, untouched.split.images)
    for name, tensor in untouched.model.state_dict().items():
        assert torch.equal(trained.model.state_dict()[name], tensor), name


class Counting(nn.Module):
    """A model that puts a new tensor in place of its buffer at every batch."""

    def __init__(self):
        super().__init__()
        self.register_buffer("batches", torch.zeros(1))

    def forward(self, images):
        self.batches = torch.cat([self.batches, torch.ones(1)])
        return images.flatten(1)[:, :2]


def test_a_model_that_replaces_its_own_buffers_is_measured():
    register_metric(scale="plain", of_model=True)(mean_logit)
    trained = dataclasses.replace(trained_for_metrics(), model=Counting())
    assert measure(["mean_logit"], evaluation(0), trained)["mean_logit"] > 0
    assert torch.equal(trained.model.batches, torch.zeros(1))


def in_half_precision(trained):
    trained.model.half()


def without_dropout(trained):
    trained.model[2] = nn.Identity()


@pytest.mark.parametrize("replace", [in_half_precision, without_dropout])
def test_a_metric_that_replaces_parts_of_the_model_is_told_to_copy_it(replace):
    @register_metric(scale="plain", of_model=True)
    def rebuilding(trained):
        replace(trained)
        return 0.0

    said = r"the metric rebuilding replaced parts of the model: let it work on a copy, copy\."
    with pytest.raises(UsageError, match=said):
        measure(["rebuilding"], evaluation(0), trained_for_metrics())


def test_a_test_set_of_one_class_has_no_area_under_the_curve():
    found = Evaluation(torch.eye(3)[[0, 1, 1]], torch.tensor([1, 1, 1]))
    assert measure(["macro_auc", "worst_class_recall"], found) == {
        "worst_class_recall": pytest.approx(2 / 3)
    }


def test_unknown_metrics_and_odd_scales_are_refused_in_one_line():
    with pytest.raises(UsageError, match="unknown metric 'macro_auk'; did you mean macro_auc"):
        metric_info("macro_auk")
    for wrong in ({"floor": 0.0}, {"scale": "log"}, {"higher_is_better": False}, {"name": "a/b"}):
        with pytest.raises(UsageError):
            MetricInfo(**{"name": "mine", **wrong})
    assert {"balanced_accuracy", "calibration_error"} <= set(list_metrics())
