"""Text that no encoding has, in paths and records: shown escaped in a line, and nothing is lost."""

import gzip
import json

import pytest
from PIL import Image

from stn_core.models import create_model
from stn_core.models.saved_models import save_model
from stn_core.session.evidence import read_evidence
from stn_core.suite.commands import main
from tests.configurations import configuration_of
from tests.suite.sessions import select

pytest_plugins = ["pytester"]

ODD = "r\udcff"
"""The name of a folder whose bytes are not UTF-8, as Python has it."""


@pytest.fixture
def odd(pytester):
    """A path of such bytes, where the file system takes one."""
    try:
        (pytester.path / ODD).mkdir()
    except OSError:
        pytest.skip("this file system has names in UTF-8 alone")
    return pytester.path / ODD


@pytest.mark.nightly
def test_a_results_folder_of_any_bytes_is_written_resumed_and_reported(
    bench, pytester, odd, capsys
):
    first = bench(*select("tiny"), "--seeds", "1", "--save-models", "--results-dir", ODD)
    assert first.ret == 0
    first.stdout.fnmatch_lines([r"records and tables: */r\udcff/*"])
    (folder,) = odd.iterdir()
    resumed = bench(*select("tiny"), "--seeds", "2", "--resume", str(folder))
    assert resumed.ret == 0
    resumed.stdout.fnmatch_lines(["1 cell, 2 runs: 1 NEW"])
    assert (folder / "records.jsonl").read_text().count("\n") == 2

    assert main(["report", str(folder)]) == 0
    assert main(["compare", str(folder), str(folder), "--out", str(odd)]) == 0
    (model,) = (folder / "models").iterdir()
    Image.new("L", (28, 28)).save(odd / "image.png")
    models = ("--import", str(pytester.path / "my_models.py"))
    assert main(["predict", *models, str(model), str(odd / "image.png")]) == 0
    said = capsys.readouterr()
    assert said.out.count(r"r\udcff/") >= 4
    assert "Traceback" not in said.err


def test_a_path_that_cannot_reach_workers_is_a_one_line_error(bench, odd):
    result = bench(*select("tiny"), "--seeds", "1", "-n", "1", "--results-dir", ODD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([r"ERROR: r\udcff is not UTF-8 text, which xdist cannot pass*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.fixture
def folder(bench, pytester):
    """The folder of a finished session."""
    assert bench(*select("tiny"), "--seeds", "1").ret == 0
    return next(pytester.path.glob("results/*"))


def test_half_a_pair_in_a_record_is_shown_escaped(folder, bench):
    records = folder / "records.jsonl"
    values = json.loads(records.read_text())
    crashed = {**values, "seed": 1, "status": "crashed", "message": "\ud83d \x1b[2J\nall PASS"}
    records.write_text(f"{json.dumps(values)}\n{json.dumps(crashed)}\n")
    judged = bench(*select("tiny"), "--seeds", "2", "--from-records", str(folder))
    judged.stdout.fnmatch_lines([r"CRASHED *: seed 1: \ud83d \x1b[[]2J\nall PASS"])
    assert main(["report", str(folder)]) == 0
    evidence = folder / "evidence.jsonl.gz"
    evidence.write_bytes(gzip.compress(records.read_bytes()))
    assert read_evidence(evidence)[1].message == r"\ud83d \x1b[2J\nall PASS"


@pytest.mark.parametrize("name", ["7\x1b[2J", "7\nfake.png: 7", "7\ud83d"])
def test_the_name_of_a_class_forges_no_line_of_predict(tmp_path, capsys, name):
    shape = (1, 16, 16)
    configuration = configuration_of("cnn", shape, class_names=(name,) * 10)
    save_model(tmp_path / "model.safetensors", create_model("cnn", shape, 10), configuration)
    image = tmp_path / "image.png"
    Image.new("L", (16, 16)).save(image)
    assert main(["predict", str(tmp_path / "model.safetensors"), str(image)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{image}: {ascii(name)[1:-1]} (")


def test_half_a_pair_in_a_baselines_key_is_one_line(bench, pytester):
    (pytester.path / "baselines.json").write_text(
        '{"version": 1, "environments": {}, "cells": {"smoke/digits/\\ud83d": {}}}'
    )
    result = bench(*select("tiny"), "--seeds", "1")
    assert result.ret != 0
    result.stdout.fnmatch_lines([r"*baselines.json: *smoke/digits/\ud83d*"])
    result.stdout.no_fnmatch_line("*Traceback*")
