"""From a user's files to a table: what a session says about them, and the options they need."""

import fnmatch
import json

import pytest

from tests.datasets.noise import write_folder

pytest_plugins = ["pytester"]

SHORT = ("--seeds", "2", "--set", "epochs=1", "--data-root", "data")


@pytest.fixture
def pictures(pytester, monkeypatch):
    """Folders of pictures in two sizes."""
    monkeypatch.setenv("STN_CACHE", str(pytester.path / "cache"))
    write_folder(pytester.path / "data" / "mine", {"kite": 20, "owl": 20})
    write_folder(pytester.path / "data" / "mine" / "owl", {"more": 4}, size=(9, 20), seed=3)


def test_a_folder_of_pictures_is_a_cell_in_the_size_that_is_chosen(bench, pytester, pictures):
    result = bench("--model", "tiny", "--dataset", "mine", "--image-size", "6x8", *SHORT)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["mine: * images (train / val / test) of 2 classes, *resized to 6x8*", "1 cell*2 runs*NEW*"]
    )
    (path,) = pytester.path.glob("results/*/records.jsonl")
    record = json.loads(path.read_text().splitlines()[0])
    assert record["parameters"] == 6 * 8 * 2 + 2
    (plan,) = pytester.path.glob("results/*/session.json")
    assert json.loads(plan.read_text())["options"]["image_size"] == [6, 8]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dataset", "mine"), "*its images have 2 sizes (* are 12x14); choose one with *"),
        (("--dataset", "digits", "--image-size", "6"), "*images of digits keep their size*"),
        (("--dataset", "mine", "--image-size", "6y8"), "*expected pixels, N or HxW, *"),
    ],
)
def test_a_wrong_size_is_one_line(bench, pictures, arguments, said):
    result = bench("--model", "tiny", *arguments, *SHORT)
    assert result.ret != 0
    lines = result.stdout.lines + result.stderr.lines
    assert any(fnmatch.fnmatchcase(line, said) for line in lines), lines
    assert not any("Traceback" in line for line in lines)
