"""A run leaves no trace in its process, and finds no trace of another run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from stn_core.training.process_settings import process_settings_kept
from stn_core.training.random_state import generators_kept, seed_generators
from stn_core.training.torch_settings import TorchSettings


@contextlib.contextmanager
def isolated(
    seed: int, device: torch.device, threads: int, settings: TorchSettings | None = None
) -> Iterator[list[str]]:
    """Run a block with seeded generators, torch's settings and a thread count.

    All three are restored after it, and so are the process's other settings.

    Args:
        seed: for every global generator.
        device: where the block computes.
        threads: how many torch may use.
        settings: for torch; by default they stay as they are.

    Yields:
        A list that, after the block, names the settings that the block changed and did not restore.
    """
    outer, outer_threads = TorchSettings.now(), torch.get_num_threads()
    with process_settings_kept() as changes, generators_kept(device):
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
    """Run a block of a callback, then undo its changes to generators, settings and threads.

    What it may change until the run ends stays as it left it.
    """
    settings, threads = TorchSettings.now(), torch.get_num_threads()
    with process_settings_kept(with_surroundings=False), generators_kept(device):
        try:
            yield
        finally:
            settings.restore()
            torch.set_num_threads(threads)
