"""Models that fail in their own ways, and a dataset of few images."""

import pytest
import torch
from torch import nn

from stn_core.models import register_model
from tests.training.few_digits import NAMES, register_few_digits

UNRULY = (
    "falls_over",
    "says_nan",
    "says_too_much",
    "builds_nothing",
    "leaves",
    "tutorial",
    "asks_for_too_much",
    "fills_the_card",
    "fills_the_memory",
)


@pytest.fixture(scope="module")
def few_digits():
    """few_digits and few_digits_rts, known for a module only."""
    from stn_core.datasets import registry

    register_few_digits()
    yield
    for name in NAMES:
        del registry._DATASETS._entries[name]


@pytest.fixture(scope="module")
def unruly_models():
    """Models that fail in their own ways, known for a module only."""
    from stn_core.models import registry

    @register_model
    def falls_over(in_shape, num_classes):
        raise RuntimeError("no luck\ntoday")

    @register_model
    def says_nan(in_shape, num_classes):
        network = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, num_classes))
        nn.init.constant_(network[1].weight, float("nan"))
        return network

    @register_model
    def says_too_much(in_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 2 * num_classes))

    @register_model
    def builds_nothing(in_shape, num_classes):
        return None

    @register_model
    def leaves(in_shape, num_classes):
        raise SystemExit("bye")

    class Tutorial(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 5), nn.Linear(4 * 24 * 24, 10)

        def forward(self, images):
            return self.head(self.conv(images).view(-1, 4 * 24 * 24))

    @register_model
    def tutorial(in_shape, num_classes):
        return Tutorial()

    @register_model
    def asks_for_too_much(in_shape, num_classes):
        return torch.empty(2**55)

    @register_model
    def fills_the_card(in_shape, num_classes):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    @register_model
    def fills_the_memory(in_shape, num_classes):
        raise MemoryError

    yield
    for name in UNRULY:
        del registry._MODELS._entries[name]
