"""What outlives a test in a process: found by itself, so that a new cache is reset as well."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

_FOUND: dict[tuple[int, str], tuple[list[Any], list[Any]]] = {}
"""Registries and caches, by the number of modules that were imported and the last of them.

The number alone would not do: pytester forgets modules, and others may come in their place."""


def registries() -> list[Any]:
    """Every registry of the library that is imported."""
    return _shared_state()[0]


def clear_caches(with_datasets: bool) -> None:
    """Empty every cache of the library that is imported.

    Args:
        with_datasets: also the datasets that are loaded; made again they are the same, at a tenth
            of a second each, but where a test patched what makes them.
    """
    for cache in _shared_state()[1]:
        if with_datasets or cache.__name__ != "cached_dataset":
            cache.cache_clear()


def _shared_state() -> tuple[list[Any], list[Any]]:
    imported = len(sys.modules), next(reversed(sys.modules))
    if imported not in _FOUND:
        modules = [
            m for name, m in list(sys.modules.items()) if name.partition(".")[0] == "stn_core"
        ]
        _FOUND[imported] = (
            list(_values(modules, lambda value: type(value).__name__ == "Registry")),
            list(_values(modules, lambda value: hasattr(value, "cache_clear"))),
        )
    return _FOUND[imported]


def _values(modules: list[Any], wanted: Callable[[Any], bool]) -> Iterator[Any]:
    """The modules' values of a kind, each once."""
    seen: set[int] = set()
    for module in modules:
        for name, value in list(vars(module).items()):
            if not name.startswith("__") and wanted(value) and id(value) not in seen:
                seen.add(id(value))
                yield value


def torch_settings() -> list[tuple[Callable[[Any], None], Any]]:
    """What is set in torch for the whole process: how to set it, and to what."""
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    return [
        (torch.set_default_dtype, torch.get_default_dtype()),
        (torch.set_grad_enabled, torch.is_grad_enabled()),
        (torch.set_num_threads, torch.get_num_threads()),
        (torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()),
        (torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled()),
    ]
