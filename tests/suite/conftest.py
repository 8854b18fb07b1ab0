"""Every session under test has a folder, models and an environment of its own."""

import functools
import gc
import importlib
import importlib.metadata
import os
import pkgutil
import sys
import warnings

import pytest

import stn_core
from stn_core.datasets import registry as datasets
from stn_core.models import registry as models
from stn_core.session import budgets
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.run_cell import run_cell
from tests.suite.sessions import GATE, MODELS, session


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path_factory):
    """No setting of the user's, and no page of a job that runs the tests, reaches the sessions."""
    # Else each would have matplotlib look for its fonts, and keep them in the repository on trial.
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.getbasetemp() / "matplotlib"))
    for name in [name for name in os.environ if name.startswith("STN_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture(scope="session")
def all_imported():
    """Everything: pytester forgets after a test what it imported, torch can be imported only once,
    and what a test replaces must be in the module that the session under test uses."""
    import scipy.optimize
    import scipy.stats  # noqa: F401

    for module in pkgutil.walk_packages(stn_core.__path__, "stn_core."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    run_cell(Cell("cnn", "digits", "smoke", Recipe(epochs=1)), [0])
    gc.collect()
    gc.freeze()  # as tests/conftest.py does


@functools.cache
def packages_with_a_plugin():
    """The packages whose plugins pytest loads: reading what all packages declare takes most of the
    time of a session, and neither pytest nor the library asks for any other entry point."""
    packages = importlib.metadata.distributions()
    return [p for p in packages if any(each.group == "pytest11" for each in p.entry_points)]


@pytest.fixture
def run_here(all_imported, pytester, monkeypatch):
    """Run pytest in this process, where torch is there already; what it registers goes with it."""

    def run(*arguments, **how):
        plugins = packages_with_a_plugin()
        with monkeypatch.context() as patched, warnings.catch_warnings():
            patched.setattr(importlib.metadata, "distributions", lambda: plugins)
            for registry in (models._MODELS, datasets._DATASETS, budgets._BUDGETS):
                patched.setattr(registry, "_entries", dict(registry._entries))
            # A module that is written anew within a second would be taken for its bytecode.
            patched.setattr(sys, "dont_write_bytecode", True)
            warnings.resetwarnings()  # those of these tests are errors
            return pytester.runpytest_inprocess("-p", "no:randomly", *arguments, **how)

    return run


@pytest.fixture
def bench(pytester, run_here):
    """Run a session of the suite in a fresh folder; the arguments are pytest's."""
    pytester.makepyfile(my_models=MODELS, test_bench=GATE)
    pytester.makeini("[pytest]\n")
    return lambda *arguments, **how: run_here(*session(*arguments), **how)
