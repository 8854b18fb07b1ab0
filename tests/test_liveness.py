"""The guard against dead networks lets living ones pass, and no dead one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stn_core.models import create_model
from tests.liveness import assert_depends_on_its_input


def images(count: int = 5) -> Tensor:
    return torch.rand(count, 1, 28, 35, generator=torch.Generator().manual_seed(0))


def fresh(name: str = "cnn") -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_model(name, (1, 28, 35), 10)


@pytest.mark.parametrize("name", ["cnn", "stn", "vit", "spinal"])
def test_an_untrained_network_lives_and_keeps_its_mode(name: str) -> None:
    model = fresh(name).train()
    assert_depends_on_its_input(model, images())
    assert model.training


def dead_relu() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 35, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.constant_(model[1].bias, -1e6)
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (dead_relu(), "every image gets the answer"),
        (lambda images: torch.full((len(images), 3), torch.nan), "not finite"),
        (lambda images: torch.eye(len(images), 3).clamp(max=1) * 0 + 1e3, "every image gets"),
        # One image in five is told from a blank one: most of the rest of a test sees nothing.
        (lambda images: torch.eye(len(images), 3)[:, :1], "80% of the images"),
    ],
)
def test_a_dead_network_fails(model: nn.Module, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert_depends_on_its_input(model, images())


def test_images_that_cannot_show_a_difference_fail() -> None:
    for useless in (images(1), images(1).expand(4, -1, -1, -1)):
        with pytest.raises(AssertionError):
            assert_depends_on_its_input(fresh(), useless)
