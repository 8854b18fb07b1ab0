"""A run finds the same process whatever ran before it, and leaves none of its own changes there."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from stn_core.training.isolation import isolated, undisturbed
from stn_core.training.random_state import generator_states, restore_generators
from stn_core.training.torch_settings import TorchSettings

CPU = torch.device("cpu")


def draws() -> list[float]:
    """A number from every global generator."""
    return [float(torch.rand(())), float(np.random.rand()), random.random()]  # noqa: NPY002


CHANGES: dict[str, Callable[[], object]] = {
    "grad_enabled": lambda: torch.set_grad_enabled(False),
    "default_dtype": lambda: torch.set_default_dtype(torch.float64),
    "default_device": lambda: torch.set_default_device("meta"),
    "deterministic_debug_mode": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "fill_uninitialized_memory": lambda: setattr(
        torch.utils.deterministic, "fill_uninitialized_memory", False
    ),
    "flush_denormal": lambda: torch.set_flush_denormal(True),
    "detect_anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "mha.fastpath": lambda: torch.backends.mha.set_fastpath_enabled(False),
    "autocast_cpu_dtype": lambda: torch.set_autocast_dtype("cpu", torch.float16),
    "autocast_cpu": lambda: torch.set_autocast_enabled("cpu", True),
    "float32_matmul_precision": lambda: torch.set_float32_matmul_precision("medium"),
    "mkldnn.conv.fp32_precision": lambda: setattr(
        torch.backends.mkldnn.conv, "fp32_precision", "bf16"
    ),
    "cudnn.conv.fp32_precision": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "fp32_precision": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "cudnn.rnn.fp32_precision": lambda: setattr(torch.backends.cudnn.rnn, "fp32_precision", "ieee"),
    "cuda.matmul.fp32_precision": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "mkldnn.enabled": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "mkldnn.deterministic": lambda: setattr(torch.backends.mkldnn, "deterministic", True),
    "cudnn.enabled": lambda: setattr(torch.backends.cudnn, "enabled", False),
    "cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cudnn.deterministic": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "cuda.flash_sdp": lambda: torch.backends.cuda.enable_flash_sdp(False),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_a_run_changes_is_set_back_and_named(name: str) -> None:
    before, threads = TorchSettings.now(), torch.get_num_threads()
    with isolated(0, CPU, 1) as changes:
        CHANGES[name]()
    assert TorchSettings.now() == before
    assert torch.backends.cudnn.allow_tf32 in (True, False)  # torch's older flags can be read again
    assert torch.get_float32_matmul_precision()
    assert torch.get_num_threads() == threads
    assert name in [change.partition(" from ")[0] for change in changes]


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "threads"])
def test_a_run_starts_from_the_settings_that_were_noted(name: str) -> None:
    noted = TorchSettings.now()
    with isolated(0, CPU, 1):  # it cleans up after this test
        CHANGES[name]()
        changed = TorchSettings.now()
        with isolated(0, CPU, 1, noted) as changes:
            assert TorchSettings.now() == noted
        assert changes == []
        assert TorchSettings.now() == changed


def test_settings_are_set_back_after_an_error_too() -> None:
    before = TorchSettings.now()
    with contextlib.suppress(ZeroDivisionError), isolated(0, CPU, 1):
        torch.set_default_dtype(torch.float64)
        raise ZeroDivisionError
    assert TorchSettings.now() == before


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_every_generator_is_seeded_and_put_back(seed: int) -> None:
    states = generator_states(CPU)
    drawn = []
    for _ in range(2):
        with isolated(seed, CPU, 1):
            drawn.append(draws())
        draws()  # whatever else draws between runs
    restore_generators(states, CPU)
    with isolated(seed + 1, CPU, 1):
        other = draws()
    assert drawn[0] == drawn[1]
    assert not set(other) & set(drawn[0])
    first = draws()
    restore_generators(states, CPU)
    with isolated(seed, CPU, 1):
        draws()
    assert draws() == first


def test_undisturbed_restores_generators_settings_and_threads() -> None:
    states, settings, threads = generator_states(CPU), TorchSettings.now(), torch.get_num_threads()
    expected = draws()
    restore_generators(states, CPU)
    with contextlib.suppress(ZeroDivisionError), undisturbed(CPU):
        draws()
        torch.set_grad_enabled(False)
        torch.set_num_threads(threads + 1)
        raise ZeroDivisionError
    assert draws() == expected
    assert TorchSettings.now() == settings
    assert torch.get_num_threads() == threads


def test_settings_that_change_results_are_unusual_and_the_defaults_are_not() -> None:
    with isolated(0, CPU, 1):  # it cleans up after this test
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        changed = TorchSettings.now()
        assert "float32_matmul_precision" in changed.unusual("cpu")
        assert "cudnn" not in str(changed.unusual("cpu"))  # it changes nothing on a CPU
        assert changed.unusual("cuda")["cudnn.benchmark"] == "True"
        torch.set_float32_matmul_precision("highest")
        assert not TorchSettings.now().unusual("cpu")


@pytest.mark.nightly
def test_a_fresh_process_has_no_unusual_setting() -> None:
    code = (
        "from stn_core.training.torch_settings import TorchSettings; import torch\n"
        "now = TorchSettings.now(); print(now.unusual('cpu'), now.unusual('cuda'))\n"
        "torch.set_float32_matmul_precision('high'); torch.backends.cudnn.benchmark = True\n"
        "now = TorchSettings.now(); print(sorted(now.unusual('cpu')))\n"
        "print(now.unusual('cuda')['cudnn.benchmark'])\n"
        "torch.set_float32_matmul_precision('highest')\n"
        "print(TorchSettings.now().unusual('cpu'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    fresh, changed, benchmark, explicit = done.stdout.splitlines()
    assert fresh == "{} {}"
    assert "'float32_matmul_precision'" in changed
    assert "cudnn" not in changed  # it changes nothing on a CPU
    assert (benchmark, explicit) == ("True", "{}")
