"""A test finds nothing of the test before it, in whatever order they run.

Each of these leaves something behind and expects to find nothing: whichever comes second fails
where something is not reset.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from stn_core.datasets import list_datasets, register_dataset
from stn_core.models import list_models, register_model
from stn_core.training import run_cell
from tests.pristine import clear_caches, registries

twice = pytest.mark.parametrize("time", ["once", "again"])


@twice
def test_registrations_of_a_test_are_removed_after_it(time: str) -> None:
    assert "left_behind" not in {*list_models(), *list_datasets()}
    register_model(name="left_behind")(lambda in_shape, num_classes: torch.nn.Flatten())
    register_dataset("left_behind")(lambda root, download: pytest.fail("was loaded"))


@twice
def test_the_process_is_as_it_was(time: str, tmp_path: Path) -> None:
    assert "LEFT_BEHIND" not in os.environ
    assert "left_behind" not in sys.path
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert Path.cwd() != tmp_path.parent
    os.environ["LEFT_BEHIND"] = "1"
    os.chdir(tmp_path.parent)
    sys.path.append("left_behind")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@twice
def test_torch_is_as_it_was(time: str) -> None:
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    # The generator starts at one place in every test, and no test's draws move another's.
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)


@twice
def test_a_dataset_that_a_test_patched_is_not_kept(
    time: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_cell.cached_dataset("digits", None, False) is not None
    monkeypatch.setattr(run_cell, "load_dataset", lambda *_, **__: None)
    run_cell.cached_dataset.cache_clear()
    assert run_cell.cached_dataset("digits", None, False) is None


def test_every_registry_and_every_cache_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from stn_core.datasets.registry import _DATASETS
    from stn_core.geometry.sampling import SAMPLERS
    from stn_core.geometry.warps.families import FAMILIES
    from stn_core.models.registry import _MODELS

    found = set(map(id, registries()))
    assert found >= {id(each) for each in (_DATASETS, SAMPLERS, FAMILIES, _MODELS)}
    asked = []
    cache = functools.lru_cache(lambda: asked.append(1))
    cache.__name__ = "a_new_cache"
    monkeypatch.setattr("tests.pristine._FOUND", {})
    monkeypatch.setattr(run_cell, "a_new_cache", cache, raising=False)
    cache()
    clear_caches(with_datasets=False)
    cache()
    assert len(asked) == 2
