"""Which cells a session has: models × datasets within a budget."""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import re
from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from stn_core.datasets import check_dataset, is_dataset, list_datasets
from stn_core.errors import UsageError, unknown_name
from stn_core.gate.baselines import Baselines
from stn_core.gate.groups import LEAST_CELLS, Groups, groups_of_tags
from stn_core.models import (
    create_model,
    is_of_library,
    list_models,
    looks_like_variant,
    model_info,
    model_name,
)
from stn_core.models.variants import parse_variant, variant_name
from stn_core.registry import split_names
from stn_core.report.text_table import counted
from stn_core.session.budgets import get_budget
from stn_core.session.cells import Cell, CellKey, split_key
from stn_core.session.plan import read_asked
from stn_core.suite.cells_file import CellEntry
from stn_core.suite.session_options import SuiteOptions

_DROP_IT = "drop its entry by --drop-vanished"

PHOTOGRAPH = (3, 224, 224)
"""The shape of images that nearly every model of another library takes."""


def plan_cells(options: SuiteOptions) -> tuple[list[Cell], dict[str, str]]:
    """Every cell of the matrix, after checking that each dataset is there.

    With --from-records, cells can be judged without data; what the sessions that made the records
    left out is left out again.

    Args:
        options: the session's.

    Returns:
        The cells, and why others are left out, by key.

    Raises:
        UsageError: a dataset is unknown or missing.
    """
    wanted = _listed_cells(options) if options.cells else _all_cells(options)
    earlier = [read_asked(file.parent)[0].left_out for file in options.from_records]
    known = ChainMap(*earlier) if earlier else _unsuitable_cells(options, wanted)
    left_out = {cell.key: known[cell.key] for cell in wanted if cell.key in known}
    return [cell for cell in wanted if cell.key not in left_out], left_out


def _unsuitable_cells(options: SuiteOptions, wanted: Sequence[Cell]) -> dict[str, str]:
    """Why models cannot be built for the images of a dataset, by the cell's key."""
    reasons: dict[str, str] = {}
    for dataset in options.datasets:
        shape = check_dataset(dataset, options.data_root, options.download, options.image_size)
        keys = {cell.model: cell.key for cell in wanted if cell.dataset == dataset}
        if dataset in list_datasets():  # the models of this package say what they fit
            keys = {name: key for name, key in keys.items() if is_of_library(name)}
        unsuitable = unsuitable_models(list(keys), shape) if shape else {}
        reasons |= {keys[name]: reason for name, reason in unsuitable.items()}
    return reasons


def _all_cells(options: SuiteOptions) -> list[Cell]:
    """Every model on every dataset that it suits."""
    return [
        _cell(options, dataset, model)
        for dataset in options.datasets
        for model in _models(options)
        if model_info(model).suits(dataset)
    ]


def _listed_cells(options: SuiteOptions) -> list[Cell]:
    """The cells of --cells.

    Raises:
        UsageError: there is no such model, or a cell is listed twice.
    """
    cells: dict[str, Cell] = {}
    for entry in options.cells:
        cell = entry.named(functools.partial(_listed_cell, options, entry))
        if cell.key in cells:
            raise UsageError(
                f"{entry.place}: {cell.model} on {cell.dataset} is listed twice; a cell is known by"
                " these two names, so put another recipe in a file of its own"
            )
        cells[cell.key] = cell
    return list(cells.values())


def _listed_cell(options: SuiteOptions, entry: CellEntry) -> Cell:
    base, written = parse_variant(entry.model)
    name = variant_name(base, {**written, **entry.options}) if entry.options else entry.model
    return _cell(options, entry.dataset, model_name(name), entry.recipe)


def _cell(
    options: SuiteOptions, dataset: str, model: str, changes: Mapping[str, Any] | None = None
) -> Cell:
    recipe = options.recipe(dataset, model_info(model).family, model)
    return Cell(
        model=model,
        dataset=dataset,
        budget=options.budget,
        recipe=recipe.replace(changes or {}),
        is_search=options.is_search or bool(changes),
    )


def _models(options: SuiteOptions) -> list[str]:
    """The models that the command line names, each once; every registered one if it names none.

    Raises:
        UsageError: a name, a pattern or an option of a variant matches nothing.
    """
    if not options.models:
        return list_models()
    chosen: list[str] = []
    for name in split_names(options.models):
        is_pattern = set("*?[") & set(name) and not looks_like_variant(name)
        found = list_models(name) if is_pattern else [model_name(name)]
        if not found:
            raise unknown_name("model", name, list_models())
        chosen += found
    return list(dict.fromkeys(chosen))


def unsuitable_models(names: Sequence[str], shape: tuple[int, int, int]) -> dict[str, str]:
    """Why models cannot be built for images of a shape, by name; the others are left out.

    A builder that raises anything but a UsageError crashes later, in its cell, where it is seen. So
    does another library's model that cannot be built for photographs either: not the images are
    wrong then, but its options, or its weights are missing.
    """
    import torch

    reasons = {}
    with torch.random.fork_rng(devices=[]):
        for name in names:
            reason = _refusal(name, shape)
            if reason and not (is_of_library(name) and _refusal(name, PHOTOGRAPH)):
                reasons[name] = reason
    return reasons


def _refusal(name: str, shape: tuple[int, int, int]) -> str:
    """Why a model cannot be built for images of a shape, "" if it can, or if its builder fails."""
    try:
        create_model(name, shape, num_classes=2)
    except UsageError as error:
        return str(error)
    except Exception:  # the builder is the user's: its error is shown in its cell
        return ""
    return ""


def share(
    cells: Sequence[Cell], baselines: Baselines, device: str, shard: tuple[int, int]
) -> set[Cell]:
    """The cells of one shard: of about equal time, the same wherever the device is of that type.

    The longest cell first goes to the shard with the least to do so far; what was never measured
    counts as the mean of the others.

    Args:
        cells: the whole matrix, whatever the session selects from it.
        baselines: where the times come from.
        device: the type of device that they run on.
        shard: (K, N).
    """
    seconds = {cell: baselines.expected_seconds(cell.key, device) for cell in cells}
    known = [value for value in seconds.values() if math.isfinite(value)]
    usual = sum(known) / len(known) if known else 1.0
    number, count = shard
    loads = [0.0] * count
    chosen = set()
    for cell in sorted(cells, key=lambda cell: (-min(seconds[cell], 1e9), cell.key)):
        lightest = loads.index(min(loads))
        loads[lightest] += seconds[cell] if math.isfinite(seconds[cell]) else usual
        if lightest == number - 1:
            chosen.add(cell)
    return chosen


def unknown_words(expression: str, options: SuiteOptions) -> list[str]:
    """A line for every word of a -k expression that is not part of any model's or dataset's
    name."""
    named = [*split_names(options.models), *(entry.model for entry in options.cells)]
    known = [*list_models(), *named, *options.datasets]
    words = re.findall(r"\w+", expression)
    return [
        str(unknown_name("model or dataset", word, known))
        for word in words
        if word not in ("and", "or", "not") and not any(word in name for name in known)
    ]


def budget_matrix(cells: Sequence[Cell], baselines: Baselines, budget: str) -> set[str]:
    """The keys of the budget's whole matrix, whatever a session selects of it.

    They are every cell with a baseline, every model on the budget's own datasets, and everything
    that is planned.
    """
    known = {key for key in baselines.cells if split_key(key).budget == budget}
    own = {
        str(CellKey(budget, dataset, model))
        for dataset in get_budget(budget).datasets
        for model in list_models()
        if model_info(model).suits(dataset)
    }
    return known | own | {cell.key for cell in cells}


def cell_groups(matrix: Collection[str]) -> Groups:
    """The groups of a whole matrix.

    Every cell belongs to "all" and to its dataset and, by its model, to the family, to the model's
    tags, and to "transformer" if the model has one that starts at the identity.
    """
    return groups_of_tags({key: _tags(key) for key in matrix})


def _tags(key: str) -> list[str]:
    _, dataset, model = split_key(key)
    tags = ["all", f"dataset {dataset}"]
    with contextlib.suppress(UsageError):  # a model that is gone has no other tags
        info = model_info(model)
        # Tags come first: if a family has the same cells, the group gets the name that was chosen.
        tags += [*info.tags, f"family {info.family}"]
        tags += ["transformer"] * info.starts_at_identity
    return tags


def small_groups(cells: Sequence[Cell], matrix: Collection[str]) -> list[str]:
    """A line for every tag of a session's models that too few cells of the whole matrix have.

    Only tags are checked, because a project adds groups by them; most datasets and families have
    few cells.
    """
    asked = {tag for cell in cells for tag in model_info(cell.model).tags}
    counts = collections.Counter(tag for key in matrix for tag in dict.fromkeys(_tags(key)))
    return [
        f"tag {tag!r}: {counted(counts[tag], 'cell')}; a group is judged only if it has"
        f" {LEAST_CELLS} or more"
        for tag in sorted(asked)
        if counts[tag] < LEAST_CELLS
    ]


def vanished_cells(options: SuiteOptions, baselines: Baselines) -> dict[str, str]:
    """Why cells of the session's budget that have a baseline no longer exist, by key.

    A session judges its own datasets. One that runs all of the budget's also judges datasets that
    no longer exist: neither registered nor a file in the data root. A dataset that exists may have
    a baseline and be left out.
    """
    is_whole = set(options.datasets) >= set(get_budget(options.budget).datasets)
    vanished = {}
    for key in baselines.cells:
        budget, dataset, model = split_key(key)
        if budget != options.budget:
            continue
        if dataset in options.datasets:
            if not _suits(model, dataset):
                vanished[key] = f"the baseline's model is gone; --import it, or {_DROP_IT}"
        elif is_whole and not options.from_records and not is_dataset(dataset, options.data_root):
            vanished[key] = f"the baseline's dataset is gone; name its --data-root, or {_DROP_IT}"
    return vanished


def _suits(model: str, dataset: str) -> bool:
    """Whether a model, or a variant of one, exists and suits a dataset."""
    try:
        return model_info(model).suits(dataset)
    except UsageError:
        return False
