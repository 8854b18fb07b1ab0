"""SpinalNet's head: narrow layers in a row, each of which sees half of the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_core.geometry.option_values import whole_number


class SpinalHead(nn.Module):
    """Features to logits through layers that take their input piece by piece.

    With the features cut into halves A and B::

        h1 = relu(f1(A)),  h2 = relu(f2(B, h1)),  h3 = relu(f3(A, h2)),  ...
        logits = linear(h1, h2, ..., hn)

    An odd number of features leaves the larger half to B. Kabir et al., *SpinalNet: Deep Neural
    Network with Gradual Input* (arXiv 2007.03347).

    Args:
        in_features: number of features F, at least 2.
        num_classes: number of logits K.
        width: neurons of each spinal layer.
        layers: number of spinal layers, at least 2, so that every feature is seen.

    Raises:
        UsageError: fewer features or layers than that, or a width below 1.
    """

    def __init__(
        self, in_features: int, num_classes: int, *, width: int = 8, layers: int = 6
    ) -> None:
        super().__init__()
        in_features = whole_number("a spinal head's in_features", in_features, least=2)
        width = whole_number("a spinal head's width", width, least=1)
        layers = whole_number("a spinal head's layers", layers, least=2)
        self.split_at = in_features // 2
        halves = (self.split_at, in_features - self.split_at)
        self.spine = nn.ModuleList(
            nn.Linear(halves[index % 2] + (width if index else 0), width) for index in range(layers)
        )
        self.output = nn.Linear(layers * width, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(B, F)`` to logits ``(B, K)``."""
        halves = (features[:, : self.split_at], features[:, self.split_at :])
        hidden: list[Tensor] = []
        for index, layer in enumerate(self.spine):
            piece = halves[index % 2]
            seen = torch.cat((piece, hidden[-1]), dim=1) if hidden else piece
            hidden.append(layer(seen).relu())
        logits: Tensor = self.output(torch.cat(hidden, dim=1))
        return logits
