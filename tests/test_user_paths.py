"""Whatever takes a path takes ``~``, and one line says that a home is nobody's."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stn_core
from stn_core import (
    Cell,
    Recipe,
    RunSettings,
    UsageError,
    create_model,
    load_dataset,
    run_cell,
)
from stn_core.datasets import check_dataset
from stn_core.datasets.sources.birds import check_birds, load_birds
from stn_core.datasets.sources.image_files import read_image
from stn_core.models.pretrained import list_pretrained, read_pretrained
from stn_core.models.saved_models import load_model, read_saved_model
from stn_core.suite.commands import main
from stn_core.suite.options import OPTIONS
from stn_core.training.callbacks import (
    KeepArtifacts,
    SaveCheckpoints,
    SaveModels,
    WriteTensorBoard,
)

pytest_plugins = ["pytester"]

NOBODYS = "~no_such_user/x.py"
SAID = "~no_such_user/x.py: the home folder of '~no_such_user' is unknown"


def train_on_data_of(root: str) -> None:
    run_cell(Cell("cnn", "mnist", "smoke", Recipe()), [0], RunSettings(data_root=root))


FUNCTIONS: dict[str, Callable[[str], Any]] = {
    "load_dataset": lambda path: load_dataset("mnist", root=path),
    "check_dataset": lambda path: check_dataset("mnist", root=path),
    "load_birds": lambda path: load_birds(path, "birds"),
    "check_birds": check_birds,
    "load_model": load_model,
    "read_saved_model": read_saved_model,
    "list_pretrained": list_pretrained,
    "read_pretrained": lambda path: read_pretrained("cnn", "mnist", path),
    "weights of a ResNeXt": lambda path: create_model("resnext", (3, 32, 32), 2, weights=path),
    "read_image": lambda path: read_image(path, (3, 32, 32), (0.0, 0.0, 0.0)),
    "run_cell": train_on_data_of,
    "KeepArtifacts": KeepArtifacts,
    "SaveCheckpoints": SaveCheckpoints,
    "SaveModels": SaveModels,
    "WriteTensorBoard": WriteTensorBoard,
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_function_reports_an_unknown_home_folder(function: Callable[[str], Any]) -> None:
    with pytest.raises(UsageError, match=r"x\.py: the home folder of '~no_such_user' is unknown"):
        function(NOBODYS)


def test_they_are_all_public_functions_that_take_a_path() -> None:
    takes = {
        name
        for name in stn_core.__all__
        if inspect.isfunction(getattr(stn_core, name))
        and "PathLike" in str(inspect.signature(getattr(stn_core, name)))
    }
    assert takes
    assert takes <= set(FUNCTIONS)


@pytest.mark.parametrize("function", [load_model, FUNCTIONS["load_dataset"]])
def test_a_function_finds_the_users_home(
    function: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match=str(tmp_path)):
        function("~/there")
    assert KeepArtifacts("~/there").folder == str(tmp_path / "there")


PATH_OPTIONS = [
    option for option in OPTIONS.values() if option.metavar in ("FILE", "FOLDER", "PATHS")
]


def test_the_options_that_take_a_path() -> None:
    assert {"baselines", "results-dir", "resume"} < {option.name for option in PATH_OPTIONS}


@pytest.mark.parametrize("name", [*(option.name for option in PATH_OPTIONS), "import"])
def test_an_option_reports_an_unknown_home_folder(pytester: pytest.Pytester, name: str) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    for plugin, prefix in (("plugin", "stn-"), ("short_options", "")):
        result = pytester.runpytest_inprocess(
            *("-p", f"stn_core.suite.{plugin}", f"--{prefix}{name}={NOBODYS}")
        )
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*error: argument --{prefix}{name}: {SAID}"])


COMMANDS = {
    "report": ["report", NOBODYS],
    "report --out": ["report", ".", "--out", NOBODYS],
    "compare A": ["compare", NOBODYS, "."],
    "compare B": ["compare", ".", NOBODYS],
    "compare --out": ["compare", ".", ".", "--out", NOBODYS],
    "claims": ["claims", NOBODYS],
    "claims --baselines": ["claims", ".", "--baselines", NOBODYS],
    "claims --evidence": ["claims", ".", "--evidence", NOBODYS],
    "claims --out": ["claims", ".", "--out", NOBODYS],
    "compare --data-root": ["compare", "a.safetensors", ".", "--data-root", NOBODYS],
    "export MODEL": ["export", NOBODYS, "--onnx", "m.onnx"],
    "export --onnx": ["export", ".", "--onnx", NOBODYS],
    "predict MODEL": ["predict", NOBODYS, "."],
    "predict IMAGE": ["predict", ".", NOBODYS],
    "predict --warped": ["predict", ".", ".", "--warped", NOBODYS],
    "predict --import": ["predict", ".", ".", "--import", NOBODYS],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_reports_an_unknown_home_folder(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(command)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status != 0
    assert SAID in capsys.readouterr().err.splitlines()[-1]
