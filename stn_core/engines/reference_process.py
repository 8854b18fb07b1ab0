"""The process that trains the code of another commit: started beside it, asked by lines of JSON.

It is run by its path, with the commit's folders first on the path of imports, so the `stn_core`
that it imports is the commit's. Of that it uses public names alone: whatever else changes between
commits, these do not.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer every line of the standard input by a line, until it ends."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what a model prints is no answer
        for line in sys.stdin:
            answers.write(json.dumps(_answer(json.loads(line))) + "\n")
            answers.flush()


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        ((question, arguments),) = asked.items()
        return _ANSWERS[question](**arguments)
    except (Exception, SystemExit) as error:  # it belongs to another commit: all of it is told
        return {"error": f"{type(error).__name__}: {error}"}


def _start(
    worktree: str, modules: Iterable[str], files: Iterable[str], own: Iterable[str]
) -> dict[str, Any]:
    """Import what registers models; what is there says which commit it is of.

    Args:
        worktree: where the commit's files lie.
        modules: to import by name.
        files: to import by path.
        own: names of modules that must come from the worktree.
    """
    import stn_core

    if not hasattr(stn_core, "run_cell"):
        return {"error": "its stn_core has no run_cell"}
    for name in modules:
        importlib.import_module(name)
    for number, path in enumerate(files):
        spec = importlib.util.spec_from_file_location(f"imported_{number}", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    for name in own:
        place = Path(importlib.import_module(name).__file__ or "").resolve()
        if not place.is_relative_to(Path(worktree).resolve()):
            return {"error": f"{name} was imported from {place.parent}, not from the commit"}
    return {"models": list(stn_core.list_models())}


def _lacking(cells: Iterable[list[str]], registered: Iterable[str]) -> dict[str, Any]:
    """Why there is none of a cell, by its place among those asked for.

    Args:
        cells: model, dataset and budget of each.
        registered: datasets that are registered on the other side, and are not files.
    """
    import stn_core

    reasons = {}
    datasets = set(stn_core.list_datasets())
    for place, (model, dataset, budget) in enumerate(cells):
        try:
            stn_core.model_info(model)
            stn_core.get_budget(budget)
            if dataset in set(registered) - datasets:
                reasons[place] = f"unknown dataset {dataset!r}"
        except stn_core.UsageError as error:
            reasons[place] = str(error)
    return {"lacking": reasons}


def _run(
    model: str, dataset: str, budget: str, seed: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """One seed of a cell, with the recipe that the commit ships."""
    import stn_core

    family = stn_core.model_info(model).family
    recipe = stn_core.get_budget(budget).recipe_for(dataset, family, model)
    cell = stn_core.Cell(model, dataset, budget, recipe)
    known = {field.name for field in dataclasses.fields(stn_core.RunSettings)}
    commit, dirty = settings["checkout"]
    settings |= {"commit": commit, "dirty": dirty}  # as earlier versions have it
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in settings.items()
        if name in known
    }
    (record,) = stn_core.run_cell(cell, [seed], stn_core.RunSettings(**given))
    return {"record": json.loads(record.to_json())}


_ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "start": _start,
    "lacking": _lacking,
    "run": _run,
}


if __name__ == "__main__":
    main()
