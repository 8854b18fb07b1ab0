"""Where to compute: the device behind a name, and how much memory is used there."""

from __future__ import annotations

import ctypes
import re
import sys

import torch

from stn_core.errors import UsageError

if sys.platform != "win32":
    import resource

MEMORY_PER_TRAINING = 8 * 2**30
"""Bytes of a card to reserve for each of several trainings. Of the full cells on MNIST,
Fashion-MNIST and CIFAR-10 the ViT allocates the most, 1.2 GiB beside its CUDA context (H200, n = 5,
2026-11-28); the rest is for photographs."""


def resolve_device(name: str, worker: int = 0) -> torch.device:
    """The device behind a name on this machine.

    Args:
        name: "auto" (a CUDA card if there is one), "cpu", "cuda", "cuda:1" or "mps".
        worker: which of several processes asks; with "auto" and "cuda" they take the cards in turn.

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
        raise UsageError(f"device {name}: the last CUDA device here is cuda:{cards - 1}")
    return torch.device("cuda", index)


def trainings_that_fit(name: str) -> int:
    """How many trainings the memory of the CUDA cards holds at once, at least one per card.

    Small networks leave most of a large card idle and share it well. Every card gets the same
    number, so the smallest card decides it.

    Args:
        name: as of `resolve_device`; "auto" and "cuda" mean all the cards.

    Returns:
        0 if the name is not a card of this machine.
    """
    known = re.fullmatch(r"auto|cuda(?::(\d+))?", name)
    cards = torch.cuda.device_count() if known and torch.cuda.is_available() else 0
    one = known and known[1]
    chosen = [card for card in range(cards) if not one or card == int(one)]
    memory = [torch.cuda.get_device_properties(card).total_memory for card in chosen]
    return len(chosen) * max(1, min(memory, default=0) // MEMORY_PER_TRAINING)


def peak_memory_mb(device: torch.device) -> float:
    """The peak of memory in use so far: torch's on a card, otherwise the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_resident_bytes() / 2**20


def peak_resident_bytes() -> int:
    """The peak of this process's resident set, in bytes."""
    if sys.platform == "win32":
        counters = _ProcessMemoryCounters(cb=ctypes.sizeof(_ProcessMemoryCounters))
        kernel = ctypes.windll.kernel32
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        kernel.K32GetProcessMemoryInfo.argtypes = (
            ctypes.c_void_p,
            ctypes.POINTER(_ProcessMemoryCounters),
            ctypes.c_uint32,
        )
        if not kernel.K32GetProcessMemoryInfo(
            kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb
        ):
            raise ctypes.WinError()
        return int(counters.PeakWorkingSetSize)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 2**10


class _ProcessMemoryCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of the Windows API."""

    _fields_ = (
        ("cb", ctypes.c_uint32),
        ("PageFaultCount", ctypes.c_uint32),
        ("PeakWorkingSetSize", ctypes.c_size_t),
        ("WorkingSetSize", ctypes.c_size_t),
        ("QuotaPeakPagedPoolUsage", ctypes.c_size_t),
        ("QuotaPagedPoolUsage", ctypes.c_size_t),
        ("QuotaPeakNonPagedPoolUsage", ctypes.c_size_t),
        ("QuotaNonPagedPoolUsage", ctypes.c_size_t),
        ("PagefileUsage", ctypes.c_size_t),
        ("PeakPagefileUsage", ctypes.c_size_t),
    )
