"""The examples in the docstrings of geometry: every public function has one, and each runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import types

import pytest

import stn_core.geometry
from stn_core.geometry import sampling, warps
from stn_core.geometry.warps import Warp

MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(stn_core.geometry.__path__, "stn_core.geometry.")
]
# What sampling/ and warps/ hold is public as far as the packages themselves export it.
EXPORTING = [sampling, warps, *(m for m in MODULES if m.__name__.count(".") == 2)]


def public_functions() -> dict[str, types.FunctionType]:
    found = {
        f"{module.__name__}.{name}": function
        for module in EXPORTING
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and not name.startswith("_")
        and function.__module__ == module.__name__
    }
    methods = {n: f for n, f in vars(Warp).items() if inspect.isfunction(f) and n[0] != "_"}
    return found | {f"Warp.{name}": f for name, f in methods.items() if name != "extra_repr"}


def test_the_functions_are_found() -> None:
    names = " ".join(public_functions())
    for name in ("grids.base_grid", "warp_image.warp_image", "sampling.sample", "Warp.points"):
        assert name in names


@pytest.mark.parametrize("name", sorted(public_functions()))
def test_a_public_function_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(public_functions()[name]) or "")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_examples_of_a_module_run(module: types.ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
