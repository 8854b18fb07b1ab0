"""The gate in a user's repository: its package, its model, its dataset, its baselines."""

import contextlib
import fnmatch
import json
import re
import sys

import pytest

from stn_core.atomic_files import replaced_at_once
from stn_core.report.claims_text import CLAIMS_PICTURE
from stn_core.session.file_names import (
    COMPARISON_FILE,
    FIGURES_FOLDER,
    HISTORY_FILE,
    REPORT_FILE,
)
from tests.pages import DOCS
from tests.suite.sessions import GATE, commit, git

pytest_plugins = ["pytester"]

DATA = '''
"""Stripes that run across or down, at any place, under noise: their direction is the class."""

import numpy as np
import torch
from stn_core.datasets import Sources, Split, assemble, register_dataset

HEIGHT, WIDTH, PERIOD = 12, 16, 4


@register_dataset("acme_stripes")
def acme_stripes(root, download):
    drawn = np.random.default_rng(0)
    train, val, test = (drawn_split(drawn, count) for count in (512, 64, 256))
    return assemble("acme_stripes", Sources(train, val, test, ("across", "down")))


def drawn_split(drawn, count):
    labels = drawn.integers(2, size=count)
    phase = drawn.uniform(0, 2 * np.pi, size=(count, 1, 1))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    place = np.where(labels[:, None, None] == 1, x, y)
    wave = np.sin(2 * np.pi * place / PERIOD + phase)
    pixels = 128 + 60 * wave + drawn.normal(scale=20, size=wave.shape)
    images = torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)).unsqueeze(1)
    return Split(images, torch.from_numpy(labels))
'''
MODELS = '''
"""A small convolutional network that sees the pixels around a pixel."""

from stn_core import register_model
from torch import nn

KERNEL_SIZE = 3


@register_model
def acme_net(in_shape, num_classes):
    return nn.Sequential(
        nn.Conv2d(in_shape[0], 32, KERNEL_SIZE),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, num_classes),
    )
'''
BUDGETS = """
from stn_core import Budget, Recipe, register_budget

register_budget(
    Budget(
        name="acme_commit",
        datasets=("acme_stripes",),
        looks=(3, 6, 10),
        baseline_seeds=8,
        recipe=Recipe(batch_size=64, epochs=10),
        by_model={"acme_*": {"epochs": 8, "label_smoothing": 0.05}},
    )
)
"""
CONFIGURATION = """
[tool.pytest.ini_options]
testpaths = ["unit", "gate"]
addopts = "--stn-import acme --stn-budget acme_commit --stn-model acme_net"
"""
CONFTEST = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--device", default="microscope")

def pytest_report_header(config):
    return f"acme's own conftest was read, its device is {config.getoption('--device')}"
"""
UNIT = """
import pytest

@pytest.fixture
def cell(): return {"nucleus": 1}

def test_nucleus(cell): assert cell["nucleus"] == 1
"""


@pytest.fixture
def repository(pytester):
    """A committed repository that has nothing of this one but the installed package."""
    files = {
        "acme/__init__.py": "from acme import budgets, data, models\n",
        "acme/budgets.py": BUDGETS,
        "acme/data.py": DATA,
        "acme/models.py": MODELS,
        "gate/test_accuracy.py": GATE,
        "unit/test_cells.py": UNIT,
        "conftest.py": CONFTEST,
        "pyproject.toml": CONFIGURATION,
        ".gitignore": "results/\n.*.lock\n__pycache__/\n.pytest_cache/\nstdout\nstderr\n",
    }
    for name, text in files.items():
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    commit(pytester.path)
    return pytester.path


@pytest.mark.nightly
def test_the_gate_catches_a_regression_of_a_foreign_model(pytester, run_here, repository):
    ours = ("--device", "scope", "--stn-device", "cpu")
    # The entry point alone brings the plugin: nothing names it.
    measured = pytester.run(
        sys.executable, "-m", "pytest", *ours, "--stn-update-baselines", timeout=600
    )
    assert measured.ret == 0
    measured.stdout.fnmatch_lines(
        ["acme's own conftest was read, its device is scope", "1 cell, 8 runs: 1 NEW"]
    )
    measured.assert_outcomes(passed=2)
    stored = json.loads((repository / "baselines.json").read_text())
    assert list(stored["cells"]) == ["acme_commit/acme_stripes/acme_net"]
    assert stored["cells"]["acme_commit/acme_stripes/acme_net"]["commit"] == (
        git(repository, "rev-parse", "HEAD").strip()
    )
    (records,) = repository.glob("results/*/records.jsonl")
    recipe = json.loads(records.read_text().splitlines()[0])["recipe"]
    assert (recipe["epochs"], recipe["label_smoothing"]) == (8, 0.05)
    commit(repository)
    assert git(repository, "show", "--name-only", "--format=").split() == ["baselines.json"]

    unchanged = pytester.run(sys.executable, "-m", "pytest", *ours, timeout=600)
    assert unchanged.ret == 0
    unchanged.stdout.fnmatch_lines(["1 cell,*: 1 PASS (identical)*"])

    models = repository / "acme" / "models.py"
    models.write_text(MODELS.replace("KERNEL_SIZE = 3", "KERNEL_SIZE = 1"))  # sees no direction
    commit(repository)
    worse = pytester.run(sys.executable, "-m", "pytest", *ours, timeout=600)
    assert worse.ret == 1
    worse.stdout.fnmatch_lines(
        ["REGRESSED  acme_commit/acme_stripes/acme_net: *", "1 cell,*: 1 REGRESSED*"]
    )
    worse.stdout.no_fnmatch_line("*Traceback*")


def test_the_documented_options_leave_out_no_test_of_the_project(repository, run_here):
    page = (DOCS / "own-repository.md").read_text(encoding="utf-8")
    (documented,) = [line for line in page.splitlines() if line.startswith("addopts = ")]
    assert documented in CONFIGURATION.splitlines()
    collected = run_here("-p", "stn_core.suite.plugin", "--collect-only", "--quiet")
    assert collected.outlines[:2] == [
        "unit/test_cells.py::test_nucleus",
        "gate/test_accuracy.py::test_accuracy[acme_stripes-acme_net]",
    ]
    collected.stdout.no_fnmatch_line("*deselected*")


@pytest.mark.parametrize(
    "name",
    [
        COMPARISON_FILE,
        HISTORY_FILE,
        REPORT_FILE,
        CLAIMS_PICTURE,
        "claims.html",
        "claims.md",
        "models.csv",
        f"{FIGURES_FOLDER}/",
    ],
)
def test_what_commands_write_into_a_checkout_is_to_be_ignored(name):
    assert f"`{name}`" in _advice_on_ignored_files()
    ours = (DOCS.parent / ".gitignore").read_text(encoding="utf-8")
    assert f"/{name}" in ours.splitlines()


def test_what_a_killed_session_leaves_beside_the_baselines_is_to_be_ignored(tmp_path):
    """Else the checkout is dirty, and the session that resumes it trains everything again."""
    with contextlib.suppress(InterruptedError), replaced_at_once(tmp_path / "a.json") as left:
        raise InterruptedError
    patterns = re.findall("`([^`]+)`", _advice_on_ignored_files())
    assert any(fnmatch.fnmatchcase(left.name, pattern) for pattern in patterns)


def _advice_on_ignored_files():
    page = (DOCS / "own-repository.md").read_text(encoding="utf-8")
    (advice,) = [part for part in page.split("\n\n") if "`.gitignore`" in part]
    return advice


def test_an_unknown_budget_is_reported_when_the_matrix_is_planned(pytester, run_here, repository):
    wrong = run_here("-p", "stn_core.suite.plugin", "--stn-budget", "acme_comit")
    assert wrong.ret == pytest.ExitCode.INTERRUPTED
    wrong.stdout.fnmatch_lines(["unknown budget 'acme_comit'; did you mean acme_commit?"])
