"""JSON objects held against the fields of a dataclass, so that what is read is what was written."""

from __future__ import annotations

import dataclasses
import reprlib
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, get_args, get_origin, get_type_hints

from stn_core.errors import UsageError


def json_object(value: Any, where: str) -> dict[str, Any]:
    """The value, if it is a JSON object.

    Args:
        value: of any type.
        where: what an error begins with.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}an object is due, not {reprlib.repr(value)}")
    return dict(value)


def check_fields(kind: type, values: Mapping[str, Any], where: str) -> None:
    """Hold a JSON object against the fields of a dataclass.

    Args:
        kind: the dataclass; a field that is a tuple is a list in JSON.
        values: the object.
        where: what an error begins with.

    Raises:
        UsageError: it has a field too many, one that is missing and has no default, or one of
            another type.
    """
    kinds = get_type_hints(kind)
    for name in values:
        if name not in kinds:
            raise UsageError(f"{where}{name!r} is not a field")
    for entry in dataclasses.fields(kind):
        may_lack = entry.default is not MISSING or entry.default_factory is not MISSING
        if entry.name not in values and not may_lack:
            raise UsageError(f"{where}{entry.name} is missing")
        if entry.name in values and not _fits(values[entry.name], kinds[entry.name]):
            found = reprlib.repr(values[entry.name])
            raise UsageError(f"{where}{entry.name} must be {entry.type}, not {found}")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a field's type; a float is finite, and may be written as an integer."""
    parts = get_args(kind)
    origin = get_origin(kind)
    if origin is types.UnionType:
        return any(_fits(value, part) for part in parts)
    if origin is list or (origin is tuple and parts[-1] is Ellipsis):
        return type(value) is list and all(_fits(item, parts[0]) for item in value)
    if origin is tuple:
        return type(value) is list and len(value) == len(parts) and all(map(_fits, value, parts))
    if origin is dict:
        return type(value) is dict and all(_fits(item, parts[1]) for item in value.values())
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return kind is Any or type(value) is kind
