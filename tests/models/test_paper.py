"""The spatial transformer paper's networks: what it says of them, and what it leaves open."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stn_core.layers.spatial_transformer import SpatialTransformer
from stn_core.models import create_model, list_models, model_info
from stn_core.models.paper import SMALLEST_LOCALISED, SMALLEST_UNPADDED, cnn_classifier, pooled_size
from tests.models.parts import layers_of

RTS, TC = (1, 42, 42), (1, 60, 60)
BEHIND_A_TRANSFORMER = [*list_models("st_cnn_*"), *list_models("st_fcn_*")]


@pytest.mark.parametrize("name", BEHIND_A_TRANSFORMER)
@pytest.mark.parametrize("shape", [RTS, TC], ids=str)
def test_large_pictures_are_halved_after_the_warp(name: str, shape: tuple[int, int, int]) -> None:
    model = create_model(name, shape, num_classes=10).eval()
    seen: list[torch.Size] = []
    classify = model.get_submodule("classifier.classify")
    classify.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    model(torch.randn(2, *shape))
    assert [tuple(size[2:]) for size in seen] == [(shape[1] // 2, shape[2] // 2)]


def test_the_paper_pools_its_large_canvases_only() -> None:
    assert pooled_size((28, 28)) == (28, 28)
    assert pooled_size((42, 42)) == (21, 21)
    assert pooled_size((60, 41)) == (30, 20)
    assert pooled_size((60, 28)) == (60, 28)


@pytest.mark.parametrize("name", list_models("st_cnn_*"))
@pytest.mark.parametrize(("side", "padded"), [(28, False), (42, True), (60, False)])
def test_convolutions_are_padded_only_if_nothing_would_be_left(
    name: str, side: int, padded: bool
) -> None:
    model = create_model(name, (1, side, side), num_classes=10)
    large = [conv for conv in layers_of(model, nn.Conv2d) if conv.kernel_size[0] > 5]
    assert [conv.kernel_size for conv in large] == [(9, 9), (7, 7)]
    assert [conv.padding for conv in large] == ([(4, 4), (3, 3)] if padded else [(0, 0)] * 2)


@pytest.mark.parametrize("size", [(24, 24), (25, 31), (42, 28), (61, 44)])
@pytest.mark.parametrize("padded", [False, True])
def test_the_cnn_fits_every_size_it_admits(size: tuple[int, int], padded: bool) -> None:
    assert cnn_classifier((2, *size), 7, padded=padded)(torch.zeros(3, 2, *size)).shape == (3, 7)


def test_the_stated_smallest_sizes_are_the_smallest() -> None:
    cnn_classifier((1, SMALLEST_UNPADDED, 40), 10)
    with pytest.warns(UserWarning, match="zero-element"):  # a linear layer of no features
        cnn_classifier((1, SMALLEST_UNPADDED - 1, 40), 10)
    model = create_model("st_cnn_affine", (1, 28, 28), num_classes=10)
    locate = model.get_submodule("transformer.localisation")
    assert locate(torch.zeros(1, 1, SMALLEST_LOCALISED, SMALLEST_LOCALISED)).shape == (1, 6)
    with pytest.raises(RuntimeError):
        locate(torch.zeros(1, 1, SMALLEST_LOCALISED - 1, SMALLEST_LOCALISED - 1))


def test_two_transformers_look_side_by_side() -> None:
    model = create_model("st_fcn_double", (2, 42, 42), num_classes=19, background=(-0.4, 0.7))
    assert len(layers_of(model, SpatialTransformer)) == 2
    images = torch.rand(3, 2, 42, 42)
    seen = model.get_submodule("transformer")(images)
    assert seen.shape == (3, 4, 42, 42)
    torch.testing.assert_close(seen, torch.cat((images, images), dim=1), rtol=0, atol=1e-5)
    first, second = layers_of(model, SpatialTransformer)
    with torch.no_grad():
        second.localisation.residual.bias += 0.3  # type: ignore[union-attr,operator]
    moved = model.get_submodule("transformer")(images)
    assert torch.equal(moved[:, :2], seen[:, :2])
    assert not torch.allclose(moved[:, 2:], seen[:, 2:])
    assert torch.equal(model.transform(images).image, first(images))  # type: ignore[operator]


def test_addition_alone_has_the_double() -> None:
    info = model_info("st_fcn_double")
    assert info.suits("mnist_add")
    assert info.suits("fashion_mnist_add")
    assert not info.suits("mnist_rts")
