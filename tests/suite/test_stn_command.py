"""The command ``stn``: no traceback, whatever it is given and whatever reads its output."""

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from stn_core.gate.baselines import Baselines, write_baselines
from stn_core.session.cells import Cell
from stn_core.session.folder import session_folders
from stn_core.session.recipe import Recipe
from stn_core.suite.commands import main
from tests.examples import baseline, environment, record
from tests.platforms import needs_named_pipes

pytest_plugins = ["pytester"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with baselines of two models."""
    cells = [Cell(model, "digits", "smoke", Recipe()) for model in ("cnn", "stn")]
    stored = {cell.key: baseline([0.9, 0.91, 0.92], cell) for cell in cells}
    place = environment()
    write_baselines(tmp_path / "baselines.json", Baselines(stored, {place.key(): place.place()}))
    (tmp_path / "claims.toml").write_text(CLAIM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


CLAIM = """
[[claim]]
id = "better"
source = "a paper"
sentence = "The STN is better."
trained = "smoke"
dataset = "digits"
metric = "accuracy"
model = "stn"
than = ["cnn"]
expected = "higher"
"""
COMPARE = ["compare", "baselines.json", "--models", "all"]


def test_a_terminal_of_few_characters_gets_escapes(here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    assert main(COMPARE) == 0
    assert rb"\xb1" in printed.getvalue()


def test_a_reader_that_has_seen_enough_costs_no_traceback(here, monkeypatch, capfd):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(COMPARE) == 2
    assert capfd.readouterr().err == ""


def test_a_command_without_standard_output_still_writes_its_page(here, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(COMPARE) == 0
    assert Path("comparison.html").exists()
    assert capfd.readouterr().err == ""


def test_output_that_cannot_be_written_is_one_line(here, monkeypatch, capsys):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")  # which names no file

    monkeypatch.setattr(sys, "stdout", Full())
    assert main(COMPARE) == 2
    assert capsys.readouterr().err == "No space left on device\n"


def test_ctrl_c_ends_a_command_with_one_word(here, monkeypatch, capsys):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("stn_core.report.sources.read_source", interrupted)
    assert main(COMPARE) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_planning_raises_no_warning_if_warnings_are_errors(pytester):
    """The command imports the package before pytest does, which pytest warns of."""
    pytester.makeini("[pytest]\nfilterwarnings = error")
    result = pytester.run(sys.executable, "-m", "stn_core", "plan", "-W", "error")
    result.stdout.fnmatch_lines(["*no tests collected*"])
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def status_of(arguments):
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "NAME"],
        ["report", ".", "--out", "NAME"],
        ["compare", "NAME", "."],
        ["compare", "baselines.json", "baselines.json", "--out", "NAME"],
        ["claims", "NAME"],
        ["claims", "claims.toml", "--evidence", "NAME"],
        ["predict", "NAME", "image.png"],
        ["predict", "model.safetensors", "NAME"],
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(here, arguments, capsys):
    too_long = "n" * 300
    assert status_of([too_long if word == "NAME" else word for word in arguments]) not in (0, None)
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"{too_long}: File name too long")


@pytest.mark.parametrize(
    "arguments",
    [
        ["history", "baselines.json", "--baselines", "typo"],
        ["claims", "claims.toml", "--baselines", "typo"],
        ["claims", "claims.toml", "--evidence", "typo"],
    ],
)
def test_a_file_that_was_named_must_exist(here, arguments, capsys):
    assert status_of(arguments) not in (0, None)
    assert "there is no file typo" in capsys.readouterr().err
    assert status_of(arguments[:2]) == 0


@needs_named_pipes
@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "pipe", "--models", "all"],
        ["compare", "pipe.jsonl", "baselines.json"],
        ["compare", "session", "baselines.json"],
        ["report", "session"],
        ["claims", "pipe"],
        ["claims", "claims.toml", "--evidence", "pipe"],
        ["claims", "claims.toml", "--baselines", "pipe"],
        ["predict", "pipe", "image.png"],
    ],
)
def test_a_pipe_is_not_waited_for(here, arguments, capsys):
    (here / "session").mkdir()
    for name in ("pipe", "pipe.jsonl", "session/records.jsonl", "session/session.json"):
        os.mkfifo(here / name)
    assert status_of(arguments) == 2
    assert "is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_one_line(here, out, capsys):
    (here / "file").touch()
    both = ["compare", "baselines.json", "baselines.json"]
    for arguments in (COMPARE, both, ["claims", "claims.toml"]):
        assert main([*arguments, "--out", out]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "option",
    ["--dataset=digits", "--image-size=28", "--data-root=.", "--device=cpu", "--import=mine"],
)
@pytest.mark.parametrize("arguments", [COMPARE, ["compare", "baselines.json", "baselines.json"]])
def test_what_only_saved_models_need_is_not_ignored_elsewhere(here, arguments, option, capsys):
    assert main([*arguments, option]) == 2
    said = capsys.readouterr()
    name = option.partition("=")[0]
    assert said.err == f"{name} is for two saved models: drop it here\n"
    assert said.out == ""


def test_a_fault_is_not_reported_as_the_answer_that_b_is_worse(here, monkeypatch, capsys):
    def broken(path):
        raise RuntimeError("made of glass")

    monkeypatch.setattr("stn_core.report.sources.read_source", broken)
    assert main(COMPARE) == 2
    assert capsys.readouterr().err.endswith("RuntimeError: made of glass\n")


@needs_named_pipes
def test_a_session_folder_of_pipes_hides_no_other_session(here):
    for name in ("good", "odd"):
        (here / "results" / name).mkdir(parents=True)
    (here / "results" / "good" / "session.json").write_text('{\n "number": 3,')
    (here / "results" / "odd" / "records.jsonl").write_text(record().to_json())
    os.mkfifo(here / "results" / "odd" / "session.json")
    assert [path.name for path in session_folders(here / "results")] == ["good", "odd"]


@pytest.mark.parametrize("command", ["report", "compare", "predict", "plan", "bisect"])
def test_each_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: stn {command} ")
