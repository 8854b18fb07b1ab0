"""A run leaves no trace in its process, and finds none of another run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from stn_core.training.random_state import generators_kept, seed_generators
from stn_core.training.torch_settings import TorchSettings


@contextlib.contextmanager
def isolated(
    seed: int, device: torch.device, threads: int, settings: TorchSettings | None = None
) -> Iterator[list[str]]:
    """Seeded generators, torch's settings and a thread count for a block.

    Generators, settings and thread count are put back after it.

    Args:
        seed: of every global generator.
        device: where the block computes.
        threads: how many torch may use.
        settings: what torch is set to; by default the settings stay as they are.

    Yields:
        A list that holds after the block the settings that it had changed and left so.
    """
    changes: list[str] = []
    outer, outer_threads = TorchSettings.now(), torch.get_num_threads()
    with generators_kept(device):
        try:
            (settings or outer).restore()
            inner = TorchSettings.now()
            seed_generators(seed)
            torch.set_num_threads(threads)
            yield changes
            if torch.get_num_threads() != threads:
                changes.append(f"threads from {torch.get_num_threads()} to {threads}")
            changes += inner.restore()
        finally:
            outer.restore()
            torch.set_num_threads(outer_threads)


@contextlib.contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """A block that changes neither generators nor torch's settings, whatever it does."""
    settings = TorchSettings.now()
    with generators_kept(device):
        try:
            yield
        finally:
            settings.restore()
