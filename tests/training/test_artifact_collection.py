"""What is kept of a trained model is what the model does, and keeping it changes nothing."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stn_core import RunSettings, create_model, create_warp, load_dataset, run_cell
from stn_core.datasets import Split
from stn_core.layers.spatial_transformer import WarpedImages
from stn_core.models.normaliser import Normaliser
from stn_core.session.artifacts import artifacts_path, read_artifacts
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.artifact_collection import (
    MOST_THETAS,
    collect_artifacts,
    finite_difference_determinant,
)
from stn_core.training.callbacks import KeepArtifacts, Run, SaveCheckpoints
from stn_core.training.evaluation import evaluate
from stn_core.training.film import MOST_FRAMES, Film
from stn_core.training.history import History
from stn_core.training.run_cell import run_seed
from stn_core.training.warped_images import one_of_each_class
from tests.examples import record
from tests.strategies import thetas
from tests.watching import OnEpoch

pytestmark = pytest.mark.usefixtures("few_digits")
CELL = Cell("stn", "few_digits", "smoke", Recipe(epochs=2, batch_size=100))


def run(cell, tmp_path, *callbacks):
    """A record of seed 3, and the arrays that were kept of it."""
    (record,) = run_cell(cell, [3], callbacks=[KeepArtifacts(str(tmp_path)), *callbacks])
    return record, read_artifacts(artifacts_path(tmp_path, record.run_name))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return run(CELL, tmp_path_factory.mktemp("artifacts"))


def test_keeping_pictures_changes_no_number(kept):
    (without,) = run_cell(CELL, [3])
    assert kept[0].digest == without.digest


def test_the_pictures_of_mistakes_are_those_of_the_record(kept):
    record, artifacts = kept
    test = load_dataset(CELL.dataset).test
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
    run = run_of("stn")
    run.history = History(kept_epoch=1)
    film = Film(run)
    film.take(0)
    other = film.frames[0].flip(-1)
    warps = collect_artifacts(run, {0: other, 1: other, 2: other}).warps
    assert warps.film_epochs.tolist() == [0, 1, 2, 1]
    assert np.array_equal(warps.film[-1], warps.warped)


def run_of(name, epochs=2):
    """A run of an untrained model on the digits."""
    digits, cpu = load_dataset("digits"), torch.device("cpu")
    run = Run(record(recipe=Recipe(epochs=epochs).to_dict()), digits, cpu)
    run.model = create_model(name, digits.image_shape, 10)
    run.normalise = Normaliser.of(digits, cpu)
    return run


class Mirrors(nn.Module):
    """Shows images mirrored; its theta is the value of their first pixel, and so are its logits."""

    def transform(self, images):
        grid = torch.zeros(len(images), *images.shape[-2:], 2)
        return WarpedImages(images.flip(-1), grid, images[:, 0, 0, :1])

    def forward(self, images):
        return images[:, 0, 0, :1] * torch.tensor([1.0, -1.0])


def test_what_is_kept_of_a_warp_belongs_to_the_images_beside_it():
    """With more validation images than are kept, of which the labels are the first pixels."""
    drawn = np.random.default_rng(0)
    pixels = torch.from_numpy(drawn.integers(0, 256, (1203, 1, 4, 5), dtype=np.uint8))
    labels = torch.from_numpy(drawn.integers(0, 10, 1203))
    pixels[:, 0, 0, 0] = 20 * labels
    run = run_of("stn")
    both = Split(pixels, labels)
    run.dataset = dataclasses.replace(run.dataset, val=both, test=both)
    run.model = Mirrors()
    run.evaluation = evaluate(run.model, pixels, labels, run.normalise)
    film = Film(run)
    film.take(0)
    kept = collect_artifacts(run, film.frames)
    _, ranks = np.unique(kept.warps.theta, return_inverse=True)
    assert len(kept.warps.theta_labels) == MOST_THETAS
    assert np.array_equal(ranks.ravel(), kept.warps.theta_labels)
    mistakes = kept.mistakes
    assert not np.array_equal(mistakes.worst_images, mistakes.first_images)
    assert np.array_equal(mistakes.worst_warped, np.flip(mistakes.worst_images, -1))
    assert np.array_equal(mistakes.first_warped, np.flip(mistakes.first_images, -1))


def test_an_interrupted_training_keeps_its_film(kept, tmp_path):
    def interrupt(result, run):
        raise KeyboardInterrupt

    saving = SaveCheckpoints(str(tmp_path / "checkpoints"), seconds=0)
    with pytest.raises(KeyboardInterrupt):
        run(CELL, tmp_path, saving, OnEpoch(interrupt))
    _, resumed = run(CELL, tmp_path, saving)
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

    monkeypatch.setattr("stn_core.training.callbacks.artifacts.write_artifacts", refuse)
    result = run_seed(CELL, 3, RunSettings(), [KeepArtifacts(str(tmp_path))])
    assert result.record.status == "ok"
    assert "No space left" in result.notes[0]
    assert "No space left" in caplog.text


def test_a_model_may_have_another_kind_of_transform(caplog):
    run = run_of("cnn")
    run.model.transform = lambda images: images
    film = Film(run)
    for epoch in range(3):
        film.take(epoch)
    assert film.frames == {}
    (message,) = caplog.messages
    assert message.startswith("warps are not filmed: AttributeError")


def test_a_film_of_a_long_training_is_short_and_shows_both_ends():
    run = run_of("stn", epochs=57)
    film = Film(run)
    for epoch in range(58):
        film.take(epoch)
    taken = list(film.frames)
    assert len(taken) == MOST_FRAMES
    assert (taken[0], taken[-1]) == (0, 57)
    assert run.model.training  # as it was


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
