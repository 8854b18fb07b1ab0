"""Dataclasses as schemas: the content of a JSON file is checked against one as it is read.

msgspec compares values with the dataclass's types; this module parses, and says in the user's words
what is wrong and where. The file itself is never trusted: names that appear twice, huge
integers, byte order marks and deep nesting are refused in one line.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import reprlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from stn_core.errors import TooOldError, UsageError, check_regular, needs_extra, one_line, printable

with needs_extra("suite"):
    import msgspec
    from msgspec import Meta

Kind = TypeVar("Kind")

LARGEST = 2**53
"""The largest whole number: beyond it JSON's are not exact in every program."""

Whole = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
CountFrom1 = Annotated[int, Meta(ge=1, le=LARGEST)]
Number = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Amount = Annotated[float, Meta(ge=0, le=sys.float_info.max)]
Share = Annotated[float, Meta(ge=0, le=1)]

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_BOUNDS = {
    ">= 0": "must be 0 or more",
    ">= 0.0": "must be 0 or more",
    ">= 1": "must be 1 or more",
    "<= 1.0": "must be in [0, 1]",
    f">= {-sys.float_info.max}": "must be a finite number",
    f"<= {sys.float_info.max}": "must be a finite number",
}


class NotJsonError(UsageError):
    """A text is not JSON: it was torn, say."""


def read_json(path: Path, *, is_text: bool = True) -> Any:
    """What a JSON file holds.

    Args:
        path: the file.
        is_text: as of `parse_json`.

    Raises:
        UsageError: it cannot be read, or is not JSON as this program writes it.
    """
    try:
        check_regular(path)
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise NotJsonError(f"{path}: not UTF-8 text: byte {error.start}") from None
    return parse_json(text, f"{path}: ", is_text=is_text)


def parse_json(text: str, where: str, *, is_text: bool = True) -> Any:
    """What a JSON text holds.

    Args:
        text: of the file, or of a line of it.
        where: what an error begins with.
        is_text: every string is made printable, since it will be shown; not so a path, which is
            used.

    Raises:
        UsageError: it is not JSON, a name appears twice in an object, or it has a byte order mark.
    """
    if text.startswith("\ufeff"):
        raise UsageError(f"{where}begins with a byte order mark; save it as UTF-8 without one")
    is_safe = not (is_text and _may_be_unsafe(text))
    if is_safe and (plain := _parse_plain(text)) is not None:
        return plain
    try:
        values = _parse(text, where)
        return values if is_safe else _printable_strings(values)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise NotJsonError(f"{where}not JSON: {place}: {error.msg}") from None
    except _TwiceError:
        raise UsageError(f"{where}two names differ only in unprintable characters") from None
    except RecursionError:
        raise UsageError(f"{where}nested too deeply") from None


def _may_be_unsafe(text: str) -> bool:
    """Whether a string in it may need escapes: then it has them in JSON too, or is not ASCII."""
    return "\\" in text or "\x7f" in text or not text.isascii()


def _parse_plain(text: str) -> Any:
    """What a text holds, in a third of the time; None of one that takes a closer look.

    Where each colon ends a name, a name that appeared twice and was dropped is missing among the
    colons of what was read.
    """
    colons = text.count(":")
    if "\\" in text or text.count('":') != colons:
        return None
    try:
        values = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return values if msgspec.json.encode(values).count(b":") == colons else None


def _parse(text: str, where: str) -> Any:
    try:
        return _DECODER.decode(text)
    except _TwiceError:
        place, name = next(_repeated_names(_MARKING_DECODER.decode(text), ()))
        inside = f"in {' > '.join(place)}: " if place else ""
        raise UsageError(f"{where}{inside}{name!r} appears twice") from None


class _TwiceError(Exception):
    """A name appears twice in an object."""


class _Repeating(dict[str, Any]):
    """An object in which a name appears twice.

    Args:
        values: the last one of each name.
        name: the first that has several.
    """

    def __init__(self, values: dict[str, Any], name: str) -> None:
        super().__init__(values)
        self.name = name


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _TwiceError
    return values


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    names = [name for name, _ in pairs]
    return _Repeating(values, next(name for name in names if names.count(name) > 1))


def _repeated_names(values: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where names appear twice: the way there, lists counted from 1, and the name."""
    if isinstance(values, _Repeating):
        yield place, values.name
    if isinstance(values, dict):
        for name, value in values.items():
            yield from _repeated_names(value, (*place, name))
    elif isinstance(values, list):
        for number, value in enumerate(values, start=1):
            yield from _repeated_names(value, (*place, str(number)))


def _bounded(digits: str) -> int | float:
    """An integer; Python converts no more than 4300 digits, and the schema refuses fewer."""
    return int(digits) if len(digits) < 1000 else math.inf


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_bounded)
_MARKING_DECODER = json.JSONDecoder(object_pairs_hook=_marked, parse_int=_bounded)


def _printable_strings(values: Any) -> Any:
    if isinstance(values, str):
        return printable(values)
    if isinstance(values, dict):
        return _unique([(printable(n), _printable_strings(value)) for n, value in values.items()])
    return [_printable_strings(value) for value in values] if isinstance(values, list) else values


def read_versioned(path: Path, version: int, what: str, *, is_text: bool = True) -> dict[str, Any]:
    """The object in a JSON file that names the version of its format.

    Args:
        path: the file.
        version: the one that can be read.
        what: what the file should be, in the user's words ("a baselines file").
        is_text: as of `parse_json`.

    Raises:
        UsageError: it cannot be read, holds something else or is of another version.
    """
    content = read_json(path, is_text=is_text)
    if not isinstance(content, dict) or "version" not in content:
        raise UsageError(f"{path} is not {what}: it names no version")
    check_version(content["version"], version, f"{path} is not {what}")
    return content


def check_version(found: Any, version: int, where: str) -> None:
    """Check that a version is the one that can be read.

    Raises:
        UsageError: it is not (TooOldError: older); the line begins with `where`.
    """
    if type(found) is not int or found != version:
        kind = TooOldError if type(found) is int and found < version else UsageError
        raise kind(f"{where} of version {version}: its version is {shown(found)}")


def json_object(value: Any, where: str) -> dict[str, Any]:
    """The value, if it is a JSON object.

    Args:
        value: of any type.
        where: what an error begins with.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}expected an object, not {shown(value)}")
    return dict(value)


def checked(kind: type[Kind], values: Any, where: str) -> Kind:
    """What the JSON values of a dataclass, a list or another type stand for.

    Args:
        kind: a dataclass, whose lists may be tuples, or a type such as ``dict[str, Number]``.
        values: of the parsed file.
        where: what an error begins with.

    Raises:
        UsageError: a field is unknown, is missing or has a value of another type or out of range;
            the line names it.
    """
    if unknown := next(_unknown_fields(kind, values), None):
        raise UsageError(f"{where}{unknown!r} is not a field")
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, UsageError):  # a dataclass's own words
            raise UsageError(f"{where}{error.__cause__}") from None
        raise UsageError(f"{where}{_in_words(str(error), values)}") from None


def shown(value: Any) -> str:
    """A value in an error: its beginning, in one line."""
    return one_line(_SHORT.repr(value), 100)


class _Short(reprlib.Repr):
    """Representations that stay short, whatever they are of."""

    def repr_int(self, x: int, level: int) -> str:
        """An integer's, which Python refuses to convert above 4300 digits."""
        if x.bit_length() < 128:
            return repr(x)
        return f"a whole number of {int(x.bit_length() * math.log10(2)) + 1} digits"


_SHORT = _Short()
_SHORT.maxstring = 60


@functools.cache
def _parts(kind: type) -> tuple[frozenset[str], tuple[tuple[str, type], ...]]:
    """The names of a dataclass's fields, and those that hold dataclasses themselves."""
    hints = get_type_hints(kind)
    inner = []
    for name, hint in hints.items():
        for part in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                inner.append((name, part))
    return frozenset(entry.name for entry in dataclasses.fields(kind)), tuple(inner)


def _unknown_fields(kind: Any, values: Any, place: str = "") -> Iterator[str]:
    """The fields of a dataclass's values, and of those within them, that it does not have."""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return
    if isinstance(values, list):
        for value in values:
            yield from _unknown_fields(kind, value, place)
    elif isinstance(values, dict):
        names, inner = _parts(kind)
        yield from (f"{place}{name}" for name in values if name not in names)
        for name, part in inner:
            yield from _unknown_fields(part, values.get(name), f"{place}{name}.")


# What is wrong, whether it is in an object's keys, and the way there.
_PLACE = re.compile(r"(?s)^(.*?)(?: - at (`key` in )?`\$(.*)`)?$")


def _in_words(error: str, values: Any) -> str:
    """What msgspec says, in the user's words, with the field's name and its value."""
    said, in_keys, at = _PLACE.findall(error)[0]
    field = at.removeprefix(".").replace("[...]", "")
    missing = re.fullmatch(r"Object missing required field `(.+)`", said)
    if missing:
        return f"{field}.{missing[1]} is missing".removeprefix(".")
    value = _UNKNOWN if in_keys else _value_at(values, at)
    found = "" if value is _UNKNOWN else f", not {shown(value)}"
    expected = re.fullmatch(r"Expected `(.+?)`(?: (.+?))?(?:, got .+)?", said)
    if said == "Number out of range" or _is_out_of_bounds(value):
        return f"{field} is out of range: {shown(value)}"
    if not expected:
        return f"{field}: {said}"
    kind, bound = expected[1], expected[2] or ""
    if bound in _BOUNDS:
        return f"{field} {_BOUNDS[bound]}{found}"
    words = " or ".join(_WORDS.get(word, word) for word in kind.split(" | "))
    words += f" {bound}" if bound else ""
    if field and (in_keys or at.endswith("[...]")):
        field = f"each {'key' if in_keys else 'value'} of {field}"
    return f"{field} must be {words}{found}" if field else f"expected {words}{found}"


_UNKNOWN = object()


def _is_out_of_bounds(value: Any) -> bool:
    if type(value) is float:
        return not math.isfinite(value)
    return type(value) is int and abs(value) > LARGEST


def _value_at(values: Any, at: str) -> Any:
    """The value at msgspec's path; which of an object's values "[...]" means is not known."""
    for name, number in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", at):
        if number == "..." or type(values) not in (dict, list, tuple):
            return _UNKNOWN
        values = values[int(number)] if number else values.get(name, _UNKNOWN)
    return values
