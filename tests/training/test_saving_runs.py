"""The model that a run saves is the one that was measured; a run that failed saves none."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch

from stn_core.models import create_model
from stn_core.models.saved_models import read_saved_model
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.callbacks import Run, SaveModels
from stn_core.training.evaluation import evaluate
from stn_core.training.run_cell import RunSettings, cached_dataset, run_cell, run_seed
from tests.backgrounds import backgrounds_of
from tests.examples import record
from tests.liveness import assert_depends_on_its_input
from tests.training.test_run_cell import RECIPE, unchanging

pytestmark = pytest.mark.usefixtures("unruly_models", "few_digits")


LIVELY = Recipe(epochs=30, batch_size=100, schedule="constant", patience=1, min_delta=0.05)


def test_a_saved_model_is_the_one_that_was_measured(tmp_path):
    cell = Cell("stn", "digits", "smoke", LIVELY)
    keeping = SaveModels(str(tmp_path / "models"), imports=("my_models",))
    saving, plain = (
        unchanging(run_cell(cell, [4], callbacks=callbacks)[0]) for callbacks in ([keeping], [])
    )
    assert saving == plain
    assert saving.test_accuracy > 0.5
    assert saving.kept_epoch < len(saving.validation)  # these are not the last weights
    (path,) = (tmp_path / "models").iterdir()
    assert path.name == "digits-stn-4.safetensors"
    saved = read_saved_model(path)
    dataset = cached_dataset("digits", None, False)
    test = dataset.test
    assert_depends_on_its_input(saved.model, saved.normalise(test.images[:20]))
    (background,) = backgrounds_of(saved.model)
    assert torch.equal(background, torch.tensor(dataset.normalised_background))
    again = evaluate(saved.model, test.images, test.labels, saved.normalise)
    assert again.cross_entropy == saving.test_cross_entropy
    shared = {name: getattr(saving, name) for name in SHARED}
    assert {name: getattr(saved.configuration, name) for name in SHARED} == shared
    assert saved.configuration.class_names == tuple("0123456789")
    assert saved.configuration.imports == ("my_models",)


SHARED = (
    "model",
    "dataset",
    "data_hash",
    "budget",
    "seed",
    "recipe_hash",
    "kept_epoch",
    "test_accuracy",
)
"""What a record and the configuration of a saved model both say of their run."""


def test_class_names_are_saved_in_the_order_of_the_labels(tmp_path):
    names = ("shirt", "ankle boot", "7", "dress", "coat", "bag", "10", "top", "sandal", "a shoe")
    digits = dataclasses.replace(cached_dataset("digits", None, False), class_names=names)
    run = Run(record(), digits, torch.device("cpu"))
    run.model = create_model(run.record.model, digits.image_shape, len(names))
    SaveModels(str(tmp_path)).watch(run).end()
    (path,) = tmp_path.iterdir()
    assert read_saved_model(path).configuration.class_names == names


@pytest.mark.parametrize(("final", "accuracy"), [(False, type(None)), (True, float)])
def test_a_search_saves_its_model_too(tmp_path, final, accuracy):
    search = Cell("cnn", "few_digits", "smoke", Recipe(epochs=1), is_search=True)
    run_cell(search, [0], RunSettings(final=final), callbacks=[SaveModels(str(tmp_path))])
    (path,) = tmp_path.iterdir()
    assert type(read_saved_model(path).configuration.test_accuracy) is accuracy


@pytest.mark.parametrize("model", ["says_nan", "falls_over"])
def test_a_run_that_failed_saves_no_model(tmp_path, model):
    saving = SaveModels(str(tmp_path))
    (record,) = run_cell(Cell(model, "few_digits", "smoke", RECIPE), [0], callbacks=[saving])
    assert record.status != "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_test_loss_that_is_not_finite_saves_no_model(tmp_path, monkeypatch):
    unusable = SimpleNamespace(cross_entropy=math.nan)
    monkeypatch.setattr("stn_core.training.run_cell.evaluate", lambda *arguments: unusable)
    (record,) = run_cell(
        Cell("cnn", "few_digits", "smoke", RECIPE), [4], callbacks=[SaveModels(str(tmp_path))]
    )
    assert record.status == "diverged"
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_written_costs_no_run(tmp_path, caplog):
    (tmp_path / "models").write_text("a file where the folder should be")
    saving = SaveModels(str(tmp_path / "models"))
    cell = Cell("cnn", "few_digits", "smoke", Recipe(epochs=1))
    result = run_seed(cell, 0, RunSettings(), [saving])
    assert unchanging(result.record) == unchanging(run_cell(cell, [0])[0])
    (note,) = result.notes
    assert note.startswith("SaveModels failed: ")
    assert f"few_digits-cnn-0: {note}" in caplog.text
