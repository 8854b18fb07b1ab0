"""Models that cannot be trained are told so in words, and those that can be are."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stn_core.models import register_model, registry
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.session.records import RunRecord
from stn_core.training.run_cell import RunSettings, run_seed


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry._MODELS, "_entries", dict(registry._MODELS._entries))


def trained(build: Callable[..., nn.Module]) -> RunRecord:
    register_model(name="own")(build)
    recipe = Recipe(epochs=2, batch_size=400, patience=1)
    return run_seed(Cell("own", "digits", "smoke", recipe), 0, RunSettings()).record


class Linear(nn.Module):
    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(math.prod(in_shape), num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.flatten(1))
        return logits


class ComplexLogits(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).to(torch.complex64)


class WholeLogits(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).long()


class Detached(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).detach()


class Frozen(Linear):
    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(in_shape, num_classes)
        self.requires_grad_(False)


class Thawing(Frozen):
    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(in_shape, num_classes)
        self.head.bias.requires_grad_()

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.head.requires_grad_()
        return super().forward(images)


class Replacing(Linear):
    def forward(self, images: Tensor) -> Tensor:
        self.head.weight = nn.Parameter(self.head.weight.detach().clone())
        return super().forward(images)


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Speechless(Linear):
    def forward(self, images: Tensor) -> Tensor:
        raise SpeechlessError


UNKNOWN = "the model replaced or unfroze parameters in training, which the optimiser does not know"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ComplexLogits, "the model must give logits of shape (2, 10), not (2, 10) of complex64"),
        (WholeLogits, "the model must give logits of shape (2, 10), not (2, 10) of int64"),
        (Detached, "the model's logits have no gradient in training: its forward pass detaches"),
        (Frozen, "the model has no parameter that can be trained"),
        (Thawing, f"{UNKNOWN}: head.weight"),
        (Replacing, f"{UNKNOWN}: head.weight"),
        (Speechless, "SpeechlessError: (its message cannot be shown)"),
    ],
)
def test_a_model_that_cannot_be_trained_is_told_why(model: type[nn.Module], message: str) -> None:
    record = trained(model)
    assert record.status == "crashed"
    assert record.message.startswith(message)


class ExpandedBuffer(Linear):
    """A constant for every class, of which there is one in memory."""

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(in_shape, num_classes)
        self.register_buffer("offset", torch.ones(1).expand(num_classes))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + self.offset


class ReturnsNothingFromTrain(Linear):
    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)


@pytest.mark.parametrize("model", [ExpandedBuffer, ReturnsNothingFromTrain])
def test_a_model_of_unusual_habits_is_trained(model: type[nn.Module]) -> None:
    record, plain = trained(model), trained_plain()
    assert (record.status, record.message) == ("ok", "")
    assert record.test_accuracy == plain.test_accuracy


def trained_plain() -> RunRecord:
    registry._MODELS._entries.pop("own")
    return trained(Linear)
