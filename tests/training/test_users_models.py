"""Models as people write them train, alone in their process, or are told what is wrong."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_core.models import register_model
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.session.records import RunRecord
from stn_core.training.callbacks import SaveCheckpoints
from stn_core.training.run_cell import RunSettings, run_cell, run_seed
from tests.flat_linear import FlatLinear
from tests.watching import OnEpoch

pytestmark = pytest.mark.usefixtures("few_digits")
RECIPE = Recipe(epochs=3, batch_size=100, patience=2)


def cell_of(build: Callable[..., object], recipe: Recipe = RECIPE) -> Cell:
    """A cell of a model that is registered for this test."""
    register_model(name="own")(build)  # type: ignore[arg-type]
    return Cell("own", "few_digits", "smoke", recipe)


def trained(build: Callable[..., object]) -> RunRecord:
    return run_cell(cell_of(build), [0])[0]


class CachedGrid(FlatLinear):
    """A spatial transformer that builds its grid at the first batch and keeps it."""

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(in_shape, num_classes)
        self.locate = nn.Linear(math.prod(in_shape), 6)
        nn.init.zeros_(self.locate.weight)
        self.locate.bias.data.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
        self.base: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.base is None:
            identity = torch.eye(2, 3)[None]
            grid = F.affine_grid(identity, [1, *images.shape[1:]], align_corners=False)[0]
            self.base = torch.cat([grid, torch.ones_like(grid[..., :1])], -1)
        theta = self.locate(images.flatten(1)).view(-1, 2, 3)
        grid = torch.einsum("hwk,bjk->bhwj", self.base, theta)
        return super().forward(F.grid_sample(images, grid, align_corners=False))


class GradientInEvaluation(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        with torch.enable_grad():
            pixels = images.flatten(1).clone().requires_grad_()
            (slope,) = torch.autograd.grad(
                self.head(pixels).tanh().sum(), pixels, create_graph=self.training
            )
        logits: Tensor = self.head(pixels - 0.1 * slope)
        return logits


class GradientWithoutAsking(FlatLinear):
    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(1).clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.head(pixels).sum(), pixels)
        logits: Tensor = self.head(pixels - 0.1 * slope)
        return logits


class ReassignedBuffer(FlatLinear):
    """Keeps something of the last batch, of the batch's size, in a buffer."""

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(in_shape, num_classes)
        self.register_buffer("seen", torch.zeros(0))

    def forward(self, images: Tensor) -> Tensor:
        self.seen = 0.5 * images.mean((1, 2, 3))
        return super().forward(images) + self.seen[:, None]


@pytest.mark.parametrize("model", [CachedGrid, GradientInEvaluation, ReassignedBuffer])
def test_it_trains(model: type[nn.Module]) -> None:
    record = trained(model)
    assert (record.status, record.message) == ("ok", "")
    losses = [epoch["train_loss"] for epoch in record.validation]
    assert losses[-1] < losses[0]


def test_a_gradient_that_evaluation_does_not_keep_is_explained() -> None:
    record = trained(GradientWithoutAsking)
    assert record.status == "crashed"
    assert record.message == (
        "the model's forward pass takes gradients, which are off outside training: put that part"
        " of it under `with torch.enable_grad():`"
    )


def test_a_buffer_of_the_batchs_size_survives_an_interruption(tmp_path: object) -> None:
    def interrupt(result: object, run: object) -> None:
        raise KeyboardInterrupt

    cell, saving = cell_of(ReassignedBuffer), SaveCheckpoints(str(tmp_path), seconds=0)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, [0], callbacks=[saving, OnEpoch(interrupt)])
    (resumed,) = run_cell(cell, [0], callbacks=[saving])
    assert resumed.status == "ok"
    assert resumed.digest == run_cell(cell, [0])[0].digest


def test_lazy_layers_know_their_sizes_before_the_optimiser_does() -> None:
    def build(in_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return nn.Sequential(
            *(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU()),
            *(nn.Flatten(), nn.LazyLinear(num_classes)),
        )

    record = trained(build)
    assert (record.status, record.message) == ("ok", "")
    assert record.parameters == (9 + 1) * 4 + 2 * 4 + (4 * 26 * 26 + 1) * 10
    assert record.validation[-1]["train_loss"] < record.validation[0]["train_loss"]


class DrawsEverywhere(FlatLinear):
    """First weights from numpy, noise from Python and numpy while it trains."""

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(in_shape, num_classes)
        drawn = np.random.randn(*self.head.weight.shape)  # noqa: NPY002
        self.head.weight.data = torch.tensor(0.02 * drawn, dtype=torch.float32)

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            images = images * (1 + 0.1 * random.random() + 0.1 * float(np.random.rand()))  # noqa: NPY002
        return super().forward(images)


def test_numpys_and_pythons_generators_follow_the_seed_and_the_checkpoint(tmp_path: object) -> None:
    def interrupt(result: object, run: object) -> None:
        raise KeyboardInterrupt

    cell, saving = cell_of(DrawsEverywhere), SaveCheckpoints(str(tmp_path), seconds=0)
    first, other = run_cell(cell, [0, 1])
    np.random.rand()  # noqa: NPY002
    (again,) = run_cell(cell, [0])
    assert again.digest == first.digest != other.digest
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, [0], callbacks=[saving, OnEpoch(interrupt)])
    assert run_cell(cell, [0], callbacks=[saving])[0].digest == first.digest


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("float32_matmul_precision", lambda: torch.set_float32_matmul_precision("medium")),
        ("grad_enabled", lambda: torch.set_grad_enabled(False)),
        ("threads", lambda: torch.set_num_threads(2)),
    ],
)
def test_a_setting_that_a_model_changes_reaches_no_other_run(
    name: str, change: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    def build(in_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        change()
        return FlatLinear(in_shape, num_classes)

    plain = Cell("cnn", "few_digits", "smoke", Recipe(epochs=1))
    alone = run_cell(plain, [0])[0]
    with caplog.at_level(logging.WARNING):
        (note,) = run_seed(cell_of(build), 0, RunSettings()).notes
    assert f" {name} from " in note
    assert [message for message in caplog.messages if note in message]
    after = run_cell(plain, [0])[0]
    assert (after.status, after.digest) == ("ok", alone.digest)
    assert after.environment == alone.environment


def test_settings_made_before_a_run_apply_and_are_recorded() -> None:
    cell = Cell("cnn", "few_digits", "smoke", Recipe(epochs=1))
    torch.set_float32_matmul_precision("medium")
    try:
        (record,) = run_cell(cell, [0])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert record.environment.torch_settings["float32_matmul_precision"] == "medium"
    assert run_cell(cell, [0])[0].environment.torch_settings == {}


class Wraps(FlatLinear):
    """Answers with something around its logits, in training alone or always."""

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int, **how: object) -> None:
        super().__init__(in_shape, num_classes)
        self.wrap, self.always = how["wrap"], how["always"]

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        wraps = self.always or self.training
        return self.wrap(logits) if wraps else logits  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (lambda logits: (logits, logits), "a tuple"),
        (lambda logits: [logits], "a list"),
        (lambda logits: {"logits": logits}, "a dictionary"),
        (lambda logits: None, "None"),
        (lambda logits: logits[0], "(10,)"),
    ],
)
def test_an_output_that_is_not_logits_is_reported_in_words(
    wrap: Callable[[Tensor], object], words: str, always: bool
) -> None:
    def build(in_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return Wraps(in_shape, num_classes, wrap=wrap, always=always)

    shape = "(2, 10)" if always else "(100, classes)"
    assert trained(build).message == f"the model must give logits of shape {shape}, not {words}"
