"""Models that cannot be trained get a clear message; unusual ones that can be are trained."""

from __future__ import annotations

import warnings
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


class SparseLogits(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).to_sparse()


class CompressedLogits(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        with warnings.catch_warnings(action="ignore"):  # it is in beta
            return super().forward(images).to_sparse_csr()


class NestedLogits(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        return torch.nested.as_nested_tensor(super().forward(images), layout=torch.strided)


class JaggedLogits(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        return torch.nested.as_nested_tensor(
            list(super().forward(images).unbind()), layout=torch.jagged
        )


class QuantisedLogits(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        with warnings.catch_warnings(action="ignore"):  # it is deprecated
            return torch.quantize_per_tensor(super().forward(images), 0.1, 0, torch.qint8)


class MklLogits(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).detach().to_mkldnn()


class ThoughtLogits(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).to("meta")


class WithoutValues(FlatLinear):
    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(in_shape, num_classes)
        self.to("meta")


class SparseOnceTrained(FlatLinear):
    is_trained = False

    def forward(self, images: Tensor) -> Tensor:
        self.is_trained |= self.training
        logits = super().forward(images)
        return logits if self.training or not self.is_trained else logits.to_sparse()


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


LOGITS = "the model must give logits of shape"
UNKNOWN = "the model replaced or unfroze parameters in training, which the optimiser does not know"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ComplexLogits, f"{LOGITS} (2, 10), not (2, 10) of complex64"),
        (WholeLogits, f"{LOGITS} (2, 10), not (2, 10) of int64"),
        (SparseLogits, f"{LOGITS} (2, 10), not a sparse tensor"),
        (CompressedLogits, f"{LOGITS} (2, 10), not a sparse tensor"),
        (NestedLogits, f"{LOGITS} (2, 10), not a nested tensor"),
        (JaggedLogits, f"{LOGITS} (2, 10), not a nested tensor"),
        (QuantisedLogits, f"{LOGITS} (2, 10), not a quantised tensor"),
        (MklLogits, f"{LOGITS} (2, 10), not a tensor in another library's layout"),
        (ThoughtLogits, f"{LOGITS} (2, 10), not a tensor without values, on torch's meta device"),
        (WithoutValues, "the model's head.weight has no values: it is on torch's meta device"),
        (SparseOnceTrained, LOGITS),
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
