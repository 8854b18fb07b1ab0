"""Weights from a file, which holds tensors and nothing of the modules that they are of."""

from __future__ import annotations

from typing import Any

import torch

from stn_core.models.weights_loading import load_weights
from tests.flat_linear import FlatLinear


class Versioned(FlatLinear):
    """As torchvision's MNASNet, it reads the weights of some versions of itself."""

    _version = 2

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *others: Any
    ) -> None:
        if local_metadata.get("version") != self._version:
            raise ValueError("another version")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


def test_a_model_that_asks_for_its_version_is_given_its_own() -> None:
    trained, fresh = (Versioned((1, 2, 3), 4) for _ in range(2))
    load_weights(fresh, dict(trained.state_dict()))
    assert torch.equal(fresh.head.weight, trained.head.weight)
