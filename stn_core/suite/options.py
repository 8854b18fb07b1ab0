"""The suite's command line, and what it means as plain data."""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stn_core.errors import UsageError, unknown_name
from stn_core.recipe import PREDECESSOR, Recipe, get_budget, parse_setting

RECIPES = ("fast", "predecessor")

# option, environment variable, help; in the order of --help
_TEXT_OPTIONS = (
    ("--device", "STN_DEVICE", "auto (default), cpu, cuda, cuda:N or mps"),
    ("--budget", "STN_BUDGET", "smoke (default), quick or full"),
    ("--dataset", "STN_DATASET", "datasets to run, comma-separated (default: the budget's)"),
    ("--seeds", "STN_SEEDS", "how many seeds a cell, or which: 5, 10-14, 0,3,7"),
    ("--data-root", "STN_DATA", "the folder of the datasets that are not embedded"),
    ("--baselines", "STN_BASELINES", "the baselines file (default: baselines.json)"),
    ("--results-dir", "STN_RESULTS", "where the dated results folders go (default: results)"),
    ("--threads", "STN_THREADS", "torch's threads a process (default: 1)"),
    ("--import", "STN_IMPORT", "modules or files that register models, comma-separated"),
)
_FLAGS = (
    ("--download", "fetch datasets that are missing"),
    ("--update-baselines", "write the measured values into the baselines file"),
    ("--final", "spend the test set on an overridden recipe"),
)
_OVERRIDES = (
    ("--epochs", "epochs"),
    ("--batch-size", "batch_size"),
    ("--lr", "learning_rate"),
    ("--optimizer", "optimizer"),
    ("--patience", "patience"),
    ("--min-delta", "min_delta"),
)


def add_options(parser: pytest.Parser) -> None:
    """Declare the options; each text option falls back on an environment variable."""
    group = parser.getgroup("stn_core", "benchmarks of spatial transformers")
    for option, variable, text in _TEXT_OPTIONS:
        group.addoption(
            option, default=os.environ.get(variable), help=f"{text} [environment: {variable}]"
        )
    for option, text in _FLAGS:
        group.addoption(option, action="store_true", help=text)
    group.addoption("--recipe", help="fast (default, the budget's own) or predecessor")
    for option, name in _OVERRIDES:
        group.addoption(option, help=f"override the recipe's {name} (a search, not a result)")
    group.addoption(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override a recipe field"
    )


@dataclass(frozen=True)
class SuiteOptions:
    """What a session was asked to do.

    Args:
        device: as the user wrote it.
        budget: a known budget.
        datasets: names, not yet looked up.
        seeds: of every cell.
        data_root: the datasets' folder, None where nobody named one.
        download, update_baselines, final: the flags.
        baselines: the file.
        results: this session's own dated folder; made when the first cell is planned.
        threads: torch's.
        imports: modules or files.
        recipe_name: "fast" or "predecessor".
        overrides: recipe fields that the command line changes.
    """

    device: str
    budget: str
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    data_root: str | None
    download: bool
    update_baselines: bool
    final: bool
    baselines: Path
    results: Path
    threads: int
    imports: tuple[str, ...]
    recipe_name: str
    overrides: dict[str, Any]

    @property
    def is_search(self) -> bool:
        """Whether the shipped recipes are overridden."""
        return self.recipe_name != "fast" or bool(self.overrides)

    def recipe(self, dataset: str, family: str) -> Recipe:
        """The recipe of a cell, overrides included."""
        shipped = get_budget(self.budget).recipe_for(dataset, family)
        return (PREDECESSOR if self.recipe_name == "predecessor" else shipped).replace(
            self.overrides
        )


def read_options(config: pytest.Config) -> SuiteOptions:
    """The options of a pytest session, checked as far as that needs neither torch nor data.

    Raises:
        UsageError: one of them makes no sense.
    """
    budget = get_budget(config.getoption("--budget") or "smoke")
    recipe_name = config.getoption("--recipe") or "fast"
    if recipe_name not in RECIPES:
        raise unknown_name("recipe", recipe_name, RECIPES)
    options = SuiteOptions(
        device=config.getoption("--device") or "auto",
        budget=budget.name,
        datasets=_names(config.getoption("--dataset")) or budget.datasets,
        seeds=parse_seeds(config.getoption("--seeds") or str(budget.seeds)),
        data_root=config.getoption("--data-root"),
        download=config.getoption("--download"),
        update_baselines=config.getoption("--update-baselines"),
        final=config.getoption("--final"),
        baselines=_path(config, "--baselines", "baselines.json"),
        results=_results_folder(config),
        threads=thread_count(config),
        imports=_names(config.getoption("--import")),
        recipe_name=recipe_name,
        overrides=_overrides(config),
    )
    if options.is_search and options.update_baselines:
        raise UsageError("--update-baselines takes the shipped recipes: drop the overrides")
    return options


def _path(config: pytest.Config, option: str, default: str) -> Path:
    """What the user wrote, from where the user stood; the default, from the root of the tests."""
    given = config.getoption(option)
    return config.invocation_params.dir / given if given else config.rootpath / default


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as a count ("5" is 0 to 4), a range ("10-14") or a list with a comma ("3,", "0,3,7").

    Raises:
        UsageError: the text is none of these, or names a seed twice or no seed.
    """
    seeds: list[int] = []
    if re.fullmatch(r"\d+", text):
        seeds = list(range(int(text)))
    elif re.fullmatch(r"(\d+(-\d+)?,)*(\d+(-\d+)?)?", text):
        for part in _names(text):
            first, _, last = part.partition("-")
            seeds += range(int(first), int(last or first) + 1)
    if not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds takes a count or a list such as 5, 10-14 or 0,3,7; not {text!r}")
    return tuple(seeds)


def thread_count(config: pytest.Config) -> int:
    """How many threads torch may use in each process.

    Raises:
        UsageError: --threads is no whole number from 1.
    """
    text = config.getoption("--threads") or "1"
    if not re.fullmatch(r"[1-9]\d*", text):
        raise UsageError(f"--threads takes a whole number from 1, not {text!r}")
    return int(text)


def _overrides(config: pytest.Config) -> dict[str, Any]:
    settings = [
        f"{name}={config.getoption(option)}"
        for option, name in _OVERRIDES
        if config.getoption(option) is not None
    ]
    overrides = dict(parse_setting(text) for text in [*settings, *config.getoption("--set")])
    Recipe().replace(overrides)
    return overrides


def _results_folder(config: pytest.Config) -> Path:
    """The session's folder; under xdist the first process names it and the workers are told."""
    workerinput = getattr(config, "workerinput", None)
    if workerinput:
        return Path(workerinput["stn_results"])
    parent = _path(config, "--results-dir", "results")
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder = parent / now
    taken = 1
    while folder.exists():
        taken += 1
        folder = parent / f"{now}_{taken}"
    return folder
