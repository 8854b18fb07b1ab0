"""Time and memory of every warp's grid, forward and backward; CPAB beside a plain integrator.

Nothing here is judged. The plain integrator is Euler's method with the 50 steps that CPAB
implementations usually take. It finds every point's triangle again at each of them, with the same
code and from the same table of affine fields, which is made once. So the pair compares two schemes
and CPAB's way of keeping little memory. At velocities of standard deviation 0.2, as here, Euler's
is off by up to 5.3e-3 of the image's width where CPAB is by up to 3.2e-6 (see its docstring).

On one thread of an Intel Xeon (torch 2.15, November 2026, the machine not quiet) Euler's is the
faster one at 28x28, batch 64 (medians 91 and 100 ms, n = 7), and at 224x224, batch 8 (1.03 and
1.35 s, n = 3). At 224x224, batch 64, it takes 20.3 s and 6.0 GiB, and CPAB 10.5 s and 0.25 GiB
(n = 2). On an AMD EPYC it is the faster one there too: 6.9 and 7.9 s (n = 2), of the same memory;
at 28x28 84 and 125 ms (n = 5).
"""

import statistics
import time
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stn_core.geometry.grids import base_grid
from stn_core.geometry.warps import create_warp, list_warps
from stn_core.geometry.warps.cpab_flow import velocity_at
from stn_core.training.isolation import isolated

BATCH = 64
ROUNDS = 5
SIZES = [(28, 28), (224, 224)]

pytestmark = pytest.mark.throughput


class EulerCPAB:
    """The flow of the same velocity field by Euler's method, of first order."""

    def __init__(self, steps=50):
        self.field = create_warp("cpab")
        self.num_params = self.field.num_params
        self.steps = steps

    def grid(self, theta, size_hw):
        field = self.field
        xy = base_grid(size_hw, device=theta.device, dtype=theta.dtype).reshape(-1, 2)
        table, x, y = field._in_cell_units(theta, xy)
        start_x, start_y = x, y
        for _ in range(self.steps):
            velocity_x, velocity_y = velocity_at(table, x, y, field._cells_xy)
            x, y = x + velocity_x / self.steps, y + velocity_y / self.steps
        moved = field._to_half_widths(x - start_x, y - start_y)
        return (xy + moved).reshape(len(theta), *size_hw, 2)


class PeakMemory(TorchDispatchMode):
    """The most bytes that lived at once among those allocated while it is active."""

    def __init__(self):
        super().__init__()
        self.living = {}
        self.bytes, self.peak_bytes = 0, 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage):
        key = storage._cdata
        if key in self.living:
            return

        def release(_):
            del self.living[key]
            self.bytes -= size

        size = storage.nbytes()
        self.living[key] = weakref.ref(storage, release)
        self.bytes += size
        self.peak_bytes = max(self.peak_bytes, self.bytes)


def peak_mebibytes(warp, theta, size_hw):
    with PeakMemory() as memory:
        warp.grid(theta, size_hw).sum().backward()
    return memory.peak_bytes / 2**20


def seconds_of(warp, theta, size_hw):
    """Of this process on a CPU, so that others on the machine count for less; of the clock else."""
    clock = time.perf_counter if theta.is_cuda else time.process_time
    started = clock()
    warp.grid(theta, size_hw).sum().backward()
    if theta.is_cuda:
        torch.cuda.synchronize(theta.device)
    return clock() - started


@pytest.mark.parametrize("size_hw", SIZES, ids=["28x28", "224x224"])
def test_warp_speed(size_hw, device, pytestconfig):
    warps = {name: create_warp(name) for name in list_warps()}
    warps["cpab by 50 Euler steps"] = EulerCPAB()
    rounds = ROUNDS if max(size_hw) < 100 else 2
    times = {name: [] for name in warps}
    with isolated(0, device, threads=1):
        thetas = {
            name: (0.2 * torch.randn(BATCH, warp.num_params, device=device)).requires_grad_()
            for name, warp in warps.items()
        }
        # Measuring memory warms up as well.
        memory = {name: peak_mebibytes(warp, thetas[name], size_hw) for name, warp in warps.items()}
        for _ in range(rounds):
            for name, warp in warps.items():
                times[name].append(seconds_of(warp, thetas[name], size_hw))
    rows = [
        [
            name,
            f"{1000 * statistics.median(values):.1f}",
            f"{1000 * min(values):.1f} to {1000 * max(values):.1f}",
            f"{memory[name]:.1f}",
        ]
        for name, values in times.items()
    ]
    from tabulate import tabulate

    headers = ["warp", "median ms", "range ms", "peak MiB"]
    clock = "time of the clock" if device.type == "cuda" else "time of the process"
    work = f"{size_hw[0]}x{size_hw[1]}, batch {BATCH}, forward + backward"
    title = f"{work}, {device}, 1 thread, {clock}"
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{title}, {rounds} rounds\n{tabulate(rows, headers, disable_numparse=True)}")
    assert all(torch.isfinite(theta.grad).all() for theta in thetas.values())
