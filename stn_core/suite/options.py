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
MOST_SEEDS = 1000

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
    for option, name in (("--recipe", "recipe"), *_OVERRIDES):
        variable = f"STN_{name.upper()}"
        text = f"override the recipe's {name} (a search, not a result)"
        if option == "--recipe":
            text = f"{RECIPES[0]} (default, the budget's own) or {RECIPES[1]}"
        group.addoption(
            option, default=os.environ.get(variable), help=f"{text} [environment: {variable}]"
        )
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
        data_root=_expanded(config.getoption("--data-root")),
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
    _check_together(options, named_baselines=bool(config.getoption("--baselines")))
    return options


def _check_together(options: SuiteOptions, *, named_baselines: bool) -> None:
    if len(set(options.datasets)) < len(options.datasets):
        raise UsageError("--dataset names a dataset twice")
    if not options.update_baselines:
        if named_baselines and not options.baselines.is_file():
            raise UsageError(f"--baselines: there is no file {options.baselines}")
        return
    if options.is_search:
        raise UsageError("--update-baselines takes the shipped recipes: drop the overrides")
    if len(options.seeds) < 2:
        raise UsageError("--update-baselines needs two or more seeds")
    if not os.access(options.baselines.parent, os.W_OK):
        raise UsageError(f"--update-baselines: cannot write into {options.baselines.parent}")


def _expanded(path: str | None) -> str | None:
    return str(Path(path).expanduser()) if path else None


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
        seeds = list(range(min(int(text), MOST_SEEDS + 1)))
    elif re.fullmatch(r"(\d+(-\d+)?,)*(\d+(-\d+)?)?", text):
        for part in _names(text):
            first, _, last = part.partition("-")
            end = min(int(last or first), int(first) + MOST_SEEDS)
            seeds += range(int(first), end + 1)
    if not 0 < len(seeds) <= MOST_SEEDS or len(set(seeds)) < len(seeds):
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
