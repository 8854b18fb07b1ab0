"""The suite's command line, and what it means as plain data."""

from __future__ import annotations

import datetime
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stn_core.errors import UsageError, require_package, unknown_name
from stn_core.gate.metrics import MIN_DROP_POINTS
from stn_core.session.budgets import PREDECESSOR, Budget, get_budget
from stn_core.session.file_names import PLAN_FILE, RECORDS_FILE
from stn_core.session.recipe import Recipe, parse_setting

RECIPES = ("fast", "predecessor")
MOST_SEEDS = 1000

# option, environment variable, help; in the order of --help
_TEXT_OPTIONS = (
    ("--device", "STN_DEVICE", "auto (default), cpu, cuda, cuda:N or mps"),
    ("--budget", "STN_BUDGET", "smoke (default), quick, full or predecessor"),
    ("--dataset", "STN_DATASET", "datasets to run, comma-separated (default: the budget's)"),
    (
        "--seeds",
        "STN_SEEDS",
        "exactly so many seeds a cell, or which: 5, 10-14, 0,3,7 (default: as many as the answer"
        " needs)",
    ),
    ("--data-root", "STN_DATA", "the folder of the datasets that are not embedded"),
    ("--baselines", "STN_BASELINES", "the baselines file (default: baselines.json)"),
    ("--results-dir", "STN_RESULTS", "where the dated results folders go (default: results)"),
    ("--threads", "STN_THREADS", "torch's threads a process (default: 1)"),
    ("--import", "STN_IMPORT", "modules or files that register models, comma-separated"),
    ("--min-drop", "STN_MIN_DROP", "the smallest drop in points that can fail (default: 0.3)"),
    ("--digest-cache", "STN_DIGEST_CACHE", "a file of digests that count as stored ones"),
    ("--resume", "STN_RESUME", "a results folder, or 'last': train only what it lacks"),
    (
        "--from-records",
        "STN_FROM_RECORDS",
        "records files or results folders: judge, train nothing",
    ),
    ("--shard", "STN_SHARD", "K/N: only the K-th of N shares of the cells"),
)
_FLAGS = (
    ("--download", "fetch datasets that are missing"),
    ("--update-baselines", "write the measured values into the baselines file"),
    ("--drop-vanished", "drop baselines whose model or dataset is gone; train nothing"),
    ("--update-digests", "write the digests of this session into --digest-cache, if it passes"),
    ("--final", "spend the test set on an overridden recipe"),
    ("--save-models", "keep every run's trained model in the results folder"),
    ("--tensorboard", "write each run into the results folder, for TensorBoard to show"),
    ("--no-identical", "let statistics decide even where a run repeats the stored one"),
    ("--gate-speed", "fail a cell that trains more slowly than on the same device before"),
    ("--no-report", "write no report.html and no figures/"),
    ("--plan", "show cells, seeds and expected time; train nothing"),
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
            option,
            default=os.environ.get(variable) or None,
            help=f"{text} [environment: {variable}]",
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
        seeds: of every cell, in the order in which they are spent.
        looks: after how many of them a cell is looked at.
        names_seeds: whether the user asked for exactly these seeds.
        data_root: the datasets' folder, None where nobody named one.
        download, update_baselines, drop_vanished, update_digests, final, save_models: flags.
        tensorboard: whether TensorBoard is to show each run.
        settles_identical: a run that repeats the stored one settles its cell.
        gates_speed: a slower training fails.
        writes_report: report.html is written at the end.
        min_drop_points: a smaller drop never fails.
        baselines: the file.
        digest_cache: the file, None without one.
        results: this session's folder; its own from when it is claimed, maybe by another name.
        resumes: whether that folder holds an earlier session's records.
        from_records: files of records that are judged instead of training.
        shard: (K, N), the K-th of N shares; (1, 1) is everything.
        threads: torch's.
        imports: modules or files.
        recipe_name: "fast" or "predecessor".
        overrides: recipe fields that the command line changes.
    """

    device: str
    budget: str
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    names_seeds: bool
    data_root: str | None
    download: bool
    update_baselines: bool
    drop_vanished: bool
    update_digests: bool
    final: bool
    save_models: bool
    tensorboard: bool
    settles_identical: bool
    gates_speed: bool
    writes_report: bool
    min_drop_points: float
    baselines: Path
    digest_cache: Path | None
    results: Path
    resumes: bool
    from_records: tuple[Path, ...]
    shard: tuple[int, int]
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
    seeds, looks = _seeds_and_looks(config, budget)
    options = SuiteOptions(
        device=config.getoption("--device") or "auto",
        budget=budget.name,
        datasets=_names(config.getoption("--dataset")) or budget.datasets,
        seeds=seeds,
        looks=looks,
        names_seeds=bool(config.getoption("--seeds")),
        data_root=_expanded(config.getoption("--data-root")),
        download=config.getoption("--download"),
        update_baselines=config.getoption("--update-baselines"),
        drop_vanished=config.getoption("--drop-vanished"),
        update_digests=config.getoption("--update-digests"),
        final=config.getoption("--final"),
        save_models=config.getoption("--save-models"),
        tensorboard=config.getoption("--tensorboard"),
        settles_identical=not config.getoption("--no-identical"),
        gates_speed=config.getoption("--gate-speed"),
        writes_report=not config.getoption("--no-report"),
        min_drop_points=_points(config.getoption("--min-drop")),
        baselines=_given_path(config, "--baselines") or config.rootpath / "baselines.json",
        digest_cache=_given_path(config, "--digest-cache"),
        results=_results_folder(config),
        resumes=bool(config.getoption("--resume")),
        from_records=_records_files(config),
        shard=parse_shard(config.getoption("--shard") or "1/1"),
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
    if options.update_digests:
        _check_digest_cache(options.digest_cache)
    if options.from_records and options.resumes:
        raise UsageError("--from-records trains nothing, so there is nothing to --resume")
    if options.from_records and options.save_models:
        raise UsageError("--from-records trains nothing, so there is no model to --save-models of")
    if options.tensorboard:
        _check_tensorboard(options)
    if options.drop_vanished:
        _check_drop(options)
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


def _check_digest_cache(cache: Path | None) -> None:
    """What will be written can be: told before anything trains."""
    if not cache:
        raise UsageError("--update-digests needs --digest-cache FILE")
    nearest = next(folder for folder in cache.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UsageError(f"--update-digests: cannot write into {nearest}")


def _check_tensorboard(options: SuiteOptions) -> None:
    if options.from_records or options.drop_vanished:
        other = "--from-records" if options.from_records else "--drop-vanished"
        raise UsageError(f"{other} trains nothing, so there is nothing for --tensorboard to show")
    require_package("tensorboard", "--tensorboard", "tensorboard")


def _check_drop(options: SuiteOptions) -> None:
    if options.update_baselines or options.update_digests or options.save_models:
        raise UsageError("--drop-vanished trains nothing that could be written; use it alone")
    if options.is_search:
        raise UsageError("--drop-vanished takes the shipped recipes: drop the overrides")
    if not options.baselines.is_file():
        raise UsageError(f"--drop-vanished: there is no file {options.baselines}")


def _seeds_and_looks(
    config: pytest.Config, budget: Budget
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The seeds that a cell may spend, and after how many it is looked at.

    Seeds that the user names are all run and looked at once; so are a baseline's.
    """
    text = config.getoption("--seeds")
    if not text and not config.getoption("--update-baselines"):
        return tuple(range(budget.looks[-1])), budget.looks
    seeds = parse_seeds(text or str(budget.baseline_seeds))
    return seeds, (len(seeds),)


def _resumed_folder(text: str, invocation_folder: Path, parent: Path) -> Path:
    """The folder that --resume names; the last session is the one that ran last."""
    if text != "last":
        folder = invocation_folder / Path(text).expanduser()
        if not (folder / PLAN_FILE).is_file():
            raise UsageError(f"--resume: {folder} is no session's folder; there is no {PLAN_FILE}")
        return folder
    from stn_core.session.folder import session_folders

    for folder in session_folders(parent):
        if (folder / PLAN_FILE).is_file():
            return folder
    raise UsageError(f"--resume last: there is no session in {parent}")


def _records_files(config: pytest.Config) -> tuple[Path, ...]:
    """The files of --from-records; a folder stands for the records in it."""
    text = config.getoption("--from-records")
    if text is not None and not _names(text):
        raise UsageError("--from-records names no file")
    files = []
    for name in _names(text):
        path = config.invocation_params.dir / Path(name).expanduser()
        path = path / RECORDS_FILE if path.is_dir() else path
        if not path.is_file():
            raise UsageError(f"--from-records: there is no file {path}")
        files.append(path)
    return tuple(files)


def parse_shard(text: str) -> tuple[int, int]:
    """A share of the cells, "2/3", as (2, 3).

    Raises:
        UsageError: the text is not of that form, or names a share that does not exist.
    """
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not match or int(match[1]) > int(match[2]):
        raise UsageError(f"--shard takes K/N with K from 1 to N, such as 2/3; not {text!r}")
    return int(match[1]), int(match[2])


def _points(text: str | None) -> float:
    try:
        points = MIN_DROP_POINTS if text is None else float(text)
    except ValueError:
        points = math.nan
    if not 0 <= points < 100:
        raise UsageError(f"--min-drop takes points of accuracy from 0 to 100, not {text!r}")
    return points


def _given_path(config: pytest.Config, option: str) -> Path | None:
    """What the user wrote, from where the user stood; None where nothing was."""
    given = config.getoption(option)
    return config.invocation_params.dir / Path(given).expanduser() if given else None


def _expanded(path: str | None) -> str | None:
    return str(Path(path).expanduser()) if path else None


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
    """The session's folder; under xdist the first process claims it and the workers are told."""
    workerinput = getattr(config, "workerinput", None)
    if workerinput:
        return Path(workerinput["stn_results"])
    parent = _given_path(config, "--results-dir") or config.rootpath / "results"
    resumed = config.getoption("--resume")
    if resumed:
        return _resumed_folder(resumed, config.invocation_params.dir, parent)
    return parent / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
