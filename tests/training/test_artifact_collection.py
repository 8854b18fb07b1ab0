"""What is kept of a trained model is what the model does, and keeping it changes nothing."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stn_core import RunSettings, create_model, create_warp, load_dataset, run_cell
from stn_core.models.normaliser import Normaliser
from stn_core.session.artifacts import artifacts_path, read_artifacts
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.artifact_collection import (
    MOST_FRAMES,
    collect_artifacts,
    film_of,
    finite_difference_determinant,
    one_of_each_class,
)
from stn_core.training.evaluation import Evaluation, evaluate
from stn_core.training.loop import Training
from tests.strategies import thetas

CELL = Cell("stn", "digits", "smoke", Recipe(epochs=2, batch_size=100))


def run(cell, tmp_path, **settings):
    """A record of seed 3, and the arrays that were kept of it."""
    (record,) = run_cell(cell, [3], RunSettings(artifacts=str(tmp_path), **settings))
    return record, read_artifacts(artifacts_path(tmp_path, record.run_name))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return run(CELL, tmp_path_factory.mktemp("artifacts"))


def test_keeping_pictures_changes_no_number(kept):
    (without,) = run_cell(CELL, [3])
    assert kept[0].digest == without.digest


def test_the_pictures_of_mistakes_are_those_of_the_record(kept):
    record, artifacts = kept
    test = load_dataset("digits").test
    worst = [int(mistake["index"]) for mistake in record.worst_mistakes]
    assert np.array_equal(artifacts.mistakes.worst_images, test.images[worst].numpy())
    first = artifacts.mistakes.first_mistakes[:, 0].astype(int)
    assert np.array_equal(artifacts.mistakes.first_images, test.images[first].numpy())
    assert np.array_equal(artifacts.mistakes.first_mistakes[:, 1], test.labels[first].numpy())
    assert sum(artifacts.mistakes.calibration[:, 0]) == len(test)


def test_the_film_ends_with_the_finished_warp_and_begins_without_one(kept):
    warps = kept[1].warps
    assert warps.film_epochs.tolist() == [0, 1, 2]
    assert np.array_equal(warps.film[-1], warps.warped)
    assert np.array_equal(warps.film[0], warps.batch)  # it starts at the identity
    assert not np.array_equal(warps.warped, warps.batch)


def test_the_film_of_a_training_that_went_back_ends_with_the_weights_that_were_kept():
    digits = load_dataset("digits")
    model = create_model("stn", digits.image_shape, 10)
    normalise = Normaliser.of(digits, torch.device("cpu"))
    film = film_of(model, digits, normalise, epochs=2)
    other = film(0).flip(-1)
    training = Training(kept_epoch=1, frames={0: other, 1: other, 2: other})
    warps = collect_artifacts(model, digits, normalise, training, None, "digest").warps
    assert warps.film_epochs.tolist() == [0, 1, 2, 1]
    assert np.array_equal(warps.film[-1], warps.warped)


def test_an_interrupted_training_keeps_its_film(kept, tmp_path):
    def interrupt(result, training):
        raise KeyboardInterrupt

    settings = {"checkpoints": str(tmp_path / "checkpoints"), "checkpoint_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        run_cell(CELL, [3], RunSettings(artifacts=str(tmp_path), **settings), on_epoch=interrupt)
    _, resumed = run(CELL, tmp_path, **settings)
    assert resumed.warps.film_epochs.tolist() == [0, 1, 2]
    assert np.array_equal(resumed.warps.film, kept[1].warps.film)


def test_a_search_shows_no_test_image(tmp_path):
    _, artifacts = run(dataclasses.replace(CELL, is_search=True), tmp_path)
    assert artifacts.mistakes is None
    assert artifacts.warps is not None


def test_a_model_without_a_transformer_shows_no_warp(tmp_path):
    _, artifacts = run(dataclasses.replace(CELL, model="cnn"), tmp_path)
    assert artifacts.warps is None
    assert artifacts.mistakes is not None


def test_a_full_disk_costs_the_pictures_and_not_the_run(tmp_path, monkeypatch, caplog):
    def refuse(path, artifacts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stn_core.training.run_cell.write_artifacts", refuse)
    (record,) = run_cell(CELL, [3], RunSettings(artifacts=str(tmp_path)))
    assert record.status == "ok"
    assert "No space left" in caplog.text


def test_a_model_may_mean_something_else_by_transform(caplog):
    digits = load_dataset("digits")
    model = create_model("cnn", digits.image_shape, 10)
    model.transform = lambda images: images
    assert film_of(model, digits, Normaliser.of(digits, torch.device("cpu")), epochs=3) is None
    assert "warps are not filmed: AttributeError" in caplog.text


def test_a_film_of_a_long_training_is_short_and_shows_both_ends():
    digits = load_dataset("digits")
    model = create_model("stn", digits.image_shape, 10).train()
    film = film_of(model, digits, Normaliser.of(digits, torch.device("cpu")), epochs=57)
    taken = [epoch for epoch in range(58) if film(epoch) is not None]
    assert len(taken) == MOST_FRAMES
    assert (taken[0], taken[-1]) == (0, 57)
    assert model.training  # as it was


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_the_batch_shows_each_class_before_any_class_twice(labels):
    chosen = one_of_each_class(torch.tensor(labels), count=6).tolist()
    shown = [labels[index] for index in chosen]
    assert len(chosen) == len(set(chosen)) == min(6, len(labels))
    classes = sorted(set(labels))
    assert shown[: len(classes)] == classes[:6]
    for label in classes[:6]:  # the first ones of each class, in their order
        places = [index for index in chosen if labels[index] == label]
        assert places == [i for i, other in enumerate(labels) if other == label][: len(places)]


@given(thetas(create_warp("affine")))
def test_the_area_of_an_affine_warp_is_that_of_its_matrix(theta):
    warp = create_warp("affine")
    det = finite_difference_determinant(warp.grid(theta, (5, 7)))
    matrix = theta.reshape(-1, 2, 3)[..., :2]
    expected = torch.linalg.det(matrix)[:, None, None].expand_as(det)
    torch.testing.assert_close(det, expected)  # differences of a linear map are exact but rounding


def test_calibration_counts_every_prediction_by_its_confidence():
    digits = load_dataset("digits")
    normalise = Normaliser.of(digits, torch.device("cpu"))
    model = create_model("cnn", digits.image_shape, 10)
    evaluation = evaluate(model, digits.val.images, digits.val.labels, normalise)
    bins = evaluation.calibration(bins=7)
    confidence, predicted = evaluation.logits.double().softmax(1).max(1)
    for entry in bins:
        place = int(entry["confidence"] * 7)
        inside = (confidence * 7).long().clamp(max=6) == place
        right = (predicted == evaluation.labels)[inside].double().mean()
        assert entry["count"] == inside.sum()
        assert entry["accuracy"] == pytest.approx(float(right))
    assert sum(entry["count"] for entry in bins) == len(digits.val)
    assert evaluation.accuracy == pytest.approx(
        sum(entry["count"] * entry["accuracy"] for entry in bins) / len(digits.val)
    )


def test_a_certain_prediction_falls_into_the_last_bin():
    evaluation = Evaluation(torch.tensor([[1e4, 0.0]]), torch.tensor([0]))
    assert evaluation.calibration() == [{"count": 1, "confidence": 1.0, "accuracy": 1.0}]
