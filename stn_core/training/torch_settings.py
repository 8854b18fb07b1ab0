"""torch's process-wide settings: noted, restored, and compared with torch's defaults.

Any code can change one, and with it the numbers of everything that runs later in the process. So a
run starts from noted settings and returns to them (`isolation`), and its record names those that
are not torch's defaults.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils.deterministic


@dataclass(frozen=True)
class _Setting:
    """A setting of the process.

    Args:
        default: torch's.
        read: returns its value.
        write: sets it.
    """

    default: object
    read: Callable[[], object]
    write: Callable[[Any], object]


def _flag(path: str, default: object) -> _Setting:
    """An attribute below ``torch``: "backends.cudnn.benchmark"."""
    parent, _, name = path.rpartition(".")
    owner = operator.attrgetter(parent)
    return _Setting(
        default,
        lambda: getattr(owner(torch), name),
        lambda value: setattr(owner(torch), name, value),
    )


def _attention(name: str) -> _Setting:
    """Whether torch may choose an implementation of attention on a card; by default it may choose
    any."""
    cuda = torch.backends.cuda
    return _Setting(True, getattr(cuda, f"{name}_sdp_enabled"), getattr(cuda, f"enable_{name}_sdp"))


def _autocast(device_type: str) -> _Setting:
    return _Setting(
        False,
        lambda: torch.is_autocast_enabled(device_type),
        lambda enabled: torch.set_autocast_enabled(device_type, enabled),
    )


def _flushes_denormals() -> bool:
    """Found by trying: torch has no function that says so."""
    return float(torch.tensor(2e-310, dtype=torch.float64, device="cpu").mul(0.5)) == 0


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device == torch.device("cpu") else device)


def _older(default: object, read: Callable[[], object], write: Callable[[Any], object]) -> _Setting:
    """A setting of torch's older functions, which raise once the newer ones differ."""

    def value() -> object:
        try:
            return read()
        except RuntimeError:
            return "mixed"

    return _Setting(default, value, lambda wanted: wanted == "mixed" or write(wanted))


_SETTINGS = {
    "grad_enabled": _Setting(True, torch.is_grad_enabled, torch.set_grad_enabled),
    "default_dtype": _Setting(torch.float32, torch.get_default_dtype, torch.set_default_dtype),
    "default_device": _Setting(torch.device("cpu"), torch.get_default_device, _set_default_device),
    "deterministic_debug_mode": _Setting(
        0, torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode
    ),
    "fill_uninitialized_memory": _flag("utils.deterministic.fill_uninitialized_memory", True),
    "flush_denormal": _Setting(False, _flushes_denormals, torch.set_flush_denormal),
    "autocast_cpu": _autocast("cpu"),
    "autocast_cpu_dtype": _Setting(
        torch.bfloat16,
        lambda: torch.get_autocast_dtype("cpu"),
        lambda dtype: torch.set_autocast_dtype("cpu", dtype),
    ),
    "autocast_cuda": _autocast("cuda"),
    # These two set the precisions below as well, so they come before them.
    "float32_matmul_precision": _older(
        "highest", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    ),
    "cudnn.allow_tf32": _older(
        True,
        lambda: torch.backends.cudnn.allow_tf32,
        lambda allowed: setattr(torch.backends.cudnn, "allow_tf32", allowed),
    ),
    "fp32_precision": _flag("backends.fp32_precision", "none"),
    **{
        f"{library}.fp32_precision": _flag(f"backends.{library}.fp32_precision", default)
        for library, default in {
            "mkldnn": "none",
            "mkldnn.matmul": "none",
            "mkldnn.conv": "none",
            "mkldnn.rnn": "none",
            "cuda.matmul": "none",
            "cudnn": "none",
            "cudnn.conv": "tf32",
            "cudnn.rnn": "tf32",
        }.items()
    },
    "detect_anomaly": _Setting(False, torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "mha.fastpath": _Setting(
        True, torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled
    ),
    "mkldnn.enabled": _flag("backends.mkldnn.enabled", True),
    "mkldnn.deterministic": _flag("backends.mkldnn.deterministic", False),
    "cudnn.enabled": _flag("backends.cudnn.enabled", True),
    "cudnn.benchmark": _flag("backends.cudnn.benchmark", False),
    "cudnn.deterministic": _flag("backends.cudnn.deterministic", False),
    **{
        f"cuda.matmul.{name}": _flag(f"backends.cuda.matmul.{name}", default)
        for name, default in {
            "allow_fp16_reduced_precision_reduction": True,
            "allow_bf16_reduced_precision_reduction": True,
            "allow_fp16_accumulation": False,
        }.items()
    },
    **{
        f"cuda.{name}_sdp": _attention(name) for name in ("flash", "mem_efficient", "math", "cudnn")
    },
}
"""By name, as in a record."""

_ONLY_ON_CARDS = ("cuda.", "cudnn.", "autocast_cuda")
"""Prefixes of the names of settings that change nothing on a CPU."""


@dataclass(frozen=True)
class TorchSettings:
    """The settings of the process at one moment.

    Args:
        values: by name.
    """

    values: Mapping[str, object]

    @classmethod
    def now(cls) -> TorchSettings:
        """The settings that the process has."""
        return cls({name: setting.read() for name, setting in _SETTINGS.items()})

    def restore(self) -> list[str]:
        """Set the process back to these.

        Returns:
            What had to be set back: "float32_matmul_precision from medium to highest".
        """
        changes = [
            f"{name} from {_text(found)} to {_text(self.values[name])}"
            for name, found in self._others(TorchSettings.now())
        ]
        for name, setting in _SETTINGS.items():  # in this order, because one may set others
            if setting.read() != self.values[name]:
                setting.write(self.values[name])
        return changes

    def _others(self, now: TorchSettings) -> Iterator[tuple[str, object]]:
        for name, found in now.values.items():
            if _text(found) != _text(self.values[name]):
                yield name, found

    def unusual(self, device_type: str) -> dict[str, str]:
        """Those that are not torch's defaults and can change a number on a type of device."""
        skipped = () if device_type == "cuda" else _ONLY_ON_CARDS
        return {
            name: _text(value)
            for name, value in self.values.items()
            if _text(value) != _text(_SETTINGS[name].default) and not name.startswith(skipped)
        }


def _text(value: object) -> str:
    """A value as a record holds it; "ieee" says explicitly what "none" leaves as it is."""
    return "none" if value == "ieee" else str(value)
