"""What a session was asked to do, as plain data, checked together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stn_core.errors import UsageError, is_missing, require_package
from stn_core.session.budgets import PREDECESSOR, Budget, get_budget, list_budgets
from stn_core.session.recipe import Recipe
from stn_core.session.user_modules import import_models
from stn_core.suite.cells_file import CellEntry, read_cells_file
from stn_core.suite.command_line import CommandLine
from stn_core.suite.options import OPTIONS
from stn_core.suite.session_paths import records_files, results_folder, resumed_folder

CLAIMS_CONTINUE = "--resume: claims continue without it; give the same command again"


@dataclass(frozen=True)
class SuiteOptions:
    """What a session was asked to do.

    Args:
        device: as the user wrote it.
        budget: a known budget.
        models: names, not yet looked up, as the user wrote them; "" for all.
        datasets: names, not yet looked up.
        cells: entries of --cells, which replace models × datasets; () without it.
        seeds: of every cell, in the order in which they are run.
        looks: after how many of them a cell is judged.
        names_seeds: whether the user asked for exactly these seeds.
        data_root: the datasets' folder, None if none was named.
        image_size: (height, width) of a folder's images; None keeps their size.
        download, update_baselines, drop_vanished, update_digests, final, save_models: flags.
        tensorboard: whether to write event files for TensorBoard.
        settles_identical: whether a run that repeats the stored one settles its cell.
        gates_speed: whether slower training fails.
        writes_report: whether report.html is written at the end.
        min_drop_points: a smaller drop never fails; None uses the budget's value.
        must_detect_points: a cell that could not have shown such a drop fails; None disables this.
        metrics: other metrics that can fail a cell, not yet looked up.
        minutes: how long the session may start runs; None without a limit.
        against: the commit to compare with, as the user named it; "" for the stored baselines.
        against_cache: the folder that keeps its runs, None without one.
        baselines: the file.
        digest_cache: the file, None without one.
        results: this session's folder; it may get another name when it is claimed.
        resumes: whether that folder holds an earlier session's records.
        from_records: files of records that are judged instead of training.
        shard: (K, N), the K-th of N shares; (1, 1) is everything.
        threads: torch's.
        ray: the address of the Ray cluster that computes the runs, "" without one.
        ray_gpus: the share of a card that a run takes there; None leaves it to the card's memory.
        ray_working_dir: the folder that is copied to its nodes, None to copy nothing.
        imports: modules or files that register the user's models, datasets and budgets.
        recipe_name: "fast" or "predecessor".
        overrides: recipe fields that the command line changes.
    """

    device: str
    budget: str
    models: str
    datasets: tuple[str, ...]
    cells: tuple[CellEntry, ...]
    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    names_seeds: bool
    data_root: str | None
    image_size: tuple[int, int] | None
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
    min_drop_points: float | None
    must_detect_points: float | None
    metrics: tuple[str, ...]
    minutes: float | None
    against: str
    against_cache: Path | None
    baselines: Path
    digest_cache: Path | None
    results: Path
    resumes: bool
    from_records: tuple[Path, ...]
    shard: tuple[int, int]
    threads: int
    ray: str
    ray_gpus: float | None
    ray_working_dir: Path | None
    imports: tuple[str, ...]
    recipe_name: str
    overrides: dict[str, Any]

    @property
    def is_search(self) -> bool:
        """Whether the shipped recipes are overridden."""
        return self.recipe_name != "fast" or bool(self.overrides)

    def recipe(self, dataset: str, family: str, model: str) -> Recipe:
        """The recipe of a cell, overrides included."""
        shipped = get_budget(self.budget).recipe_for(dataset, family, model)
        return (PREDECESSOR if self.recipe_name == "predecessor" else shipped).replace(
            self.overrides
        )


def import_users_modules(config: pytest.Config) -> None:
    """Import what ``--import`` names, so that the models, data and budgets in it are registered.

    Raises:
        UsageError: there is no such module, or it fails to import.
    """
    given = CommandLine(config)
    import_models(given["import"] or (), given.folder("import"))


def read_options(config: pytest.Config) -> SuiteOptions:
    """The options of a pytest session; a budget that is not built in needs the user's modules.

    Raises:
        UsageError: one of them is wrong.
    """
    given = CommandLine(config)
    check_together(given)
    name = given["budget"] or "smoke"
    if name not in list_budgets():
        import_users_modules(config)
    budget = get_budget(name)
    seeds, looks = _seeds_and_looks(given, budget)
    if given["against"] and len(seeds) < 2:
        line = f"--against needs two or more seeds, and the budget {name} has one: use --seeds"
        raise UsageError(line)
    cells = _cells(given)
    named = tuple(dict.fromkeys(cell.dataset for cell in cells)) or given["dataset"]
    root = given.path("data-root")
    return SuiteOptions(
        device=given["device"] or "auto",
        budget=name,
        models=given["model"] or "",
        datasets=named or budget.datasets,
        cells=cells,
        seeds=seeds,
        looks=looks,
        names_seeds=given["seeds"] is not None,
        data_root=str(root) if root else None,
        image_size=given["image-size"],
        download=given["download"],
        update_baselines=given["update-baselines"],
        drop_vanished=given["drop-vanished"],
        update_digests=given["update-digests"],
        final=given["final"],
        save_models=given["save-models"],
        tensorboard=given["tensorboard"],
        settles_identical=not given["no-identical"],
        gates_speed=given["gate-speed"],
        writes_report=not given["no-report"],
        min_drop_points=given["min-drop"],
        must_detect_points=given["must-detect"],
        metrics=given["gate-metrics"] or (),
        minutes=given["minutes"],
        against=given["against"] or "",
        against_cache=given.path("against-cache"),
        baselines=given.path("baselines") or given.default_folder / "baselines.json",
        digest_cache=given.path("digest-cache"),
        results=results_folder(given),
        resumes=given["resume"] is not None,
        from_records=records_files(given),
        shard=given["shard"] or (1, 1),
        threads=given["threads"] or 1,
        ray=given["ray"] or "",
        ray_gpus=given["ray-gpus"],
        ray_working_dir=given.path("ray-working-dir"),
        imports=given["import"] or (),
        recipe_name=given["recipe"] or "fast",
        overrides=_overrides(given),
    )


def check_early(config: pytest.Config) -> None:
    """Check the command line before anything is collected or a worker starts.

    A variable may complete the command line; a wrong one does not matter in a session without
    cells.

    Raises:
        UsageError: options contradict each other, or a file is missing.
    """
    try:
        check_together(CommandLine(config, environment={}))
    except UsageError:
        check_together(CommandLine(config))


def check_together(given: CommandLine) -> None:
    """Check that options fit together and that what they name exists.

    Raises:
        UsageError: they do not fit, or a file or folder does not exist.
    """
    datasets = given["dataset"] or ()
    if len(set(datasets)) < len(datasets):
        raise UsageError("--dataset names a dataset twice")
    Recipe().replace(_overrides(given))
    _cells(given)
    records_files(given)
    if given["train"]:
        _check_train(given)
    if given["resume"]:
        resumed_folder(given)
    if given["update-digests"]:
        _check_digest_cache(given.path("digest-cache"))
    if given["from-records"] and given["resume"]:
        raise UsageError("--from-records trains nothing, so there is nothing to --resume")
    if given["from-records"] and given["save-models"]:
        raise UsageError("--from-records trains nothing, so there is no model to --save-models of")
    if given["ray"]:
        _check_ray(given)
    if given["tensorboard"]:
        _check_tensorboard(given)
    if given["against"]:
        _check_against(given)
    if given["drop-vanished"]:
        _check_drop(given)
    baselines = given.path("baselines")
    if given["update-baselines"]:
        _check_update(given, baselines or given.default_folder / "baselines.json")
    elif baselines and is_missing(baselines):
        raise UsageError(f"--baselines: there is no file {baselines}")


def _cells(given: CommandLine) -> tuple[CellEntry, ...]:
    """The entries of --cells.

    Raises:
        UsageError: there is no such file, an entry is wrong, or --dataset or --model is given too.
    """
    path = given.path("cells")
    if path is None:
        return ()
    for name in ("dataset", "model"):
        if given[name]:
            raise UsageError(f"--cells names datasets and models: drop --{name}")
    return read_cells_file(path)


def _check_against(given: CommandLine) -> None:
    for name in ("from-records", "update-baselines", "drop-vanished", "ray"):
        if given[name]:
            raise UsageError(f"--against compares with what it trains here; drop --{name}")
    if _is_search(given):
        raise UsageError("--against compares the shipped recipes: drop the overrides")
    if given["seeds"] and len(given["seeds"]) < 2:
        raise UsageError("--against needs two or more seeds")


def _check_train(given: CommandLine) -> None:
    if _is_search(given):
        raise UsageError("--train takes the shipped recipes: drop the overrides")
    for name in ("from-records", "ray", "drop-vanished"):
        if given[name]:
            raise UsageError(f"--train trains in this session's own processes; drop --{name}")
    if not given.asks_for_claims:
        raise UsageError("--train trains what claims lack: add -m claims, or leave it out")
    if given["resume"]:
        raise UsageError(CLAIMS_CONTINUE)


def _is_search(given: CommandLine) -> bool:
    is_override = (given["recipe"] or "fast") != "fast" or bool(_overrides(given))
    return is_override or any(cell.recipe for cell in _cells(given))


def _check_update(given: CommandLine, baselines: Path) -> None:
    if _is_search(given):
        raise UsageError("--update-baselines takes the shipped recipes: drop the overrides")
    if given["seeds"] and len(given["seeds"]) < 2:
        raise UsageError("--update-baselines needs two or more seeds")
    if not os.access(baselines.parent, os.W_OK):
        raise UsageError(f"--update-baselines: cannot write into {baselines.parent}")


def _check_digest_cache(cache: Path | None) -> None:
    """Check before anything trains that the digest cache can be written."""
    if not cache:
        raise UsageError("--update-digests needs --digest-cache FILE")
    nearest = next(folder for folder in cache.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UsageError(f"--update-digests: cannot write into {nearest}")


def _check_tensorboard(given: CommandLine) -> None:
    if given["from-records"] or given["drop-vanished"]:
        other = "--from-records" if given["from-records"] else "--drop-vanished"
        raise UsageError(f"{other} trains nothing, so there is nothing for --tensorboard to show")
    require_package("tensorboard", "--tensorboard", "tensorboard")


def _check_ray(given: CommandLine) -> None:
    if given.has_workers:
        raise UsageError(
            "--ray spreads the runs over a cluster; leave out -n, which spreads them over processes"
        )
    require_package("ray", "--ray", "ray")
    folder = given.path("ray-working-dir")
    if folder and not folder.is_dir():
        raise UsageError(f"--ray-working-dir: there is no folder {folder}")


def _check_drop(given: CommandLine) -> None:
    if given["update-baselines"] or given["update-digests"] or given["save-models"]:
        raise UsageError("--drop-vanished trains nothing and so has nothing to write; use it alone")
    if _is_search(given):
        raise UsageError("--drop-vanished takes the shipped recipes: drop the overrides")
    path = given.path("baselines") or given.default_folder / "baselines.json"
    if not path.is_file():
        raise UsageError(f"--drop-vanished: there is no file {path}")


def _seeds_and_looks(given: CommandLine, budget: Budget) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The seeds that a cell may run, and after how many of them it is judged.

    Seeds that the user names, and those of a baseline, are all run and then judged once.
    """
    seeds: tuple[int, ...] | None = given["seeds"]
    if seeds is None and not given["update-baselines"]:
        return tuple(range(budget.looks[-1])), budget.looks
    seeds = seeds or tuple(range(budget.baseline_seeds))
    return seeds, (len(seeds),)


def _overrides(given: CommandLine) -> dict[str, Any]:
    values = {option.field: given[name] for name, option in OPTIONS.items() if option.field}
    overrides = {field: value for field, value in values.items() if value is not None}
    return overrides | dict(given["set"] or ())
