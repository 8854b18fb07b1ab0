"""stn compare of two saved models: the same images, whose answers differ, and an exit status."""

import dataclasses
import math

import pytest
import torch

from stn_core.datasets import load_dataset
from stn_core.models.saved_models import read_saved_model, save_model
from stn_core.report.text_table import counted
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.suite.commands import main
from stn_core.training.callbacks import SaveModels
from stn_core.training.run_cell import RunSettings, run_cell
from tests.datasets.noise import write_folder
from tests.liveness import assert_depends_on_its_input


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The files of a model that has learnt something, and of one that has hardly."""
    folder = tmp_path_factory.mktemp("models")
    files = []
    for name, epochs, rate in (("good", 3, 1e-2), ("poor", 1, 1e-4)):
        recipe = Recipe(epochs=epochs, learning_rate=rate)
        run_cell(
            Cell("cnn", "digits", "smoke", recipe), [0], callbacks=[SaveModels(str(folder / name))]
        )
        (path,) = (folder / name).rglob("*.safetensors")
        files.append(path)
    return files


def test_a_worse_second_model_is_reported_counted_and_fails(saved, tmp_path, capsys):
    good, poor = saved
    assert main(["compare", str(good), str(poor), "--out", str(tmp_path), "--device", "cpu"]) == 1
    images = load_dataset("digits").test
    predictions = []
    for path in saved:
        model = read_saved_model(path)
        assert_depends_on_its_input(model.model, model.normalise(images.images[:50]))
        predictions.append(model.probabilities(images.images).argmax(1))
    right = [found == images.labels for found in predictions]
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert only[0] > only[1] + 20
    points = 100 * (only[1] - only[0]) / len(images.labels)
    said = capsys.readouterr().out
    assert said.startswith(f"A better: B - A is {points:+.2f} [")
    assert f"right only in A: {counted(only[0], 'image')}, only in B: {only[1]};" in said
    assert "the intervals of all classes hold together with 95 %" in said
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 3  # two confusion matrices, and what A alone gets right
    assert "Right only in A" in page

    assert main(["compare", str(poor), str(good), "--out", str(tmp_path), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith(f"B better: B - A is {-points:+.2f} [")


def test_a_model_and_itself_are_identical(saved, tmp_path, capsys):
    good = str(saved[0])
    assert main(["compare", good, good, "--out", str(tmp_path), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("identical: B - A is +0.00 [")


def test_models_that_cannot_be_compared_are_refused_in_one_line(saved, tmp_path, capsys):
    good = saved[0]
    model = read_saved_model(good)
    other = tmp_path / "other.safetensors"
    names = tuple(f"class {number}" for number in range(10))
    changed = dataclasses.replace(model.configuration, class_names=names, dataset="letters")
    save_model(other, model.model, changed)
    broken = tmp_path / "broken.safetensors"
    with torch.no_grad():
        next(model.model.parameters()).fill_(math.nan)
    save_model(broken, model.model, model.configuration)
    for arguments, complaint in (
        ([good, tmp_path], "a saved model can only be compared with another one"),
        ([good, other], "choose the test set with --dataset"),
        ([good, other, "--dataset", "digits"], "was trained on other classes than digits has"),
        ([good, good, "--dataset", "coordinates_uniform"], "is for images of 1x28x28, those of"),
        ([good, tmp_path / "none.safetensors"], "there is no file"),
        ([good, broken], f"{broken}: some of its outputs are not finite"),
    ):
        assert main(["compare", *map(str, arguments), "--out", str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert complaint in line
    assert not (tmp_path / "comparison.html").exists()


def test_models_of_resized_images_are_compared_on_images_of_that_size(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "mine", {"kite": 20, "owl": 20})
    write_folder(tmp_path / "mine" / "owl", {"more": 4}, size=(29, 40), seed=3)
    root, size = str(tmp_path), (28, 30)
    recipe = Recipe(epochs=1, batch_size=8)
    settings = RunSettings(data_root=root, image_size=size)
    cell = Cell("cnn", "mine", "smoke", recipe)
    run_cell(cell, [0, 1], settings, callbacks=[SaveModels(root)])
    files = [str(path) for path in sorted(tmp_path.glob("*.safetensors"))]
    assert len(files) == 2
    arguments = ["compare", *files, "--data-root", root, "--out", root, "--device", "cpu"]
    assert main(arguments) == 2
    assert "choose one with --image-size" in capsys.readouterr().err
    assert main([*arguments, "--image-size", "28x30"]) in (0, 1)
    assert " points on mine (McNemar" in capsys.readouterr().out
