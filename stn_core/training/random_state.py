"""The random generators that a model may draw from: torch's, numpy's and Python's global ones."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Seed every global generator; torch seeds those of its cards too."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - other people's code uses the global one
    random.seed(seed)


def generator_states(device: torch.device) -> dict[str, Any]:
    """The states of the global generators, as tensors and JSON types.

    Args:
        device: if it is a card, its generator is included.
    """
    states = {
        "cpu": torch.get_rng_state(),
        "numpy": _without_arrays(np.random.get_state(legacy=False)),  # noqa: NPY002
        "python": random.getstate(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: Mapping[str, Any], device: torch.device) -> None:
    """Restore the global generators; the arguments are those of `generator_states`."""
    torch.set_rng_state(states["cpu"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    random.setstate(states["python"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


@contextlib.contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """Run a block, then restore the global generators."""
    states = generator_states(device)
    try:
        yield
    finally:
        restore_generators(states, device)


def _without_arrays(state: Any) -> Any:
    """The state of one of numpy's generators, as JSON types."""
    if isinstance(state, Mapping):
        return {name: _without_arrays(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state
