"""Every registered model exports and traces with a batch of any size."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from stn_core.geometry.sampling import list_samplers
from stn_core.geometry.warps import CPAB, create_warp, list_warps
from stn_core.layers.spatial_transformer import SpatialTransformer, zero_residual_head
from stn_core.models import list_models
from tests.models.parts import layers_of
from tests.models.test_laws import images_of, shape_of, trained
from tests.nightly import mostly_nightly

TRACED_BATCH, OTHER_BATCHES = 4, (1, 7)


def exported(model: nn.Module, images: torch.Tensor) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecated parts
        batch = torch.export.Dim("batch")
        return torch.export.export(model, (images,), dynamic_shapes=({0: batch},)).module()


def with_few_steps(model: nn.Module) -> nn.Module:
    """CPAB's steps are unrolled: two of them show the whole graph, twenty take half a minute."""
    for warp in layers_of(model, CPAB):
        warp.steps = 2
    return model


def assert_same_at_other_batches(
    found: nn.Module, model: nn.Module, shape: tuple[int, int, int]
) -> None:
    for batch in OTHER_BATCHES:
        images = images_of(shape, batch)
        expected = model(images)
        assert batch == 1 or not torch.allclose(expected[:1], expected)
        # The same operations; a batched product may add in another order.
        torch.testing.assert_close(found(images), expected, rtol=1e-5, atol=1e-5)


ON_EVERY_RUN = {"deform_cnn", "polar", "stn_coordboth", "stn_tps", "vit"}
"""What the others are made of: an export takes seconds, so those run nightly."""


@pytest.mark.parametrize("name", mostly_nightly(list_models(), on_every_run=ON_EVERY_RUN))
def test_a_model_exports_with_a_dynamic_batch(name: str) -> None:
    model = with_few_steps(trained(name))
    program = exported(model, images_of(shape_of(name), TRACED_BATCH))
    assert_same_at_other_batches(program, model, shape_of(name))


@pytest.mark.parametrize("name", mostly_nightly(list_models(), on_every_run=ON_EVERY_RUN))
def test_a_traced_model_takes_another_batch(name: str) -> None:
    model = with_few_steps(trained(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the shape checks, which are of no batch
        images = images_of(shape_of(name), TRACED_BATCH)
        traced = torch.jit.trace(model, images, check_trace=False)
        assert_same_at_other_batches(traced, model, shape_of(name))


@pytest.mark.nightly
@pytest.mark.parametrize("sampler", list_samplers())
@pytest.mark.parametrize("warp", ["affine", "tps"])
def test_a_transformer_exports_with_every_sampler(warp: str, sampler: str) -> None:
    assert_transformer_exports(warp, sampler)


@pytest.mark.nightly
@pytest.mark.parametrize("warp", sorted({*list_warps()} - {"affine", "tps"}))
def test_a_transformer_exports_with_every_warp(warp: str) -> None:
    assert_transformer_exports(warp, "bilinear")


def assert_transformer_exports(warp: str, sampler: str) -> None:
    torch.manual_seed(0)
    shape = (2, 6, 9)
    family = create_warp(warp, **({"steps": 2} if warp == "cpab" else {}))
    head = zero_residual_head(2 * 6 * 9, family)
    nn.init.normal_(head.weight, std=0.01)
    transformer = SpatialTransformer(
        family, nn.Sequential(nn.Flatten(), head), sampler, 0.3, (4, 5)
    )
    program = exported(transformer, images_of(shape, TRACED_BATCH))
    assert_same_at_other_batches(program, transformer, shape)
