"""Models that cannot be trained get a clear message; unusual ones that can be are trained."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stn_core.models import register_model
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.session.records import RunRecord
from stn_core.training.run_cell import RunSettings, run_seed
from tests.flat_linear import ExpandedBuffer, FlatLinear

pytestmark = pytest.mark.usefixtures("few_digits")


def trained(build: Callable[..., nn.Module], name: str = "own") -> RunRecord:
    register_model(name=name)(build)
    recipe = Recipe(epochs=2, batch_size=100, patience=1)
    return run_seed(Cell(name, "few_digits", "smoke", recipe), 0, RunSettings()).record


class ComplexLogits(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).to(torch.complex64)


class WholeLogits(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).long()


class Detached(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).detach()


class Frozen(FlatLinear):
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


class Replacing(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        self.head.weight = nn.Parameter(self.head.weight.detach().clone())
        return super().forward(images)


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Speechless(FlatLinear):
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
def test_a_model_that_cannot_be_trained_gets_a_message_that_says_why(
    model: type[nn.Module], message: str
) -> None:
    record = trained(model)
    assert record.status == "crashed"
    assert record.message.startswith(message)


class ReturnsNothingFromTrain(FlatLinear):
    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)


@pytest.mark.parametrize("model", [ExpandedBuffer, ReturnsNothingFromTrain])
def test_a_model_of_unusual_habits_is_trained(model: type[nn.Module]) -> None:
    record, plain = trained(model), trained(FlatLinear, "plain")
    assert (record.status, record.message) == ("ok", "")
    assert record.test_accuracy == plain.test_accuracy
