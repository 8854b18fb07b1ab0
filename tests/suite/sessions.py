"""Sessions of the suite in a temporary folder, with small models."""

import subprocess
import sys

import pandas as pd

MODELS = """
import glob, os, shutil, signal, warnings
import torch
from torch import nn
from stn_core.models import register_model

@register_model
def tiny(in_shape, num_classes):
    channels, height, width = in_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, num_classes))

@register_model
def small(in_shape, num_classes):
    channels, height, width = in_shape
    hidden = nn.Linear(channels * height * width, 16)
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(16, num_classes))

@register_model
def tiny_that_warns(in_shape, num_classes):
    warnings.warn("old fashioned")
    return tiny(in_shape, num_classes)

@register_model
def fragile(in_shape, num_classes):
    raise RuntimeError("made of glass")

@register_model
def moody(in_shape, num_classes):
    if not os.path.exists("good_weather"):
        raise RuntimeError("in a mood")
    return tiny(in_shape, num_classes)

@register_model
def deadly(in_shape, num_classes):
    (plan,) = glob.glob("results/*/session.json")
    shutil.copy2(plan, "core.1234")  # with its time
    os.kill(os.getpid(), signal.SIGKILL)

class Slow(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        import time
        time.sleep(0.2)
        return self.network(images)

@register_model
def slow(in_shape, num_classes):
    return Slow(tiny(in_shape, num_classes))
"""
GATE = """
import pytest


def test_accuracy(cell, train_and_judge):
    judgement = train_and_judge(cell)
    if not judgement.verdict.passes:
        pytest.fail(judgement.line, pytrace=False)
"""


def session(*arguments):
    """The arguments of a session of the suite with these models."""
    plugin = [
        "-p",
        "stn_core.suite.short_options",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",  # of the tests here some are about the order of a session's cells
        "--device",
        "cpu",
        "--no-report",
    ]
    return [*plugin, "--import", "my_models", *arguments]


def command(*arguments):
    """The command line of a session, for a process of its own that may be killed."""
    return [sys.executable, "-m", "pytest", *session(*arguments)]


def git(folder, *arguments):
    """What git says in a folder, with an identity of its own."""
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True).stdout


def commit(folder):
    """Commit all there is, in a repository that is made where there is none."""
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "a change")


def exactly(*names, dataset="digits"):
    """A -k expression for these models on one dataset and no other."""
    return " or ".join(f"{dataset}-{name}]" for name in names)


def select(*names, dataset="digits"):
    """The test items of these models."""
    return [f"test_bench.py::test_accuracy[{dataset}-{name}]" for name in names]


def folders(pytester):
    """The folders of the sessions that have a plan."""
    return sorted(path.parent for path in pytester.path.glob("results/*/session.json"))


def contents(folder):
    """What is in every file of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tables(folder):
    """What a session's table says that a clock has no part in."""
    frame = pd.read_csv(folder / "table.csv")
    timeless = frame.drop(columns=["seconds_per_epoch", "images_per_second"])
    return timeless.astype(str).to_dict("records")
