"""Fields of the dataclasses that users construct, checked like those that come from a file."""

from __future__ import annotations

import dataclasses
import functools
import numbers
from typing import Any, get_type_hints

from stn_core.schema import checked


def check_fields(instance: Any, where: str = "") -> None:
    """Check a frozen dataclass's fields, and give each the type that it has when read from a file.

    An integer becomes a float where a float is meant, a list a tuple, and a number of numpy's one
    of Python's: equal values must be written, and hashed, alike.

    Args:
        instance: in its ``__post_init__``.
        where: what an error begins with.

    Raises:
        UsageError: a field has a value of another type; the line names the field.
    """
    names = [entry.name for entry in dataclasses.fields(instance)]
    given = {name: _plain(getattr(instance, name)) for name in names}
    found: Any = checked(_schema(instance.__class__), given, where)
    for name in names:
        object.__setattr__(instance, name, getattr(found, name))


@functools.cache
def _schema(kind: type) -> type:
    """A dataclass with the same fields and nothing else, so that checking does not recurse."""
    hints = get_type_hints(kind, include_extras=True)
    fields = [(entry.name, hints[entry.name]) for entry in dataclasses.fields(kind)]
    return dataclasses.make_dataclass(kind.__name__, fields)


def _plain(value: Any) -> Any:
    """A number, also numpy's, as one of Python's; any other value as it is."""
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value
