"""The gate in a repository of one's own: its package, its model, its dataset, its baselines."""

import json
import sys

import pytest

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
CONFIGURATION = """
[tool.pytest.ini_options]
testpaths = ["gate"]
addopts = "-p stn_core.suite.short_options --import acme --dataset acme_stripes -k acme_net"
"""
CONFTEST = """
def pytest_report_header():
    return "acme's own conftest was read"
"""


@pytest.fixture
def repository(pytester):
    """A committed repository that has nothing of this one but the installed package."""
    files = {
        "acme/__init__.py": "from acme import data, models\n",
        "acme/data.py": DATA,
        "acme/models.py": MODELS,
        "gate/test_accuracy.py": GATE,
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


def test_the_gate_catches_a_regression_of_a_foreign_model(pytester, run_here, repository):
    python = (sys.executable, "-m", "pytest", "--device", "cpu")
    measured = pytester.run(*python, "--update-baselines", "--seeds", "8", timeout=600)
    assert measured.ret == 0
    measured.stdout.fnmatch_lines(["acme's own conftest was read", "1 cell,*: 1 NEW"])
    stored = json.loads((repository / "baselines.json").read_text())
    assert list(stored["cells"]) == ["smoke/acme_stripes/acme_net"]
    assert stored["cells"]["smoke/acme_stripes/acme_net"]["commit"] == (
        git(repository, "rev-parse", "HEAD").strip()
    )
    commit(repository)
    assert git(repository, "show", "--name-only", "--format=").split() == ["baselines.json"]

    unchanged = run_here("--device", "cpu")
    assert unchanged.ret == 0
    unchanged.stdout.fnmatch_lines(["1 cell,*: 1 PASS (identical)*"])

    models = repository / "acme" / "models.py"
    models.write_text(MODELS.replace("KERNEL_SIZE = 3", "KERNEL_SIZE = 1"))  # sees no direction
    commit(repository)
    worse = run_here("--device", "cpu")
    assert worse.ret == 1
    worse.stdout.fnmatch_lines(
        ["REGRESSED  smoke/acme_stripes/acme_net: *", "1 cell,*: 1 REGRESSED*"]
    )
    worse.stdout.no_fnmatch_line("*Traceback*")
