"""What the core needs, and what an import says that lacks an extra."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

import stn_core

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = sorted(Path(stn_core.__file__).parent.rglob("*.py"))
CORE = {"numpy", "torch"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement: str) -> str:
    """The distribution that a requirement names, without versions, extras and markers."""
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return canonical(found.group())


def installs(extra: str) -> set[str]:
    """What an extra asks for, by way of other extras of this package too."""
    names = set()
    for requirement in PROJECT["optional-dependencies"][extra]:
        if inner := re.fullmatch(r"stn-core\[(.+)\]", requirement):
            names |= set().union(*map(installs, inner.group(1).split(",")))
        else:
            names.add(name_of(requirement))
    return names


@functools.cache
def required_by(name: str) -> list[str]:
    return requires(name) or []


@functools.cache
def brought_by(names: frozenset[str]) -> set[str]:
    """Distributions, and all that they need without an extra."""
    known: set[str] = set()
    installed, queue = set().union(*distributions().values()), list(names)
    while queue:
        name = queue.pop()
        if name not in known and name in installed:
            known.add(name)
            queue += [name_of(each) for each in required_by(name) if "extra ==" not in each]
    return known


@functools.cache
def distributions() -> dict[str, set[str]]:
    """The installed distributions, by the top-level modules that they provide."""
    return {
        module: {canonical(name) for name in names}
        for module, names in packages_distributions().items()
    }


def imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [str(node.module)] if isinstance(node, ast.ImportFrom) else []


def imports_with_their_extra(
    node: ast.AST, extra: str | None = None
) -> Iterator[tuple[str, str | None]]:
    """Each import below a node that runs, with the extra that the block around it names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        inner = extra
        if isinstance(child, ast.With):
            call = child.items[0].context_expr
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "needs_extra":
                inner = ast.literal_eval(call.args[0])
        for module in imported_modules(child):
            yield module, inner
        yield from imports_with_their_extra(child, inner)


def test_the_core_is_what_pyproject_says() -> None:
    assert set(map(name_of, PROJECT["dependencies"])) == CORE


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_an_import_from_outside_the_core_names_the_extra_that_installs_it(path: Path) -> None:
    for module, extra in imports_with_their_extra(ast.parse(path.read_text(encoding="utf-8"))):
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or (top in {"stn_core", *CORE} and extra is None):
            continue
        if top in ("pytest", "_pytest", "xdist"):  # only a session of pytest's imports these
            continue
        if (path.stem, top) == ("ray_sent", "ray"):  # only Ray runs it, and may find no needs_extra
            continue
        assert extra, f"{module} is imported outside of `with needs_extra(...)`"
        provided = brought_by(frozenset(installs(extra) | CORE))
        assert distributions()[top] & provided, f"{module} is not in the extra {extra}"


def test_the_version_is_that_of_pyproject_and_the_changelog_knows_it() -> None:
    assert stn_core.__version__ == PROJECT["version"]
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{stn_core.__version__}]" in changelog


def test_a_larger_extra_holds_the_smaller_ones() -> None:
    assert installs("data") < installs("suite") < installs("all") < installs("dev")
    assert installs("report") | installs("tensorboard") < installs("all")


USE = """
import importlib, json, sys

allowed, sys.argv = set(json.loads(sys.argv[1])), sys.argv[:1]

class Nothing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names and top[:1] != "_":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing)

import torch
import stn_core

picture = torch.rand(1, 3, 12, 20)
for name in stn_core.list_warps():
    warp = stn_core.create_warp(name)
    for mode in stn_core.list_samplers():
        warped = stn_core.warp_image(picture, warp, warp.identity()[None], mode=mode)
        assert warped.shape == picture.shape, (name, mode)
for name in ("cnn", "stn_tps", "spinal_stn_coordcls", "vit"):
    model = stn_core.create_model(name, (1, 28, 28), 10)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)

said = {}
for name, use in {
    "resnext": lambda: stn_core.create_model("resnext", (3, 112, 112), 10),
    "load_dataset": lambda: stn_core.load_dataset("digits"),
    "load_model": lambda: stn_core.load_model("none.safetensors"),
    "summary": lambda: stn_core.summarize_model(model, (1, 28, 28)),
    "run_cell": lambda: stn_core.run_cell,
    "report": lambda: importlib.import_module("stn_core.report.svg"),
    "gate": lambda: importlib.import_module("stn_core.gate.statistics"),
}.items():
    try:
        use()
    except stn_core.UsageError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


def test_the_core_is_enough_to_warp_a_picture_and_to_build_a_model() -> None:
    names = brought_by(frozenset(CORE))
    allowed = {"stn_core", *(top for top, found in distributions().items() if found & names)}
    done = subprocess.run(
        [sys.executable, "-c", USE, json.dumps(sorted(allowed))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name, extra in {
        "resnext": "data",
        "load_dataset": "data",
        "load_model": "data",
        "summary": "suite",
        "run_cell": "data",
        "report": "report",
        "gate": "suite",
    }.items():
        assert re.fullmatch(
            rf"(model 'resnext': )?[\w.]+ is not installed: pip install 'stn-core\[{extra}\]'",
            said[name],
        ), f"{name}: {said.get(name)}"
