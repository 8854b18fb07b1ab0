"""Settings of a process that any code can change, other than random generators and those settings
of torch that a record names (`torch_settings`)."""

from __future__ import annotations

import contextlib
import decimal
import gc
import locale
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.modules.module as modules
import torch.optim.optimizer as optimisers

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OF_COMPILERS = ("TORCHINDUCTOR_", "TRITON_", "KMP_")
"""Prefixes of variables that torch's compiler sets for itself."""


def _nothing_more(before: Any, now: Any) -> str:
    return ""


@dataclass(frozen=True)
class _Setting:
    """A setting of the process.

    Args:
        read: returns its value.
        write: sets it.
        details: what a message says about the two values, after the setting's name.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]
    details: Callable[[Any, Any], str] = _nothing_more


def _folder() -> Path | None:
    """The current folder, None if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return Path.cwd()
    return None


def _return_to(folder: Path | None) -> None:
    if folder:
        os.chdir(folder)


def _umask() -> int:
    mask = os.umask(0o077)  # which can only be read by setting it
    os.umask(mask)
    return mask


def _handle_signals(handlers: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        with contextlib.suppress(ValueError, TypeError):  # another thread's, or not Python's own
            signal.signal(number, handler)


_NUMBERS_AND_FILES = {
    "current folder": _Setting(_folder, _return_to),
    "file mode mask": _Setting(_umask, os.umask),
    "handlers of SIGINT and SIGTERM": _Setting(
        lambda: list(map(signal.getsignal, _SIGNALS)), _handle_signals
    ),
    "recursion limit": _Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    "numpy's handling of errors": _Setting(np.geterr, lambda values: np.seterr(**values)),
    "numpy's print options": _Setting(
        np.get_printoptions, lambda values: np.set_printoptions(**values)
    ),
}
"""By name: what neither a run nor a callback may change for those that follow."""


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OF_COMPILERS)}


def _set_variables(values: Mapping[str, str]) -> None:
    for name in _variables().keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)


def _changed_names(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The names alone, since values may be secrets."""
    return ", ".join(sorted({name for name, _ in before.items() ^ now.items()}))


def _set_streams(streams: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = streams


def _decimals() -> dict[str, Any]:
    context = decimal.getcontext()
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
    traps = [trap for trap, is_on in context.traps.items() if is_on]
    return {**{name: getattr(context, name) for name in names}, "traps": traps}


def _collector() -> tuple[bool, tuple[int, int, int]]:
    return gc.isenabled(), gc.get_threshold()


def _set_collector(values: tuple[bool, tuple[int, int, int]]) -> None:
    is_enabled, threshold = values
    (gc.enable if is_enabled else gc.disable)()
    gc.set_threshold(*threshold)


_HOOKS: list[dict[int, Any]] = [
    hooks
    for module in (modules, optimisers)
    for name, hooks in sorted(vars(module).items())
    if name.startswith("_global_") and isinstance(hooks, dict)
]
"""Those that torch calls for every module and optimiser; it has no public way to list them."""


def _set_hooks(values: list[dict[int, Any]]) -> None:
    for hooks, found in zip(_HOOKS, values, strict=True):
        hooks.clear()
        hooks.update(found)


_SURROUNDINGS = {
    "environment variables": _Setting(_variables, _set_variables, _changed_names),
    "sys.stdout and sys.stderr": _Setting(lambda: (sys.stdout, sys.stderr), _set_streams),
    "decimal context": _Setting(
        _decimals, lambda values: decimal.setcontext(decimal.Context(**values))
    ),
    "garbage collector": _Setting(_collector, _set_collector),
    "locale": _Setting(
        lambda: locale.setlocale(locale.LC_ALL),
        lambda value: locale.setlocale(locale.LC_ALL, value),
    ),
    "level below which logging is disabled": _Setting(
        lambda: logging.root.manager.disable, logging.disable
    ),
    "torch's print options": _Setting(
        torch._tensor_str.get_printoptions, lambda values: torch.set_printoptions(**values)
    ),
    "torch's repetition of warnings": _Setting(torch.is_warn_always_enabled, torch.set_warn_always),
    "torch's hooks of every module and optimiser": _Setting(
        lambda: list(map(dict, _HOOKS)), _set_hooks
    ),
}
"""By name: what a callback may change for as long as its run lasts. A tracker of experiments, for
example, sets variables when a run starts, reads them at its end, and copies what is printed."""


@contextlib.contextmanager
def process_settings_kept(*, with_surroundings: bool = True) -> Iterator[list[str]]:
    """Run a block, then restore the process's settings.

    Warning filters are restored silently: libraries add their own when they are imported.
    `sys.path` stays as it is: a module adds its folder only once, when it is imported, and later
    runs may need it.

    Args:
        with_surroundings: also restore what a callback may change until its run ends.

    Yields:
        A list that, after the block, names the settings that the block changed and did not restore.
    """
    changes: list[str] = []
    settings = {**_NUMBERS_AND_FILES, **(_SURROUNDINGS if with_surroundings else {})}
    before = {name: setting.read() for name, setting in settings.items()}
    filters = cast(list[Any], warnings.filters)
    filters_before = list(filters)
    try:
        yield changes
    finally:
        # In place and by hand: after `warnings.catch_warnings` every warning is shown once more.
        filters[:] = filters_before
        for name, setting in settings.items():
            now = setting.read()
            if now != before[name]:
                changes.append(f"{name} {setting.details(before[name], now)}".rstrip())
                setting.write(before[name])
