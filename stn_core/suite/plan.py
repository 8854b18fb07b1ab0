"""What a session set out to do, and whether an earlier one can be resumed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from stn_core.errors import UsageError, one_line
from stn_core.gate.groups import Groups
from stn_core.gate.rules import Rules
from stn_core.schema import checked, json_object, shown
from stn_core.session.cells import Cell, split_key
from stn_core.session.file_names import PLAN_FILE, RECORDS_FILE, REFERENCE_FILE
from stn_core.session.plan import read_plan_file, write_plan_file
from stn_core.suite.session_options import SuiteOptions


@dataclass(frozen=True)
class Plan:
    """What a session set out to do.

    Args:
        cells: the selected ones.
        rules: how they are judged.
        device: the type of device that the cells run on, "cpu" or "cuda".
        code: version, commit and dirty flag of the code, None if records of any code are judged.
        data_hashes: by dataset; "" if the data were not read.
        vanished: why cells that have a baseline no longer exist, by key.
        notes: how a user's own files became datasets, which models were left out of the matrix, and
            which of the cells' tags make no group.
        left_out: why cells were left out of the matrix, by key.
        groups: cells of the whole matrix that are also judged together, by the group's name.
        against, against_commit: the commit to compare with, as the user named it and in 40 digits;
            "" if baselines are used.
        lacking: why that commit lacks a cell, by key.
    """

    cells: tuple[Cell, ...]
    rules: Rules
    device: str
    code: tuple[str, str | None, bool | None] | None
    data_hashes: Mapping[str, str]
    vanished: Mapping[str, str]
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    against: str = ""
    against_commit: str = ""
    lacking: Mapping[str, str] = field(default_factory=dict)

    @property
    def budget(self) -> str:
        """The budget of every cell."""
        return self.cells[0].budget


def check_folder(folder: Path) -> None:
    """Check that the folder of an earlier session can be written to, and its records read.

    Raises:
        UsageError: one of both is not possible.
    """
    try:
        for file in (folder / PLAN_FILE, folder / RECORDS_FILE, folder / REFERENCE_FILE):
            if file.exists():
                file.open("a+").close()  # leaves the time of an existing file as it is
    except OSError as error:
        raise UsageError(f"cannot write results to {folder}: {error.strerror}") from None


def check_resumed(folder: Path, options: SuiteOptions, device: str) -> None:
    """Check that an earlier session, by its plan, was asked for the same as this one.

    This one may ask for more seeds, other cells of the same matrix, or a share of them.

    Args:
        folder: of the earlier session.
        options: of this one.
        device: the type of device that this one trains on.

    Raises:
        UsageError: budget, datasets, recipe, metrics, device or the use of test images differ.
    """
    asked = {
        "budget": options.budget,
        "datasets": sorted(options.datasets),
        "recipe_name": options.recipe_name,
        "overrides": options.overrides,
        "metrics": sorted(options.metrics),
        "against": options.against,
        "device": device,
    }
    earlier = _plan_content(folder)
    for name in ("datasets", "metrics"):
        if isinstance(earlier.get(name), list):
            earlier[name] = sorted(earlier[name], key=str)
    others = [
        f"its {name.removesuffix('_name')} {'are' if name.endswith('s') else 'is'}"
        f" {_in_words(earlier[name])}, not {_in_words(value)}"
        for name, value in asked.items()
        if name in earlier and earlier[name] != json.loads(json.dumps(value, default=str))
    ]
    if earlier.get("final", options.final) != options.final:
        others.append(f"it ran {'with' if earlier['final'] else 'without'} --final")
    if others:
        raise UsageError(
            f"--resume: {folder}: {'; '.join(others)}; give the same options again, or start a new"
            " session"
        )


def _plan_content(folder: Path) -> dict[str, Any]:
    """What a session's plan holds, including its options; nothing if it cannot be read."""
    try:
        content = read_plan_file(folder) or {}
        return {**json_object(content.get("options", {}), ""), **content}
    except UsageError:
        return {}


def _in_words(value: Any) -> str:
    """A name, names, or settings, as on the command line; anything else as in a file."""
    if isinstance(value, Mapping):
        value = [f"{name}={setting}" for name, setting in value.items()]
    if isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    return one_line(value, 100) or "none" if isinstance(value, str) else shown(value)


def write_plan(folder: Path, plan: Plan, options: SuiteOptions, command: Sequence[str]) -> None:
    """Write the plan and the options into the session's folder."""
    asked = dataclasses.asdict(options)
    write_plan_file(folder, _planned(plan), asked, command, resumes=options.resumes)


def _planned(plan: Plan) -> dict[str, Any]:
    """A plan as a JSON object."""
    return {**dataclasses.asdict(plan), "cells": [cell.to_dict() for cell in plan.cells]}


def _as_in_a_file(plan: Plan) -> Any:
    return json.loads(json.dumps(_planned(plan), default=str))


def check_unchanged(folder: Path, read: Plan, known: Plan) -> None:
    """Check that a plan that was read is the one that the session began with.

    Raises:
        UsageError: somebody replaced it meanwhile.
    """
    if _as_in_a_file(read) != _as_in_a_file(known):
        raise UsageError(f"{folder / PLAN_FILE} was changed while the session was running")


def read_plan(folder: Path) -> Plan | None:
    """The plan in a session's folder, None if no cell was planned.

    Raises:
        UsageError: it is damaged; the line says where.
    """
    content = read_plan_file(folder)
    if content is None:
        return None
    names = [entry.name for entry in dataclasses.fields(Plan)]
    planned = {name: content[name] for name in names if name in content}
    where = f"{folder / PLAN_FILE}: "
    plan = checked(Plan, planned, where)
    try:
        _check_names(plan)
    except UsageError as error:
        raise UsageError(f"{where}{error}") from None
    return plan


def _check_names(plan: Plan) -> None:
    """Check that the parts of a plan that was read name the same cells and datasets.

    Raises:
        UsageError: they do not.
    """
    keys = [cell.key for cell in plan.cells]
    if len(set(keys)) < max(len(keys), 1):
        raise UsageError("cells must be one or more, all different")
    if len({cell.budget for cell in plan.cells}) > 1:
        raise UsageError("cells must be of one budget")
    for cell in plan.cells:
        if cell.dataset not in plan.data_hashes:
            raise UsageError(f"data_hashes has no {cell.dataset!r}")
    for key in (*plan.vanished, *plan.left_out, *plan.lacking, *chain(*plan.groups.values())):
        split_key(key)
