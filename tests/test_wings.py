"""Two wings that never touch: judging never waits for torch, and geometry knows no record."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import stn_core

ROOT = Path(stn_core.__file__).parent
JUDGING = ["stn_core.gate", "stn_core.report", "stn_core.records", "stn_core.suite.plugin"]
GEOMETRY = ["stn_core.grids", "stn_core.warps", "stn_core.sampling", "stn_core.layers"]


def modules_of(names: list[str]) -> list[str]:
    """The modules of that name and all that are in them; those of a command line are left out."""
    found = []
    for name in names:
        folder = ROOT.joinpath(*name.split(".")[1:])
        inner = pkgutil.walk_packages([str(folder)], f"{name}.") if folder.is_dir() else ()
        found += [name, *(each.name for each in inner if not each.name.endswith("__main__"))]
    return found


def imported_with(names: list[str]) -> set[str]:
    """What a fresh process has imported after these modules."""
    code = "import importlib, sys; [importlib.import_module(n) for n in sys.argv[1:]]"
    code += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *names], check=True, capture_output=True)
    return set(done.stdout.decode().split())


def test_judging_never_imports_torch() -> None:
    names = modules_of(JUDGING)
    assert len(names) > 30
    imported = imported_with(names)
    assert set(names) <= imported
    assert "torch" not in imported


def test_geometry_knows_nothing_of_records_and_models_nothing_of_the_gate() -> None:
    imported = imported_with([*modules_of(GEOMETRY), "stn_core.models"])
    of_ours = {name.split(".")[1] for name in imported if name.startswith("stn_core.")}
    assert not of_ours & {"records", "gate", "report", "suite", "experiment", "recipe"}


def test_only_the_suite_imports_pytest() -> None:
    for path in ROOT.rglob("*.py"):
        words = [
            name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
            )
        ]
        uses = any(word.split(".")[0] in ("pytest", "_pytest", "xdist") for word in words)
        assert not uses or "suite" in path.relative_to(ROOT).parts, path


def test_what_type_checkers_see_of_the_public_names_is_what_there_is() -> None:
    seen = {
        alias.asname: (node.module or "").removeprefix("stn_core.")
        for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen == stn_core._HOME
    assert set(stn_core.__all__) == set(seen)


@pytest.mark.parametrize("name", stn_core.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(stn_core, name).__name__ == name
