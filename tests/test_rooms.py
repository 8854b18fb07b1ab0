"""Rooms and the arrows between them: who may import whom, and what costs nothing to import."""

from __future__ import annotations

import ast
import functools
import graphlib
import pkgutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import stn_core

ROOT = Path(stn_core.__file__).parent
ARROWS = {
    "geometry": set(),
    "session": set(),
    "layers": {"geometry"},
    "datasets": {"geometry"},
    "models": {"layers", "geometry"},
    "training": {"models", "datasets", "session"},
    "engines": {"training", "session"},
    "gate": {"session"},
    "report": {"gate", "session"},
    "suite": {
        *("geometry", "session", "layers", "datasets", "models", "training", "engines", "gate"),
        "report",
    },
}
"""Each room and those that it may import from; every room may import from the ground."""

GROUND = {"errors", "registry", "atomic_files", "schema"}
"""The modules beside the rooms, which import from each other alone."""

WITHOUT_TORCH = ("session", "gate", "report")


@dataclass(frozen=True)
class Import:
    """A module of ours that another one imports."""

    by: str
    module: str
    for_types_alone: bool
    is_at_once: bool
    """Rather than in a function, when that is called."""

    def __str__(self) -> str:
        return f"{self.by} imports {self.module}"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}


def place_of(module: str) -> str:
    """The room that a module lies in, or its own name where it lies beside the rooms."""
    return module.split(".")[1]


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "imports name the whole path"
        inner = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in MODULES else str(node.module) for name in inner]
    return []


def type_checking_nodes(tree: ast.AST) -> set[ast.AST]:
    """What stands below ``if TYPE_CHECKING``."""
    guards = [
        n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)
    ]
    return {node for guard in guards for body in guard.body for node in ast.walk(body)}


def nodes_in_functions(tree: ast.AST) -> set[ast.AST]:
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node for function in functions for node in ast.walk(function)}


@functools.cache
def imports_of(module: str) -> list[Import]:
    """Every import in a file, wherever it stands."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for_types, later = type_checking_nodes(tree), nodes_in_functions(tree)
    return [
        Import(module, name, node in for_types, node not in for_types | later)
        for node in ast.walk(tree)
        for name in imported_names(node)
    ]


def of_ours(module: str) -> bool:
    return module.startswith("stn_core.")


@functools.cache
def ours() -> list[Import]:
    """Every import of a module of ours by another."""
    return [
        found
        for module in MODULES
        if module != "stn_core"
        for found in imports_of(module)
        if of_ours(found.module)
    ]


def test_the_rooms_are_those_that_have_arrows() -> None:
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert folders <= set(ARROWS)
    modules = {path.stem for path in ROOT.glob("*.py")}
    assert modules <= GROUND | {"__init__", "__main__"}


def test_a_room_imports_only_from_those_below_it() -> None:
    wrong = [
        str(found)
        for found in ours()
        if place_of(found.by) in ARROWS
        and place_of(found.module) not in {place_of(found.by), *ARROWS[place_of(found.by)], *GROUND}
    ]
    assert not wrong
    assert len(ours()) > 300


def test_the_ground_imports_from_itself_alone() -> None:
    from_ground = [found for found in ours() if place_of(found.by) in GROUND]
    assert not [str(found) for found in from_ground if place_of(found.module) not in GROUND]


def test_no_file_imports_itself_through_others() -> None:
    graph: dict[str, set[str]] = {}
    for found in ours():
        if not found.for_types_alone:
            graph.setdefault(found.by, set()).add(found.module)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


NAMES_THAT_SAY_NOTHING = {
    *("common", "experiment", "files", "helpers", "importing", "misc", "optional", "pictures"),
    *("sealed", "tools", "utils", "writing"),
}


def test_a_modules_name_says_what_is_in_it() -> None:
    assert not {path.stem for path in MODULES.values()} & NAMES_THAT_SAY_NOTHING


def modules_in(room: str) -> list[str]:
    package = f"stn_core.{room}"
    inner = pkgutil.walk_packages([str(ROOT / room)], f"{package}.")
    return [package, *(each.name for each in inner if not each.name.endswith("__main__"))]


def imported_with(names: list[str]) -> set[str]:
    """What a fresh process has imported after these modules."""
    code = "import importlib, sys; [importlib.import_module(n) for n in sys.argv[1:]]"
    code += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *names], check=True, capture_output=True)
    return set(done.stdout.decode().split())


BRING_TORCH = ("torch", "torchvision", "timm", "safetensors.torch")


def brings_torch(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in BRING_TORCH)


def imported_by(names: list[str]) -> set[str]:
    """What these modules of ours import, directly and through other ones of ours."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        if name in MODULES:
            queue.append(name.rpartition(".")[0] or name)
            queue += [each.module for each in imports_of(name) if each.is_at_once]
    return found


def test_plain_data_verdicts_and_reports_name_no_torch() -> None:
    """Wherever an import stands, except for types."""
    found = [
        each
        for module in MODULES
        if module != "stn_core" and place_of(module) in WITHOUT_TORCH
        for each in imports_of(module)
    ]
    assert len(found) > 300
    assert not [
        str(each) for each in found if brings_torch(each.module) and not each.for_types_alone
    ]


def test_what_is_imported_without_torch_reaches_it_through_no_other_module() -> None:
    names = [name for room in WITHOUT_TORCH for name in modules_in(room)]
    assert not set(filter(brings_torch, imported_by([*names, "stn_core.suite.plugin"])))
    assert set(filter(brings_torch, imported_by(["stn_core.training"]))) >= {"torch"}


@pytest.mark.nightly
def test_plain_data_verdicts_and_reports_never_import_torch() -> None:
    names = [name for room in WITHOUT_TORCH for name in modules_in(room)]
    assert len(names) > 30
    imported = imported_with([*names, "stn_core.suite.plugin"])
    assert set(names) <= imported
    assert "torch" not in imported


def test_only_the_suite_imports_pytest() -> None:
    users = {
        module
        for module in MODULES
        for found in imports_of(module)
        if found.module.split(".")[0] in ("pytest", "_pytest", "xdist")
    }
    assert users
    assert {place_of(module) for module in users} == {"suite"}


def test_type_checkers_see_exactly_the_public_names() -> None:
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
