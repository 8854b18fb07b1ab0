"""The spinal head, against its rule written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stn_core.errors import UsageError
from stn_core.layers.spinal import SpinalHead


@pytest.mark.parametrize("features", [320, 11], ids=["even", "odd"])
def test_layers_see_alternating_halves_and_their_predecessor(features: int) -> None:
    torch.manual_seed(0)
    head = SpinalHead(features, 4, width=3, layers=4).double()
    x = torch.randn(5, features, dtype=torch.float64)
    a, b = x[:, : features // 2], x[:, features // 2 :]
    f1, f2, f3, f4 = head.spine
    h1 = F.relu(f1(a))
    h2 = F.relu(f2(torch.cat((b, h1), 1)))
    h3 = F.relu(f3(torch.cat((a, h2), 1)))
    h4 = F.relu(f4(torch.cat((b, h3), 1)))
    expected = head.output(torch.cat((h1, h2, h3, h4), 1))
    assert torch.equal(head(x), expected)


def test_the_published_head_has_its_parameters() -> None:
    # 320 features, 10 classes: 13,818 of the SpinalNet less 5,280 of its convolutions.
    assert sum(p.numel() for p in SpinalHead(320, 10).parameters()) == 13_818 - 5_280


def test_every_feature_matters() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 11, requires_grad=True)
    SpinalHead(11, 4)(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.any(dim=0).all()


@pytest.mark.parametrize(
    ("features", "options"), [(1, {}), (11, {"layers": 1}), (11, {"width": 0})], ids=str
)
def test_a_head_that_would_not_see_every_feature_is_refused(
    features: int, options: dict[str, int]
) -> None:
    with pytest.raises(UsageError, match=r"a spinal head's .* must be a whole number of at least"):
        SpinalHead(features, 4, **options)
