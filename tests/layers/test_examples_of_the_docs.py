"""The examples of docs/spatial-transformer.md run, start at the identity and learn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stn_core.geometry.grids import base_grid
from stn_core.layers import SpatialTransformer
from tests.models.parts import layers_of

PAGE = Path(__file__).parents[2] / "docs" / "spatial-transformer.md"
SHAPES = {
    "Before a ResNet": (3, 64, 96),
    "On a feature map": (1, 40, 60),
    "With a CPAB warp": (1, 28, 28),
}
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n.*?```python\n(.*?)```", PAGE.read_text(), re.M | re.S))


def test_the_page_has_the_three_examples() -> None:
    assert list(EXAMPLES) == list(SHAPES)


@pytest.mark.parametrize("title", SHAPES)
def test_an_example_runs_starts_at_the_identity_and_learns(title: str) -> None:
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(compile(EXAMPLES[title], str(PAGE), "exec"), names)
    network, logits = names["network"], names["logits"]
    assert isinstance(network, nn.Module)
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (4, 10)
    (transformer,) = layers_of(network, SpatialTransformer)
    images, grids = torch.rand(4, *SHAPES[title]), []
    transformer.register_forward_hook(
        lambda module, inputs, output: grids.append(module.transform(*inputs).grid.detach())
    )
    # Small enough that no transformer looks beyond the image after a step.
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    for _ in range(2):
        optimiser.zero_grad()
        F.cross_entropy(network(images), torch.arange(4)).backward()
        optimiser.step()
    first, second = grids
    assert torch.equal(first, base_grid(first.shape[1:3]).expand_as(first))
    assert not torch.equal(first, second)
    assert all(p.grad is not None and p.grad.any() for p in transformer.parameters())
