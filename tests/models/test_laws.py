"""The laws of every registered model: a new one is tested by being registered."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.grids import base_grid
from stn_core.models import TransformsImages, create_model, list_models, model_info
from stn_core.models.saved_models import load_model, save_model
from tests.configurations import configuration_of
from tests.nightly import mostly_nightly

Shape = tuple[int, int, int]

FEWER_BLOCKS = {"blocks": (1, 1, 1, 1)}
OPTIONS: dict[str, dict[str, object]] = {"resnext": FEWER_BLOCKS, "resnext_stn": FEWER_BLOCKS}
"""What makes a large model small enough to be tested as often as the others."""


def shapes_of(name: str) -> list[Shape]:
    """Images that a model is asked about, the last of them not square where it sees pictures."""
    if is_of_coordinates(name):
        return [(2, 1, 1)]
    small: list[Shape] = [(1, 28, 28), (3, 32, 32), (1, 28, 35), (3, 35, 28)]
    if name.startswith("st_"):
        return [*small, (3, 42, 47)]  # from 40 pixels on they pool what they warped
    if name == "resnext_stn":
        return [(3, 112, 120), *small]  # from 112 on it localises in a smaller picture
    return small


def shape_of(name: str) -> Shape:
    return shapes_of(name)[-1]


def classes_of(name: str) -> int:
    return 64 if is_of_coordinates(name) else 10


def is_of_coordinates(name: str) -> bool:
    return model_info(name).suits("coordinates_uniform")


STARTS_AT_IDENTITY = [name for name in list_models() if model_info(name).starts_at_identity]

every_model = pytest.mark.parametrize(
    "name", mostly_nightly(list_models(), on_every_run=set(list_models()) - {"resnext"})
)
"""The classifier of resnext_stn is a resnext, and large: alone it is tried at night."""


def with_shapes(names: list[str]) -> pytest.MarkDecorator:
    pairs = [(name, shape) for name in names for shape in shapes_of(name)]
    return pytest.mark.parametrize(("name", "shape"), pairs, ids=str)


def make(name: str, shape: Shape | None = None, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    shape = shape or shape_of(name)
    return create_model(name, shape, classes_of(name), -0.4, **OPTIONS.get(name, {}))


def images_of(shape: Shape, batch: int = 6) -> Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))


def loss_of(model: nn.Module, name: str) -> Tensor:
    return F.cross_entropy(model(images_of(shape_of(name), batch=64)), torch.arange(64) % 10)


def trained(name: str) -> nn.Module:
    """A model after one step, for the caller alone."""
    return copy.deepcopy(_trained(name))


@functools.cache  # a law that needs one needs not train it again
def _trained(name: str) -> nn.Module:
    """Every weight has moved, so that a zero-initialised head no longer hides its network."""
    model = make(name)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, name).backward()
    optimiser.step()
    optimiser.zero_grad()
    return model.eval()


@with_shapes(list_models())
def test_logits_have_one_row_an_image_and_one_column_a_class(name: str, shape: Shape) -> None:
    classes = 16 if is_of_coordinates(name) else 7
    model = create_model(name, shape, classes, **OPTIONS.get(name, {})).eval()
    logits = model(images_of(shape, batch=3))
    assert logits.shape == (3, classes)
    # No softmax, whose rows sum to 1, and no log-softmax.
    assert not torch.allclose(logits.sum(1), torch.ones(3), atol=1e-3)
    assert not torch.allclose(logits.logsumexp(1), torch.zeros(3), atol=1e-3)


@every_model
def test_a_batch_of_no_image_has_no_logits(name: str) -> None:
    shape = shape_of(name)
    assert make(name).eval()(torch.zeros(0, *shape)).shape == (0, classes_of(name))


@every_model
def test_every_parameter_learns_after_one_step(name: str) -> None:
    model = trained(name).train()
    loss_of(model, name).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@with_shapes(STARTS_AT_IDENTITY)
def test_a_fresh_transformer_leaves_its_input_where_it_is(name: str, shape: Shape) -> None:
    model, images = make(name, shape), images_of(shape).sigmoid()
    assert isinstance(model, TransformsImages)
    warped = model.transform(images)
    assert torch.equal(warped.theta, warped.theta[:1].expand_as(warped.theta))
    assert torch.equal(warped.grid, base_grid(shape[1:]).expand_as(warped.grid))
    # The grid is exact; sampling turns it back into pixels and rounds there, at 35 by 6e-8.
    torch.testing.assert_close(warped.image, images, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", STARTS_AT_IDENTITY)
def test_training_moves_the_transformer(name: str) -> None:
    model = trained(name)
    assert isinstance(model, TransformsImages)
    grid = model.transform(images_of(shape_of(name))).grid
    assert not torch.allclose(grid, base_grid(shape_of(name)[1:]).expand_as(grid))


@every_model
def test_an_image_is_not_affected_by_the_rest_of_its_batch(name: str) -> None:
    model, images = trained(name).double(), images_of(shape_of(name)).double()
    others = torch.cat((images[:1], 3 * images[1:] + 1))
    # Only the order of summation inside a batched product may differ: a few ulp of float64.
    torch.testing.assert_close(model(others)[0], model(images)[0], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(model(others)[1:], model(images)[1:])


@every_model
def test_channels_last_changes_nothing(name: str) -> None:
    model, images = trained(name), images_of(shape_of(name))
    expected = model(images)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    logits = model(images.contiguous(memory_format=torch.channels_last))
    # Convolutions add in another order: float32 with sums of a few hundred terms.
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@every_model
def test_a_channels_last_batch_trains(name: str) -> None:
    model = make(name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model(images_of(shape_of(name)).contiguous(memory_format=torch.channels_last)).sum().backward()
    # Before the first step a zero-initialised head passes no gradient on, but each has one.
    assert all(parameter.grad is not None for parameter in model.parameters())


@every_model
def test_float64_agrees_with_float32(name: str) -> None:
    model, images = trained(name), images_of(shape_of(name))
    expected = model(images)
    logits = model.double()(images.double())
    assert logits.dtype == torch.float64
    torch.testing.assert_close(logits.float(), expected, rtol=1e-3, atol=1e-4)


@every_model
def test_the_smallest_size_is_accepted_and_named(name: str) -> None:
    channels = shape_of(name)[0]

    def admits(side: int) -> bool:
        try:
            make(name, (channels, side, side))
        except UsageError:
            return False
        return True

    smallest = next(side for side in range(1, 225) if admits(side))
    shape = (channels, smallest, smallest)
    assert make(name, shape).eval()(images_of(shape)).shape == (6, classes_of(name))
    if smallest > 1:
        given = f"{smallest - 1}x{smallest - 1}"
        with pytest.raises(UsageError, match=f"{given}.*{smallest}x{smallest}") as refusal:
            make(name, (channels, smallest - 1, smallest - 1))
        assert name in str(refusal.value)
        assert "\n" not in str(refusal.value)


@every_model
def test_a_saved_model_gives_the_same_logits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_format = model_info(name).memory_format
    model = trained(name).to(memory_format=memory_format)  # type: ignore[call-overload]
    images = images_of(shape_of(name)).contiguous(memory_format=memory_format)
    assert not torch.allclose(make(name, seed=1).eval()(images), model(images))
    background = (-0.4,) * shape_of(name)[0]  # which is saved in no state_dict
    configuration = configuration_of(name, shape_of(name), classes_of(name), background=background)
    save_model(tmp_path / "model.safetensors", model, configuration)
    # Nobody saves a model with options; here they only make it small.
    smaller = functools.partial(create_model, **OPTIONS.get(name, {}))
    monkeypatch.setattr("stn_core.models.saved_models.create_model", smaller)
    assert torch.equal(load_model(tmp_path / "model.safetensors")(images), model(images))


@every_model
def test_dropout_acts_in_training_only(name: str) -> None:
    model, images = trained(name), images_of(shape_of(name))
    assert torch.equal(model(images), model(images))
    has_dropout = any(
        isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        for layer in model.modules()
    )
    model.train()
    assert torch.equal(model(images), model(images)) is not has_dropout


@every_model
def test_a_seed_decides_the_weights(name: str) -> None:
    images = images_of(shape_of(name))
    assert torch.equal(make(name, seed=3).eval()(images), make(name, seed=3).eval()(images))
    assert not torch.equal(make(name, seed=3).eval()(images), make(name, seed=4).eval()(images))


@every_model
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_model_runs_where_it_is_moved(name: str) -> None:
    model, images = trained(name), images_of(shape_of(name))
    expected = model(images)
    logits = model.cuda()(images.cuda())
    # TF32 and another order of summation.
    torch.testing.assert_close(logits.cpu(), expected, rtol=1e-2, atol=1e-3)
