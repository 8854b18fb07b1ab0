"""What a run held is free before the next one, and the garbage collector runs only if it must."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stn_core.models import register_model
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.callbacks import KeepArtifacts, SaveCheckpoints, TellProgress
from stn_core.training.run_cell import RunSettings, run_seed
from tests.flat_linear import FlatLinear

pytestmark = pytest.mark.usefixtures("few_digits")


class InACycle(FlatLinear):
    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(in_shape, num_classes)
        self.itself = [self]


class Failing(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError(images)


def collections_after(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> tuple[int, bool]:
    """How often a run looks for garbage, and whether its model is gone then."""
    built: list[weakref.ref[nn.Module]] = []

    @register_model
    def own(in_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        model = kind(in_shape, num_classes)
        built.append(weakref.ref(model))
        return model

    calls: list[object] = []
    collect = gc.collect
    cell = Cell("own", "few_digits", "smoke", Recipe(epochs=1, batch_size=100))
    callbacks = [
        TellProgress(str(folder)),
        KeepArtifacts(str(folder / "artifacts")),
        SaveCheckpoints(str(folder / "checkpoints")),
    ]
    gc.disable()  # or it may run by itself
    try:
        with monkeypatch.context() as patched:
            patched.setattr(gc, "collect", lambda: calls.append(collect()))
            run_seed(cell, 0, RunSettings(), callbacks)
        return len(calls), built[-1]() is None
    finally:
        gc.enable()


def test_a_model_is_free_without_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert collections_after(FlatLinear, monkeypatch, tmp_path) == (0, True)


@pytest.mark.parametrize("kind", [InACycle, Failing])
def test_a_model_that_is_not_free_is_collected(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert collections_after(kind, monkeypatch, tmp_path) == (1, True)


def test_the_state_of_the_optimiser_is_free_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    states: list[weakref.ref[Tensor]] = []
    step = torch.optim.AdamW.step

    def noted(optimiser: torch.optim.AdamW, *arguments: object) -> object:
        loss = step(optimiser, *arguments)
        states.extend(
            weakref.ref(value)
            for state in optimiser.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        )
        return loss

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    assert collections_after(FlatLinear, monkeypatch, tmp_path) == (0, True)
    assert states
    assert not any(state() is not None for state in states)
