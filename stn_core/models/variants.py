"""A variant of a model is a name: ``stn[sampler=linearized,warp=tps]``.

Since it is a name, records, baselines, saved models and tables treat it as that of any other model.
This module knows how such a name is written; `stn_core.models.registry` knows which options there
are. Values are numbers, ``true`` and ``false``, ``none``, words such as ``tps``, and tuples of
these such as ``(10,20)``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from stn_core.errors import UsageError
from stn_core.registry import split_at_commas

LONGEST = 500
"""Characters of a name; options that need more belong in a registered function."""

_EXAMPLE = "a variant is written like stn[warp=tps,channels=(10,20)]"
_OPTION = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_WORD = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "none": None}
_EXACT_INTEGERS = 2**53


def looks_like_variant(name: str) -> bool:
    """Whether a name has options in square brackets, rather than being plain or a shell pattern.

    >>> looks_like_variant("stn[warp=tps]"), looks_like_variant("stn_[ct]*")
    (True, False)
    """
    base, bracket, rest = name.partition("[")
    return bool(base and bracket and rest.endswith("]") and (rest == "]" or "=" in rest))


def parse_variant(name: str) -> tuple[str, dict[str, Any]]:
    """The registered name and the options that a variant's name is made of.

    A name without brackets has no options.

    >>> parse_variant("stn[warp=tps,channels=(10,20)]")
    ('stn', {'warp': 'tps', 'channels': (10, 20)})

    Raises:
        UsageError: the text is malformed, or an option is given twice.
    """
    if "[" not in name and "]" not in name:
        return name, {}
    if len(name) > LONGEST:
        raise UsageError(
            f"the model name {name[:30]!r}... has {len(name)} characters, more than {LONGEST}; "
            "register a function with these options instead"
        )
    base, _, rest = name.partition("[")
    if not base.strip() or not rest.endswith("]"):
        raise _malformed(name)
    options: dict[str, Any] = {}
    for part in _parts(rest[:-1], name) if rest[:-1].strip() else []:
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _OPTION.fullmatch(option):
            raise _malformed(name)
        if option in options:
            raise UsageError(f"model {name!r}: the option {option!r} is given twice")
        options[option] = _parse_value(value, name)
    return base.strip(), options


def variant_name(name: str, options: Mapping[str, Any]) -> str:
    """The name of the variant of a model with these options, which are sorted.

    >>> variant_name("stn", {"warp": "tps", "channels": [10, 20]})
    'stn[channels=(10,20),warp=tps]'

    Raises:
        UsageError: a value cannot be written in a name.
    """
    if not options:
        return name
    written = (f"{option}={_write_value(options[option], option)}" for option in sorted(options))
    return f"{name}[{','.join(written)}]"


def plain_value(value: Any) -> Any:
    """A value as it is compared: 2.0 is 2, and a list is a tuple."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(plain_value, value))
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_INTEGERS:
        return int(value)
    return value


def _malformed(name: str) -> UsageError:
    return UsageError(f"malformed model name {name!r}; {_EXAMPLE}")


def _parts(text: str, name: str) -> list[str]:
    """What lies between the commas of a part of a model's name."""
    try:
        return split_at_commas(text)
    except UsageError:
        raise _malformed(name) from None


def _parse_value(text: str, name: str) -> Any:
    if text.startswith("(") and text.endswith(")"):
        entries = _parts(text[1:-1], name)
        if not entries[-1].strip():  # (10,) is a tuple of one, () one of none
            entries.pop()
        return tuple(_parse_value(entry.strip(), name) for entry in entries)
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
        return plain_value(float(text))
    if _WORD.fullmatch(text):
        return text
    raise _malformed(name)


def _write_value(value: Any, option: str) -> str:
    value = plain_value(value)
    if isinstance(value, tuple):
        entries = [_write_value(entry, option) for entry in value]
        return f"({','.join(entries)}{',' if len(entries) == 1 else ''})"
    for text, constant in _CONSTANTS.items():
        if value is constant:
            return text
    is_word = isinstance(value, str) and _WORD.fullmatch(value) and value.lower() not in _CONSTANTS
    is_number = isinstance(value, (int, float)) and math.isfinite(value)
    if not is_word and not is_number:
        raise UsageError(
            f"the option {option!r} cannot be part of a model's name with the value {value!r}; "
            "register a function that sets it"
        )
    return str(value)
