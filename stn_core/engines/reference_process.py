"""The process that trains the code of another commit, and answers questions in lines of JSON.

It is run by its path, with the commit's folders first on the import path, so the `stn_core` that it
imports is the commit's. It only uses public names, which do not change between commits.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer each line of standard input with a line until the input or the session ends."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # so that what a model prints is not taken for an answer
        for line in sys.stdin:
            answers.write(json.dumps(_answer(json.loads(line))) + "\n")
            answers.flush()


def _end_with(parent: int) -> None:
    """End when the session's process was killed, also during a run whose record nobody would read.

    Standard input ends then, too, but it is read only after the run. A process whose parent ends
    gets another parent, except on Windows.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        ((question, arguments),) = asked.items()
        return _ANSWERS[question](**arguments)
    except (Exception, SystemExit) as error:  # other code may raise anything: report it
        return {"error": f"{type(error).__name__}: {error}"}


def _start(
    worktree: str, modules: Iterable[str], files: Iterable[str], own: Iterable[str]
) -> dict[str, Any]:
    """Import the modules that register models, and check that they are the commit's.

    Args:
        worktree: the folder of the commit's files.
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
    """Why cells are missing, by their place among those asked for.

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
    """Run one seed of a cell, with the commit's own recipe and those metrics that it has."""
    import stn_core

    family = stn_core.model_info(model).family
    recipe = stn_core.get_budget(budget).recipe_for(dataset, family, model)
    cell = stn_core.Cell(model, dataset, budget, recipe)
    known = {field.name for field in dataclasses.fields(stn_core.RunSettings)}
    commit, dirty = settings["checkout"]
    settings |= {"commit": commit, "dirty": dirty}  # as earlier versions have it
    metrics: list[str] = getattr(stn_core, "list_metrics", list)()  # earlier versions have none
    settings["metrics"] = [name for name in settings["metrics"] if name in metrics]
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
