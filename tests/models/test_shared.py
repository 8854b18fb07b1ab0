"""The STN that localises with its classifier's convolutions: one set of them, used twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stn_core.geometry.sampling import sample
from stn_core.geometry.warps import create_warp
from stn_core.models import create_model

SHAPE = (2, 28, 35)


def images_of(batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, *SHAPE, generator=generator, dtype=torch.float64)


def moved(**options: object) -> nn.Module:
    """A model whose theta depends on the image."""
    torch.manual_seed(0)
    model = create_model("stn_shared", SHAPE, num_classes=5, background=0.3, **options).double()
    with torch.no_grad():
        model.transformer.localisation.residual.weight.normal_(std=0.1)
    return model


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_it_is_the_cnn_and_a_localisation_head() -> None:
    cnn = create_model("cnn", (1, 28, 28), num_classes=10)
    head = 33 * 6 + 320 * 32 + 32
    assert count(create_model("stn_shared", (1, 28, 28), num_classes=10)) == count(cnn) + head
    by_homography = create_model("stn_shared", (1, 28, 28), num_classes=10, warp="homography")
    assert count(by_homography) == count(cnn) + head + 33 * 2


@pytest.mark.parametrize("training", [False, True])
def test_at_the_identity_it_classifies_like_the_cnn(training: bool) -> None:
    """Also in training: a channel may be dropped before pooling or after it."""
    model, images = create_model("stn_shared", SHAPE, num_classes=5), images_of()
    cnn = create_model("cnn", SHAPE, num_classes=5)
    cnn.features.load_state_dict(model.features.state_dict())
    cnn.head.load_state_dict(model.classifier.head.state_dict())
    logits = []
    for network in (model, cnn):
        torch.manual_seed(3)  # the same channels and units are dropped
        logits.append(network.double().train(training)(images))
    # Sampling at the identity rounds.
    torch.testing.assert_close(*logits, rtol=0, atol=1e-12)


def test_the_warped_image_goes_through_the_same_features() -> None:
    model, images = moved().eval(), images_of()
    warped = model.transform(images)
    assert torch.equal(warped.image, sample(images, warped.grid, padding=0.3))
    expected = model.classifier(model.features(warped.image))
    assert torch.equal(model(images), expected)
    warp = create_warp("affine")
    residual = model.transformer.localisation(images)
    assert torch.equal(warped.theta, warp.identity(dtype=torch.float64) + residual)


def test_both_passes_train_the_features() -> None:
    model, images = moved().eval(), images_of()
    filters = list(model.features.parameters())
    by_theta = torch.autograd.grad(model.transform(images).theta.square().sum(), filters)
    assert all(gradient.any() for gradient in by_theta)
    whole = torch.autograd.grad(model(images).square().sum(), filters)
    seen = model.transform(images).image.detach()
    by_logits = torch.autograd.grad(model.classifier(model.features(seen)).square().sum(), filters)
    for gradient, half in zip(whole, by_logits, strict=True):
        assert not torch.allclose(gradient, half)


def test_theta_is_not_affected_by_dropout() -> None:
    model, images = moved().train(), images_of()
    assert torch.equal(model.transform(images).theta, model.transform(images).theta)
    assert not torch.equal(model(images), model(images))
