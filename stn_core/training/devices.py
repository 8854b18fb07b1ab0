"""Where to compute: the device a person names, its fingerprint, settings that leave no trace."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from stn_core.atomic_files import is_unfinished
from stn_core.errors import UsageError
from stn_core.session.records import Environment

MEMORY_PER_TRAINING = 8 * 2**30
"""Bytes of a card to leave for each of several trainings. Of the full cells on MNIST, Fashion-MNIST
and CIFAR-10 the ViT allocates most, 1.2 GiB beside its CUDA context (H200, n = 5, 2026-11-28); the
rest is for photographs."""

_CUDA_NONDETERMINISTIC = ["grid_sample backward", "atomic additions in pooling and indexing"]


def resolve_device(name: str, worker: int = 0) -> torch.device:
    """The device that a name means on this machine.

    Args:
        name: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps".
        worker: which of several processes asks; "auto" and "cuda" deal the cards out in turn.

    Raises:
        UsageError: the machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:N or mps")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device mps: this machine has no Metal device; use --device cpu")
    if name.startswith("cuda"):
        return _resolve_cuda(name, worker)
    return torch.device(name)


def _resolve_cuda(name: str, worker: int) -> torch.device:
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not cards:
        raise UsageError(f"device {name}: torch sees no CUDA card here; use --device cpu")
    index = int(name.partition(":")[2] or worker % cards)
    if index >= cards:
        raise UsageError(f"device {name}: this machine has {cards} CUDA card(s), counted from 0")
    return torch.device("cuda", index)


def trainings_that_fit(name: str) -> int:
    """How many trainings at once the memory of the CUDA cards holds, at least one a card.

    Small networks leave most of a large card idle, and share it well. Every card is dealt as many,
    so the smallest one says how many.

    Args:
        name: as of `resolve_device`; "auto" and "cuda" mean all the cards.

    Returns:
        0 where the name means no card of this machine.
    """
    known = re.fullmatch(r"auto|cuda(?::(\d+))?", name)
    cards = torch.cuda.device_count() if known and torch.cuda.is_available() else 0
    one = known and known[1]
    chosen = [card for card in range(cards) if not one or card == int(one)]
    memory = [torch.cuda.get_device_properties(card).total_memory for card in chosen]
    return len(chosen) * max(1, min(memory, default=0) // MEMORY_PER_TRAINING)


@contextlib.contextmanager
def isolated(seed: int, device: torch.device, threads: int) -> Iterator[None]:
    """Seeded generators and a thread count for the block; the process's own come back after it."""
    threads_before = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads_before)


def generator_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's global generators: the CPU's, and the card's where one computes."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Put torch's global generators where they were; the arguments are `generator_states`'s."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def describe_environment(
    device: torch.device, threads: int, commit: str | None = None, dirty: bool | None = None
) -> Environment:
    """The fingerprint of this process on a device.

    Args:
        device: where the model runs.
        threads: how many threads torch may use.
        commit, dirty: from `describe_checkout`.
    """
    on_cuda = device.type == "cuda"
    return Environment(
        stn_core=version("stn-core"),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        platform=f"{platform.system()}-{platform.machine()}",
        device_type=device.type,
        device_name=torch.cuda.get_device_name(device) if on_cuda else _processor_name(),
        instruction_set=torch.backends.cpu.get_cpu_capability(),
        threads=threads,
        nondeterministic=list(_CUDA_NONDETERMINISTIC) if on_cuda else [],
        commit=commit,
        dirty=dirty,
    )


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()


def describe_checkout(folder: Path, written: Iterable[Path] = ()) -> tuple[str | None, bool | None]:
    """The commit of the git checkout around a folder and whether it has uncommitted changes.

    Args:
        folder: inside the checkout.
        written: files and folders that the session writes itself; they do not count as changes.

    Returns:
        (commit, dirty); (None, None) outside a checkout, without git, or before the first commit.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    top = folder.resolve()
    resolved = [path.resolve() for path in written]
    inside = [path for path in resolved if path != top and path.is_relative_to(top)]
    exclusions = [f":(exclude){path.relative_to(top).as_posix()}" for path in inside]
    changed = _git(top, "status", "--porcelain", "--", ".", *exclusions)
    if commit is None or changed is None:
        return None, None
    # What a killed session left of a file that it was writing is none of the user's changes.
    return commit, any(not is_unfinished(line.rstrip('"')) for line in changed.splitlines())


def git_failure(folder: Path) -> str:
    """What git says where it fails in a folder, so that nobody knows the state of the checkout.

    Returns:
        Its first line; "" where it answers, where there is no checkout, and without git.
    """
    for question in (("rev-parse", "--git-dir"), ("status", "--porcelain")):
        answer = _ask_git(folder, *question)
        if answer and answer.returncode:
            says = answer.stderr.strip().partition("\n")[0]
            return "" if "not a git repository (or any" in says else says
    return ""


def _git(folder: Path, *arguments: str) -> str | None:
    answer = _ask_git(folder, *arguments)
    return answer.stdout.strip() if answer and not answer.returncode else None


def _ask_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Git's answer, in English; None where there is no git."""
    command = ["git", "-C", str(folder), *arguments]
    english = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(command, capture_output=True, text=True, env=english)
    except OSError:
        return None


def peak_memory_mb(device: torch.device) -> float:
    """The most memory in use so far: torch's on the card, else the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
