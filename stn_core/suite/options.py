"""The command line: every option declared once, with the function that reads its value.

Importing this costs next to nothing: it happens in every session of every project that has the
package installed. The file is long because most of it is a table.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stn_core.errors import UsageError, user_path
from stn_core.registry import split_names

PREFIX = "stn-"
SHORT_NAMES_PLUGIN = "stn_core.suite.short_options"
MOST_SEEDS = 1000
CORE_MARKER = "core: one of the models that `make bench` runs"
XDIST_SESSION = pytest.StashKey[str]()
"""xdist's name of the session, in its first process."""


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds as a count ("5" is 0 to 4), a range ("10-14") or a list with a comma ("3,", "0,3,7").

    Raises:
        UsageError: the text is none of these, or names a seed twice or no seed.
    """
    seeds: list[int] = []
    if re.fullmatch(r"\d+", text):
        seeds = list(range(min(int(text), MOST_SEEDS + 1)))
    elif re.fullmatch(r"(\d+(-\d+)?,)*(\d+(-\d+)?)?", text):
        for part in _parts(text):
            first, _, last = part.partition("-")
            end = min(int(last or first), int(first) + MOST_SEEDS)
            seeds += range(int(first), end + 1)
    if not 0 < len(seeds) <= MOST_SEEDS or len(set(seeds)) < len(seeds):
        raise UsageError(f"expected a count or a list such as 5, 10-14 or 0,3,7, not {text!r}")
    return tuple(seeds)


def read_shard(text: str) -> tuple[int, int]:
    """A share of the cells, "2/3", as (2, 3).

    Raises:
        UsageError: the text is not of that form, or names a share that does not exist.
    """
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if not match or int(match[1]) > int(match[2]):
        raise UsageError(f"expected K/N with K from 1 to N, such as 2/3, not {text!r}")
    return int(match[1]), int(match[2])


def _read_names(text: str) -> tuple[str, ...]:
    return tuple(split_names(text))


def _parts(text: str) -> list[str]:
    """Paths or seeds separated by commas; brackets mean nothing in them."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_threads(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise UsageError(f"expected a whole number from 1, not {text!r}")
    return int(text)


def _read_points(text: str) -> float:
    try:
        points = float(text)
    except ValueError:
        points = -1.0
    if not 0 <= points < 100:
        raise UsageError(f"expected points of accuracy from 0 to 100, not {text!r}")
    return points


def _read_path(text: str) -> str:
    """A path as plain text: values of options travel to other processes."""
    return str(user_path(text))


def _read_paths(text: str) -> tuple[str, ...]:
    paths = tuple(map(_read_path, _parts(text)))
    if not paths:
        raise UsageError("expected a file or a folder")
    return paths


def _read_imports(text: str) -> tuple[str, ...]:
    return tuple(_read_path(name) if name.endswith(".py") else name for name in _parts(text))


def _read_setting(text: str) -> tuple[str, Any]:
    from stn_core.session.recipe import parse_setting

    return parse_setting(text)


def _field(name: str) -> Callable[[str], Any]:
    """What reads the value of one field of a recipe."""
    return lambda text: _read_setting(f"{name}={text}")[1]


def _read_recipe(text: str) -> str:
    if text not in RECIPES:
        raise UsageError(f"expected {' or '.join(RECIPES)}, not {text!r}")
    return text


RECIPES = ("fast", "predecessor")


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    Args:
        name: without dashes and prefix, "budget".
        help: what it does, for ``--help``.
        read: makes its value of what was written; None for a flag.
        metavar: stands for the value in ``--help``.
        variable: the environment variable that counts where the option is not given.
        field: the field of the recipe that it overrides.
        repeats: may be given several times.
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
        """Where pytest keeps the value."""
        return (PREFIX + self.name).replace("-", "_")

    def declare(self, group: pytest.OptionGroup, prefixes: Sequence[str], hidden: bool) -> None:
        """Add the option to a group, under a name for each prefix."""
        text = f"{self.help} [environment: {self.variable}]" if self.variable else self.help
        attributes: dict[str, Any] = {"dest": self.destination}
        attributes["help"] = argparse.SUPPRESS if hidden else text
        if self.read is None:
            attributes |= {"action": "store_true"}
        else:
            attributes |= {"type": _converter(self.read), "metavar": self.metavar}
            attributes |= {"action": "append" if self.repeats else "store", "default": None}
        group.addoption(*(f"--{prefix}{self.name}" for prefix in prefixes), **attributes)


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
    return Option(name, f"override the recipe's {field}", _field(field), metavar, variable, field)


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
            _read_names,
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
            _read_imports,
            "NAMES",
            "STN_IMPORT",
        ),
        Option(
            "shard", "run only the K-th of N shares of the cells", read_shard, "K/N", "STN_SHARD"
        ),
        Option(
            "resume",
            "train only what an earlier session lacks: its results folder, or 'last'",
            _read_path,
            "FOLDER",
            "STN_RESUME",
        ),
        Option(
            "from-records",
            "train nothing and judge these records files or results folders, comma-separated",
            _read_paths,
            "PATHS",
            "STN_FROM_RECORDS",
        ),
        Option("plan", "show cells, seeds and expected time; train nothing"),
    ),
    "where": (
        Option("device", "auto (default), cpu, cuda, cuda:N or mps", str, "NAME", "STN_DEVICE"),
        Option(
            "threads", "torch's threads per process (default: 1)", _read_threads, "N", "STN_THREADS"
        ),
        Option(
            "data-root",
            "the folder of the datasets that are not part of the package",
            _read_path,
            "FOLDER",
            "STN_DATA",
        ),
        Option("download", "download missing datasets into the data root"),
    ),
    "judging": (
        Option(
            "baselines",
            "the baselines file (default: baselines.json)",
            _read_path,
            "FILE",
            "STN_BASELINES",
        ),
        Option("update-baselines", "write the measured values into the baselines file"),
        Option("drop-vanished", "remove baselines whose model or dataset is gone; train nothing"),
        Option(
            "min-drop",
            "the smallest drop of accuracy, in points, that can fail (default: 0.3)",
            _read_points,
            "POINTS",
            "STN_MIN_DROP",
        ),
        Option("gate-speed", "fail a cell that trains more slowly than before on the same device"),
        Option("no-identical", "use statistics even where a run repeats the stored one exactly"),
        Option(
            "digest-cache",
            "a file of digests that count as stored ones",
            _read_path,
            "FILE",
            "STN_DIGEST_CACHE",
        ),
        Option("update-digests", "write this session's digests into the cache, if it passes"),
    ),
    "searching (an overridden recipe is judged on validation images and compared with nothing)": (
        Option(
            "recipe",
            "fast (default, the budget's own) or predecessor",
            _read_recipe,
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
            "set", "override any field of the recipe", _read_setting, "FIELD=VALUE", repeats=True
        ),
        Option("final", "also evaluate an overridden recipe on the test set"),
    ),
    "results": (
        Option(
            "results-dir",
            "where each session makes its results folder (default: results)",
            _read_path,
            "FOLDER",
            "STN_RESULTS",
        ),
        Option("save-models", "keep the trained model of every run"),
        Option("tensorboard", "write event files for TensorBoard"),
        Option("no-report", "write no report.html and no figures/"),
    ),
}
OPTIONS = {option.name: option for options in GROUPS.values() for option in options}
_SPELLING = re.compile(rf"(?<![\w-])--({'|'.join(map(re.escape, OPTIONS))})(?![\w-])")


def declare_options(
    parser: pytest.Parser, prefixes: Sequence[str], *, hidden: bool = False
) -> None:
    """Declare every option, in groups for ``--help``.

    Args:
        parser: pytest's.
        prefixes: an option has a name for each of them: "stn-", "".
        hidden: whether ``--help`` leaves these names out.
    """
    after = None
    for title, options in GROUPS.items():
        name = f"stn_core: {title}"
        group = parser.getgroup(name, name, after=after)
        after = name
        for option in options:
            option.declare(group, prefixes, hidden)


def clash_line(error: Exception) -> str:
    """What to do about an option that another plugin or a conftest.py has too, "" if none is ours.

    Args:
        error: what pytest or argparse says of it.
    """
    named = re.search(rf"--({PREFIX})?({'|'.join(map(re.escape, OPTIONS))})(?![\w-])", str(error))
    if not named:
        return ""
    if named[1]:
        return f"{named[0]} is an option of stn_core: give yours another name"
    return (
        f"{named[0]} is an option of {SHORT_NAMES_PLUGIN} and of another plugin or conftest.py:"
        f" leave out '-p {SHORT_NAMES_PLUGIN}' and write --{PREFIX}{named[2]}, or rename the other"
    )


def respelled(text: str, config: pytest.Config) -> str:
    """A message with the options in it spelled as the session offers them."""
    if config.pluginmanager.hasplugin(SHORT_NAMES_PLUGIN):
        return text
    return _SPELLING.sub(rf"--{PREFIX}\1", text)


class CommandLine:
    """What a session was given: on the command line, in a configuration file, or as a variable.

    Args:
        config: pytest's.
        environment: variables that count where an option is not given.
    """

    def __init__(self, config: pytest.Config, environment: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._environment = os.environ if environment is None else environment

    def __getitem__(self, name: str) -> Any:
        """The value of an option; None, or False of a flag, where it was not given.

        Raises:
            UsageError: the environment variable that stands for it cannot be read.
        """
        option = OPTIONS[name]
        value = self._config.getoption(option.destination)
        text = self._environment.get(option.variable, "")
        if value is not None or option.read is None or not text:
            return value
        try:
            return option.read(text)
        except UsageError as error:
            raise UsageError(f"{option.variable}: {error}") from None

    @property
    def default_folder(self) -> Path:
        """Where results and baselines go unless an option says otherwise."""
        return self._config.rootpath

    @property
    def start_time(self) -> str:
        """When the session began."""
        return start_time(self._config)

    @property
    def given(self) -> bool:
        """Whether any option was given, variables aside."""
        values = (self._config.getoption(option.destination) for option in OPTIONS.values())
        return any(value not in (None, False) for value in values)

    def folder(self, name: str) -> Path:
        """Where what an option names is looked for: where the user stands, for what the user wrote.

        What a configuration file names is looked for beside that file, wherever the user stands.
        """
        config = self._config
        written = config.getoption(OPTIONS[name].destination) is not None
        if written and name not in options_by_hand(config):
            return config.inipath.parent if config.inipath else config.rootpath
        return config.invocation_params.dir

    def path(self, name: str) -> Path | None:
        """The path that an option names, None where it was not given."""
        value = self[name]
        return self.folder(name) / value if value else None


def options_by_hand(config: pytest.Config) -> list[str]:
    """The options that stand in the command itself, or in PYTEST_ADDOPTS; the same in a worker."""
    told: list[str] | None = getattr(config, "workerinput", {}).get("stn_options_by_hand")
    if told is not None:
        return told
    words = [str(word) for word in config.invocation_params.args]
    words += shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    written = {word.partition("=")[0] for word in words}
    return [name for name in OPTIONS if written & {f"--{name}", f"--{PREFIX}{name}"}]


def start_time(config: pytest.Config) -> str:
    """When the session began, as its results folder is called; the same in a worker."""
    told: str | None = getattr(config, "workerinput", {}).get("stn_start_time")
    return told or datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
