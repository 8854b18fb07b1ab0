"""Metrics against scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from torch import nn

from stn_core.training.evaluation import Evaluation, evaluate


@st.composite
def evaluations(draw):
    count, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    logits = 3 * torch.randn(count, classes, generator=generator)
    return Evaluation(logits, torch.randint(classes, (count,), generator=generator))


@given(evaluations())
def test_metrics_are_sklearns(evaluation):
    labels, classes = evaluation.labels.numpy(), np.arange(evaluation.logits.shape[1])
    predicted = evaluation.predictions.numpy()
    probabilities = evaluation.logits.double().softmax(1).numpy()
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert evaluation.cross_entropy == pytest.approx(
        metrics.log_loss(labels, probabilities, labels=classes)
    )
    expected = metrics.confusion_matrix(labels, predicted, labels=classes)
    assert evaluation.confusion() == expected.tolist()


@given(evaluations(), st.integers(1, 20))
def test_calibration_is_a_histogram_of_confidence(evaluation, bins):
    chances = evaluation.logits.double().softmax(1).numpy()
    confidence = chances.max(1)
    right = (chances.argmax(1) == evaluation.labels.numpy()).astype(float)
    counts, sums, hits = (
        np.histogram(confidence, bins, range=(0, 1), weights=weights)[0]
        for weights in (None, confidence, right)
    )
    there = counts > 0
    found = evaluation.calibration(bins)
    assert [entry["count"] for entry in found] == counts[there].tolist()
    for name, total in (("confidence", sums), ("accuracy", hits)):
        means = total[there] / counts[there]
        assert [entry[name] for entry in found] == pytest.approx(means.tolist())


def test_calibration_counts_every_prediction_by_its_confidence():
    """Confidences from 0.02 to 0.99, so that every bin has some, with a third of them right."""
    confidence = torch.linspace(0.02, 0.99, 98, dtype=torch.float64)
    others = ((1 - confidence) / 99)[:, None].expand(-1, 99)
    labels = torch.arange(98) % 3
    evaluation = Evaluation(torch.cat([confidence[:, None], others], dim=1).log(), labels)
    bins = evaluation.calibration(bins=7)
    assert len(bins) == 7
    for place, entry in enumerate(bins):
        inside = (place / 7 <= confidence) & (confidence < (place + 1) / 7)
        assert entry["count"] == inside.sum()
        assert entry["confidence"] == pytest.approx(float(confidence[inside].mean()))
        assert entry["accuracy"] == pytest.approx(float((labels == 0)[inside].double().mean()))
    assert sum(entry["count"] for entry in bins) == 98


def test_a_certain_prediction_falls_into_the_last_bin():
    evaluation = Evaluation(torch.tensor([[1e4, 0.0], [3.0, 0.0]]), torch.tensor([0, 1]))
    (entry,) = evaluation.calibration()
    assert (entry["count"], entry["accuracy"]) == (2, 0.5)
    assert entry["confidence"] == pytest.approx((1 + 1 / (1 + np.exp(-3))) / 2)


@pytest.mark.parametrize(("classes", "is_kept"), [(256, True), (257, False)])
def test_the_confusion_of_very_many_classes_is_not_kept(classes, is_kept):
    evaluation = Evaluation(torch.eye(3, classes), torch.tensor([0, 1, 0]))
    confusion = evaluation.confusion()
    assert (confusion is not None) is is_kept
    if confusion:
        assert len(confusion) == classes


@given(evaluations())
def test_the_worst_mistakes_are_wrong_and_in_order(evaluation):
    mistakes = evaluation.worst_mistakes(5)
    wrong = int((evaluation.predictions != evaluation.labels).sum())
    assert len(mistakes) == min(5, wrong)
    assert all(mistake["label"] != mistake["predicted"] for mistake in mistakes)
    confidences = [mistake["confidence"] for mistake in mistakes]
    assert confidences == sorted(confidences, reverse=True)


def test_evaluation_mode_for_the_pass_and_the_old_mode_after_it():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 3)).train()
    images = torch.randint(0, 256, (7, 1, 2, 3), dtype=torch.uint8)
    labels = torch.zeros(7, dtype=torch.int64)
    first = evaluate(model, images, labels, torch.Tensor.float)
    second = evaluate(model, images, labels, torch.Tensor.float)
    assert torch.equal(first.logits, second.logits)
    assert model.training
