"""Weights that come with the package: what they say of themselves holds."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from stn_core import Cell, Recipe, UsageError, create_model, load_dataset, run_cell
from stn_core.models import list_models, model_info
from stn_core.models import pretrained as pretrained_models
from stn_core.models.pretrained import (
    FOLDER,
    MOST_BYTES,
    list_pretrained,
    read_pretrained,
    rounded,
    write_pretrained,
)
from stn_core.models.saved_models import read_saved_model
from stn_core.session.budgets import get_budget
from stn_core.training.callbacks import SaveModels
from stn_core.training.evaluation import evaluate
from tests.configurations import configuration_of
from tests.datasets.real_data import DATA_ROOT, what_is_missing

SHIPPED = [(model, dataset) for dataset, names in list_pretrained().items() for model in names]
every_one = pytest.mark.parametrize(("model", "dataset"), SHIPPED, ids=str)


@every_one
def test_they_are_of_the_full_recipe(model: str, dataset: str) -> None:
    saved = read_pretrained(model, dataset)
    trained = saved.configuration
    assert (trained.model, trained.dataset, trained.budget) == (model, dataset, "full")
    recipe = get_budget("full").recipe_for(dataset, model_info(model).family, model)
    assert trained.recipe_hash == recipe.hash()
    images = torch.zeros(2, *trained.in_shape, dtype=torch.uint8)
    logits = create_model(model, pretrained=dataset)(saved.normalise(images))
    assert logits.shape == (2, trained.num_classes)


@every_one
def test_their_accuracy_is_what_they_say(model: str, dataset: str) -> None:
    if missing := what_is_missing(dataset):
        pytest.skip(missing)
    saved, data = read_pretrained(model, dataset), load_dataset(dataset, DATA_ROOT)
    assert data.hash == saved.configuration.data_hash
    found = evaluate(saved.model, data.test.images, data.test.labels, saved.normalise)
    # On another processor an image at a boundary may change sides.
    assert saved.configuration.test_accuracy == pytest.approx(found.accuracy, abs=3e-4)


def test_they_are_small_and_of_core_models() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*")) < MOST_BYTES
    assert {model for model, _ in SHIPPED} <= set(list_models(core=True))


def _script() -> ModuleType:
    """benchmarks/ is no package, so the script is loaded by its path."""
    path = Path(__file__).parents[2] / "benchmarks" / "ship_weights.py"
    spec = importlib.util.spec_from_file_location("ship_weights", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the package's, with a model of random weights."""
    monkeypatch.setattr(pretrained_models, "FOLDER", tmp_path)
    model = rounded(create_model("cnn", (1, 28, 28), 10))
    write_pretrained(model, configuration_of("cnn", (1, 28, 28)), tmp_path)
    return tmp_path


def test_rounded_weights_are_the_stored_ones(tmp_path: Path) -> None:
    model = create_model("stn", (1, 28, 28), 10).eval()
    images = torch.randn(4, 1, 28, 28)
    path = write_pretrained(rounded(model), configuration_of("stn", (1, 28, 28)), tmp_path)
    again = read_saved_model(path).model
    assert all(value.dtype == torch.float32 for value in again.state_dict().values())
    for one, other in zip(again.parameters(), rounded(model).parameters(), strict=True):
        assert torch.equal(one, other)
    torch.testing.assert_close(again(images), rounded(model)(images))
    # Half precision keeps eleven bits of a weight.
    for one, other in zip(again.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=2**-11, atol=2**-24)


def test_trained_weights_are_loaded_by_model_name_and_dataset(folder: Path) -> None:
    assert list_pretrained() == {"digits": ["cnn"]}
    model = create_model("cnn", pretrained="digits")
    assert not model.training
    spelt_out = "cnn[hidden=50]"  # which is its default
    create_model(spelt_out, (1, 28, 28), 10, pretrained="digits")
    assert read_pretrained(spelt_out, "digits").configuration.model == "cnn"
    with pytest.raises(UsageError, match="unknown model 'cnm'; did you mean "):
        read_pretrained("cnm", "digits")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stn", None, None, "digits"), "no weights of 'stn' .*; there are digits: cnn"),
        (("cnn", None, None, "mnist"), "no weights of 'cnn' trained on 'mnist'; there are digits"),
        (("stm", None, None, "digits"), "unknown model 'stm'"),
        (("cnn", (1, 42, 42), None, "digits"), r"images of \(1, 42, 42\) and 10 classes do not"),
        (("cnn", 28, None, "digits"), r"in_shape is \(channels, height, width\), .* not 28"),
        (("cnn", None, 7, "digits"), r"images of \(1, 28, 28\) and 7 classes do not fit"),
        (("cnn", None, None, None), "needs in_shape and num_classes"),
        (
            ("cnn", (1, 28, 28), 10, True),
            "takes the dataset that 'cnn' was trained on, .* not True",
        ),
    ],
)
def test_missing_pretrained_weights_are_a_one_line_error(
    folder: Path, arguments: tuple, said: str
) -> None:
    name, in_shape, num_classes, pretrained = arguments
    with pytest.raises(UsageError, match=said) as caught:
        create_model(name, in_shape, num_classes, pretrained=pretrained)
    assert "\n" not in str(caught.value)


def test_another_background_than_that_of_the_weights_is_refused(folder: Path) -> None:
    trained = read_pretrained("cnn", "digits", folder).configuration.background
    for same in (trained, trained[0]):
        create_model("cnn", background=same, pretrained="digits")
    for other in (trained[0] + 0.5, [trained[0] - 0.5]):
        with pytest.raises(UsageError, match=r"with the background \(.*; leave background= out"):
            create_model("cnn", background=other, pretrained="digits")
    with pytest.raises(UsageError, match="background has 2 values for images of 1 channel"):
        create_model("cnn", background=(0.0, 0.0), pretrained="digits")


def test_options_beside_trained_weights_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="takes no option 'hidden'"):
        create_model("cnn", pretrained="digits", hidden=50)


def test_a_saved_model_is_shipped_with_the_accuracy_of_its_rounded_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = _script().main
    models, out = tmp_path / "models", tmp_path / "out"
    cell = Cell("cnn", "digits", "smoke", Recipe(epochs=1))
    run_cell(cell, [0], callbacks=[SaveModels(str(models))])
    assert main([str(models / "digits-cnn-0.safetensors"), "--out", str(out)]) == 0
    assert "digits-cnn.safetensors: " in capsys.readouterr().out
    shipped = read_pretrained("cnn", "digits", out)
    test = load_dataset("digits").test
    found = evaluate(shipped.model, test.images, test.labels, shipped.normalise)
    assert shipped.configuration.test_accuracy == found.accuracy
    assert main([str(tmp_path / "none.safetensors"), "--out", str(out)]) == 1
    assert "there is no file" in capsys.readouterr().err
