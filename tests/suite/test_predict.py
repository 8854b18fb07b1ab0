"""Prediction says what the model says, and no image stops the others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stn_core.datasets import load_dataset
from stn_core.models import TransformsImages, create_model, registry
from stn_core.models.normaliser import Normaliser
from stn_core.models.saved_models import read_saved_model, save_model
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.suite.commands import main
from stn_core.training.callbacks import SaveModels
from stn_core.training.run_cell import run_cell
from stn_core.training.side_by_side import side_by_side
from tests.configurations import configuration_of
from tests.liveness import assert_depends_on_its_input

CPU = ("--device", "cpu")
Printed = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved STN, a saved CNN and some test images: 0.png, 1.png, ..."""
    folder = tmp_path_factory.mktemp("predict")
    for model in ("stn", "cnn"):
        cell = Cell(model, "digits_rts", "smoke", Recipe(epochs=1))
        run_cell(cell, [0], callbacks=[SaveModels(str(folder))])
    for number in range(4):
        Image.fromarray(digit(number)[0].numpy()).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def stn(folder: Path) -> Path:
    return folder / "digits_rts-stn-0.safetensors"


@pytest.fixture
def cnn(folder: Path) -> Path:
    return folder / "digits_rts-cnn-0.safetensors"


def saved_fresh(name: str, path: Path, in_shape: tuple[int, int, int], **changes: Any) -> Path:
    """A model that nobody trained, saved."""
    save_model(path, create_model(name, in_shape, 10), configuration_of(name, in_shape, **changes))
    return path


def digit(number: int) -> Tensor:
    return load_dataset("digits_rts").test.images[11 * number]


def arguments(*given: str | Path) -> list[str]:
    return ["predict", *CPU, *map(str, given)]


def test_probabilities_are_the_softmax_of_the_models_logits(
    folder: Path, stn: Path, capsys: Printed
) -> None:
    paths = [folder / f"{number}.png" for number in range(4)]
    assert main(arguments(stn, *paths, "--top", "10")) == 0
    lines = capsys.readouterr().out.splitlines()
    dataset, model = load_dataset("digits_rts"), read_saved_model(stn).model
    normalise = Normaliser.of(dataset, torch.device("cpu"), torch.channels_last)
    assert_depends_on_its_input(model, normalise(dataset.test.images[:20]))
    for number, (path, line) in enumerate(zip(paths, lines, strict=True)):
        expected = model(normalise(digit(number)[None])).detach().softmax(1)[0]
        assert line.startswith(f"{path}: ")
        pairs = re.findall(r"(\d) \((\d+\.\d\d) %\)", line)
        assert [int(name) for name, _ in pairs] == expected.argsort(descending=True).tolist()
        for name, percent in pairs:
            assert float(percent) == pytest.approx(100 * float(expected[int(name)]), abs=0.0051)


@pytest.mark.parametrize(("top", "count"), [((), 3), (("--top", "1"), 1), (("--top", "99"), 10)])
def test_as_many_classes_are_printed_as_asked_for(
    folder: Path, cnn: Path, capsys: Printed, top: tuple[str, ...], count: int
) -> None:
    assert main(arguments(cnn, folder / "0.png", *top)) == 0
    assert capsys.readouterr().out.count(" %)") == count


def test_an_image_that_cannot_be_read_stops_no_other(
    folder: Path, cnn: Path, tmp_path: Path, capsys: Printed
) -> None:
    torn, large = tmp_path / "torn.png", tmp_path / "large.png"
    torn.write_bytes((folder / "0.png").read_bytes()[:100])
    Image.new("L", (40, 30)).save(large)
    given = (folder / "0.png", torn, tmp_path / "none.png", large, folder / "1.png")
    assert main(arguments(cnn, *given)) == 1
    printed = capsys.readouterr()
    assert [line.partition(": ")[0] for line in printed.out.splitlines()] == [
        str(folder / "0.png"),
        str(folder / "1.png"),
    ]
    for path, line in zip(given[1:4], printed.err.splitlines(), strict=True):
        assert str(path) in line
    assert main(arguments(cnn, large, "--resize")) == 0


def test_a_picture_shows_the_image_and_what_the_transformer_makes_of_it(
    folder: Path, stn: Path, tmp_path: Path
) -> None:
    assert main(arguments(stn, folder / "0.png", folder / "1.png", "--warped", tmp_path / "x")) == 0
    names = sorted(path.name for path in (tmp_path / "x").iterdir())
    assert names == ["0-warped.png", "1-warped.png"]
    saved = read_saved_model(stn)
    assert isinstance(saved.model, TransformsImages)
    warped = saved.model.transform(saved.normalise(digit(1)[None])).image
    configuration = saved.configuration
    grey = (warped * configuration.std[0] + configuration.mean[0])[0, 0].detach() * 255
    with Image.open(tmp_path / "x" / "1-warped.png") as file:
        picture = np.asarray(file.convert("L")).astype(float)
    assert picture.shape == (8 * 28, 2 * 8 * 28 + 8)
    assert np.array_equal(picture[4::8, 4 : 8 * 28 : 8], digit(1)[0].numpy())
    shown = picture[4::8, 8 * 28 + 8 + 4 :: 8]
    assert np.abs(shown - grey.clamp(0, 255).numpy()).max() <= 0.51
    assert np.abs(shown - picture[4::8, 4 : 8 * 28 : 8]).max() > 1


def test_no_picture_takes_the_place_of_an_image_or_of_another_picture(
    folder: Path, stn: Path, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    contents = {}
    for number, name in enumerate(("a.png", "a-warped.png", "a.bmp", "b/a.png")):
        Image.fromarray(digit(number % 4)[0].numpy()).save(tmp_path / name)
        contents[tmp_path / name] = (tmp_path / name).read_bytes()
    assert main(arguments(stn, *contents, "--warped", tmp_path)) == 0
    assert {path: path.read_bytes() for path in contents} == contents
    pictures = {path.name for path in tmp_path.glob("*.png")} - {"a.png", "a-warped.png"}
    assert pictures == {
        "a-warped-2.png",
        "a-warped-3.png",
        "a-warped-4.png",
        "a-warped-warped.png",
    }


def test_a_model_that_warps_nothing_says_so(
    folder: Path, cnn: Path, tmp_path: Path, capsys: Printed
) -> None:
    assert main(arguments(cnn, folder / "0.png", "--warped", tmp_path / "x")) == 0
    printed = capsys.readouterr()
    assert printed.err == "--warped: cnn warps no images, so there are no pictures\n"
    assert len(printed.out.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_written_costs_no_prediction(
    folder: Path, stn: Path, capsys: Printed
) -> None:
    assert main(arguments(stn, folder / "0.png", "--warped", folder / "1.png")) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{folder / '0.png'}: ")
    assert printed.err.startswith(f"cannot write {folder / '1.png' / '0-warped.png'}: ")
    assert len(printed.err.splitlines()) == 1


def test_mistakes_are_reported_in_one_line(
    folder: Path, cnn: Path, tmp_path: Path, capsys: Printed
) -> None:
    image = folder / "0.png"
    pairs = saved_fresh("cnn", tmp_path / "pairs", (2, 28, 28))
    for given, complaint in (
        ((tmp_path / "none", image), "there is no file"),
        ((image, image), "is damaged or not a saved model"),
        ((cnn, image, "--top", "0"), "--top must be 1 or more, not 0"),
        ((cnn, image, "--device", "gpu"), "unknown device 'gpu'"),
        ((cnn, image, "--import", "no_such_module"), "--import no_such_module: ModuleNotFound"),
        ((pairs, image), "its images have 2 channels, which no image file has"),
    ):
        assert main(arguments(*given)) == 2
        printed = capsys.readouterr()
        assert complaint in printed.err
        assert (printed.out, len(printed.err.splitlines())) == ("", 1)


OWN = """
from torch import nn
from stn_core import register_model

@register_model
def from_another_file(in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, num_classes))
"""


def test_a_users_model_is_imported(
    folder: Path, cnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    assert main(arguments(cnn, folder / "0.png", "--import", "own.py, ")) == 0
    saved_fresh("from_another_file", Path("own"), (1, 28, 28), imports=("own.py",))
    assert main(arguments("own", folder / "0.png")) == 0
    del registry._MODELS._entries["from_another_file"]
    capsys.readouterr()
    assert main(arguments("own", folder / "0.png")) == 2
    assert "its session had --import own.py" in capsys.readouterr().err


def test_pictures_of_any_size_and_colour_stand_side_by_side() -> None:
    small = torch.full((3, 20, 10), 200, dtype=torch.uint8)
    large = torch.full((1, 300, 400), 50, dtype=torch.uint8)
    picture = np.asarray(side_by_side([small, large]))
    assert picture.shape == (300, 11 * 10 + 8 + 400, 3)
    assert (picture[:220, :110] == 200).all()
    assert (picture[:, 118:] == 50).all()


def test_a_coloured_image_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "colours.png"
    pixels = np.random.default_rng(0).integers(0, 256, (28, 33, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    saved_fresh("stn", tmp_path / "stn", (3, 28, 33))
    assert main(arguments(tmp_path / "stn", path, "--warped", tmp_path)) == 0
    with Image.open(tmp_path / "colours-warped.png") as file:
        picture = np.asarray(file).astype(int)
    # A fresh transformer is the identity, so both halves show the image; rounded once.
    for left in (0, 8 * 33 + 8):
        assert np.abs(picture[4::8, left + 4 : left + 8 * 33 : 8] - pixels).max() <= 1


def test_transparent_pixels_become_the_models_training_background(
    tmp_path: Path,
) -> None:
    path = tmp_path / "nothing.png"
    Image.new("RGBA", (33, 28)).save(path)
    background = (-1.0, 0.2, 1.0)  # of pixels normalised by 0.5 and 0.5
    model = saved_fresh("stn", tmp_path / "stn", (3, 28, 33), background=background)
    assert main(arguments(model, path, "--warped", tmp_path)) == 0
    with Image.open(tmp_path / "nothing-warped.png") as file:
        assert file.getpixel((0, 0)) == (0, 153, 255)


def test_an_output_that_is_not_a_number_is_reported(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved_fresh("cnn", tmp_path / "cnn.safetensors", (1, 28, 28))
    saved = read_saved_model(path)
    for parameter in saved.model.parameters():
        parameter.detach().fill_(torch.nan)
    save_model(path, saved.model, saved.configuration)
    image = next(folder.glob("*.png"))
    assert main(arguments(path, image)) == 1
    assert "the model's output is not finite" in capsys.readouterr().err
