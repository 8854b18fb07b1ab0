"""The options of the command line, each declared once, with the function that reads its value.

Importing this must cost next to nothing: it happens in every session of every project that has the
package installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from stn_core.errors import UsageError
from stn_core.suite.option_values import (
    field_reader,
    read_image_size,
    read_imports,
    read_minutes,
    read_names,
    read_path,
    read_paths,
    read_points,
    read_recipe,
    read_seeds,
    read_setting,
    read_shard,
    read_share,
    read_threads,
)

PREFIX = "stn-"
SHORT_NAMES_PLUGIN = "stn_core.suite.short_options"
CORE_MARKER = "core: one of the models that `make bench` runs"


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    Args:
        name: without dashes and prefix, "budget".
        help: what it does, for ``--help``.
        read: turns its text into its value; None for a flag.
        metavar: stands for the value in ``--help``.
        variable: the environment variable that counts if the option is not given.
        field: the field of the recipe that it overrides.
        repeats: whether it may be given several times.
    """

    name: str
    help: str
    read: Callable[[str], Any] | None = None
    metavar: str = ""
    variable: str = ""
    field: str = ""
    repeats: bool = False

    @property
    def destination(self) -> str:
        """The name under which pytest keeps the value."""
        return (PREFIX + self.name).replace("-", "_")

    def declare(self, group: pytest.OptionGroup, prefix: str) -> None:
        """Add the option to a group; ``--help`` shows its name with our prefix."""
        text = f"{self.help} [environment: {self.variable}]" if self.variable else self.help
        attributes: dict[str, Any] = {"dest": self.destination}
        attributes["help"] = text if prefix else argparse.SUPPRESS
        if self.read is None:
            attributes |= {"action": "store_true"}
        else:
            attributes |= {"type": _converter(self.read), "metavar": self.metavar}
            attributes |= {"action": "append" if self.repeats else "store", "default": None}
        group.addoption(f"--{prefix}{self.name}", **attributes)


def _converter(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A `read` whose error argparse shows as it is."""

    def convert(text: str) -> Any:
        try:
            return read(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _override(name: str, field: str, metavar: str) -> Option:
    variable = f"STN_{field.upper()}"
    return Option(
        name, f"override the recipe's {field}", field_reader(field), metavar, variable, field
    )


GROUPS: dict[str, tuple[Option, ...]] = {
    "what to run": (
        Option(
            "budget",
            "how much training: smoke (default), quick, full, predecessor, or one that --import"
            " registers",
            str,
            "NAME",
            "STN_BUDGET",
        ),
        Option(
            "dataset",
            "datasets to run, comma-separated (default: the budget's)",
            read_names,
            "NAMES",
            "STN_DATASET",
        ),
        Option(
            "model",
            "models to run, comma-separated, with options in brackets: 'stn[warp=tps],cnn'"
            " (default: all that fit the datasets)",
            str,
            "NAMES",
            "STN_MODEL",
        ),
        Option(
            "cells",
            "a TOML file of cells to run, instead of --dataset and --model",
            read_path,
            "FILE",
            "STN_CELLS",
        ),
        Option(
            "seeds",
            "exactly this many seeds per cell, or these: 5, 10-14 or 0,3,7 (default: as many as"
            " the verdict needs)",
            read_seeds,
            "SEEDS",
            "STN_SEEDS",
        ),
        Option(
            "import",
            "modules or files that register models, datasets and budgets, comma-separated",
            read_imports,
            "NAMES",
            "STN_IMPORT",
        ),
        Option(
            "shard", "run only the K-th of N shares of the cells", read_shard, "K/N", "STN_SHARD"
        ),
        Option(
            "resume",
            "train only what an earlier session lacks: its results folder, or 'last'",
            read_path,
            "FOLDER",
            "STN_RESUME",
        ),
        Option(
            "from-records",
            "judge these files of records or results folders, comma-separated, and train nothing",
            read_paths,
            "PATHS",
            "STN_FROM_RECORDS",
        ),
        Option(
            "minutes",
            "only start runs that should end within N minutes; --resume last continues",
            read_minutes,
            "N",
            "STN_MINUTES",
        ),
        Option("plan", "show cells, seeds and expected time; train nothing"),
        Option(
            "train",
            "with -m claims: train the runs that the claims lack, up to 5 seeds (or --seeds) per"
            " cell",
        ),
    ),
    "where to run": (
        Option("device", "auto (default), cpu, cuda, cuda:N or mps", str, "NAME", "STN_DEVICE"),
        Option(
            "threads", "torch's threads per process (default: 1)", read_threads, "N", "STN_THREADS"
        ),
        Option(
            "data-root",
            "the folder of the datasets that are not part of the package",
            read_path,
            "FOLDER",
            "STN_DATA",
        ),
        Option("download", "download missing datasets into the data root"),
        Option(
            "image-size",
            "resize the images of a folder to N or HxW pixels (default: keep their size)",
            read_image_size,
            "N",
            "STN_IMAGE_SIZE",
        ),
        Option(
            "ray",
            "compute the runs on a Ray cluster: its address, auto (the one this machine belongs to)"
            " or local (one that is started here for this session)",
            str,
            "ADDRESS",
            "STN_RAY",
        ),
        Option(
            "ray-gpus",
            "the share of a GPU that a run on Ray takes (default: as the GPUs' memory allows)",
            read_share,
            "SHARE",
            "STN_RAY_GPUS",
        ),
        Option(
            "ray-working-dir",
            "a folder with code that Ray copies to every node (default: none)",
            read_path,
            "FOLDER",
            "STN_RAY_WORKING_DIR",
        ),
    ),
    "judging": (
        Option(
            "baselines",
            "the baselines file (default: baselines.json)",
            read_path,
            "FILE",
            "STN_BASELINES",
        ),
        Option("update-baselines", "write the measured values into the baselines file"),
        Option("drop-vanished", "remove baselines whose model or dataset is gone; train nothing"),
        Option(
            "min-drop",
            "the smallest drop in accuracy, in points, that can fail (default: 0.3)",
            read_points,
            "POINTS",
            "STN_MIN_DROP",
        ),
        Option(
            "gate-metrics",
            "metrics that can fail a cell besides accuracy and loss, comma-separated:"
            " balanced_accuracy, worst_class_recall, macro_auc, calibration_error, invariance,"
            " misplaced_pixels, or your own",
            read_names,
            "NAMES",
            "STN_GATE_METRICS",
        ),
        Option(
            "must-detect",
            "fail a cell that could not have shown a drop of this many points",
            read_points,
            "POINTS",
            "STN_MUST_DETECT",
        ),
        Option(
            "against",
            "compare with this branch, tag or commit, trained beside the working tree, instead of"
            " with stored baselines",
            str,
            "REV",
            "STN_AGAINST",
        ),
        Option(
            "against-cache",
            "a folder that keeps the runs of --against, or without --against those of this session",
            read_path,
            "FOLDER",
            "STN_AGAINST_CACHE",
        ),
        Option("gate-speed", "fail a cell that trains more slowly than before on the same device"),
        Option("no-identical", "use statistics even if a run repeats the stored one exactly"),
        Option(
            "digest-cache",
            "a file of digests that count like those of the baselines",
            read_path,
            "FILE",
            "STN_DIGEST_CACHE",
        ),
        Option("update-digests", "write the digests of the cells that passed into the cache"),
    ),
    "searching (an overridden recipe is measured on validation images and not judged)": (
        Option(
            "recipe",
            "fast (default, the budget's own) or predecessor",
            read_recipe,
            "NAME",
            "STN_RECIPE",
        ),
        _override("epochs", "epochs", "N"),
        _override("batch-size", "batch_size", "N"),
        _override("lr", "learning_rate", "RATE"),
        _override("optimizer", "optimizer", "NAME"),
        _override("patience", "patience", "N"),
        _override("min-delta", "min_delta", "LOSS"),
        Option(
            "set", "override any field of the recipe", read_setting, "FIELD=VALUE", repeats=True
        ),
        Option("final", "also evaluate an overridden recipe on the test set"),
    ),
    "results": (
        Option(
            "results-dir",
            "the folder in which each session creates its own (default: results)",
            read_path,
            "FOLDER",
            "STN_RESULTS",
        ),
        Option("save-models", "keep the trained model of every run"),
        Option("tensorboard", "write event files for TensorBoard"),
        Option("no-report", "write no report.html and no figures/"),
    ),
}
OPTIONS = {option.name: option for options in GROUPS.values() for option in options}


def declare_options(parser: pytest.Parser, prefix: str) -> None:
    """Declare every option, in groups for ``--help``.

    Args:
        parser: pytest's.
        prefix: of the names: "stn-", or "" for the short ones.

    Raises:
        argparse.ArgumentError: another option has one of the names.
    """
    after = None
    for title, options in GROUPS.items():
        name = f"stn_core: {title}"
        group = parser.getgroup(name, name, after=after)
        after = name
        for option in options:
            option.declare(group, prefix)
