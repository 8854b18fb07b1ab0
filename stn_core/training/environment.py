"""The environment of a run: everything that decides whether its numbers repeat exactly."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from stn_core.session.records import Environment
from stn_core.training.torch_settings import TorchSettings

_CUDA_NONDETERMINISTIC = ["grid_sample backward", "atomic additions in pooling and indexing"]


def describe_environment(
    device: torch.device, threads: int, commit: str | None = None, dirty: bool | None = None
) -> Environment:
    """The environment of a run that starts now, with the settings that torch has now.

    Args:
        device: where the model runs.
        threads: how many threads torch may use.
        commit, dirty: the git checkout's.
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
        torch_settings=TorchSettings.now().unusual(device.type),
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
