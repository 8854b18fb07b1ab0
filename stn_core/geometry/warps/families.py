"""The table of all families of warps, and which of them a theta may be meant for."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from stn_core.errors import UsageError, unknown_name
from stn_core.registry import Registry

if TYPE_CHECKING:
    from stn_core.geometry.warps.base import Warp

FAMILIES: Registry[type[Warp]] = Registry("warp")


def family_named(name: str) -> type[Warp]:
    """The family of that name.

    Raises:
        UsageError: there is none; it names the nearest, also by what their classes are called, for
            "thin_plate_spline" is far from "tps".
    """
    if not isinstance(name, str) or name in FAMILIES:
        return FAMILIES[name]
    names = {
        _plain(spelled): known for known in FAMILIES for spelled in (known, _class_name(known))
    }
    nearest = difflib.get_close_matches(_plain(name), names, n=3, cutoff=0.6)
    if nearest:
        suggested = " or ".join(dict.fromkeys(names[spelled] for spelled in nearest))
        raise UsageError(f"unknown warp {name!r}; did you mean {suggested}?")
    raise unknown_name("warp", name, FAMILIES)


def families_with(num_params: int) -> list[str]:
    """The names of the families that have that many parameters by default, sorted."""
    return [name for name in FAMILIES.names() if FAMILIES[name]().num_params == num_params]


def _class_name(name: str) -> str:
    return FAMILIES[name].__name__


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
