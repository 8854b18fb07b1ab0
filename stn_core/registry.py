"""Names and tables of named things: no duplicates, and an error that knows the nearest name."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from stn_core.errors import UsageError, one_line, printable, unknown_name

Entry = TypeVar("Entry")

_OPTIONS = re.compile(r"\[(?=[A-Za-z_]\w*=)")
"""The bracket before a variant's options; in a shell pattern, it would begin a set of letters."""


def check_name(kind: str, name: str) -> None:
    """Check that a name can stand in a cell's key, in a table and in a file's name.

    Args:
        kind: what it names, in the user's words.
        name: as it was given, or read from a file.

    Raises:
        UsageError: it is not text, is empty, or contains a slash or a control character.
    """
    if not isinstance(name, str):
        raise UsageError(f"the {kind} {name!r} needs a name that is text")
    if "/" in name:
        raise UsageError(f"the {kind} {name!r} needs a name without a slash")
    if not name or printable(name) != name:
        raise UsageError(f"the {kind} {name!r} needs a name of printable characters")


def fits(name: str, pattern: str) -> bool:
    """Whether a name fits a shell pattern, in which a variant's brackets stand for themselves.

    >>> fits("stn[hidden=64,warp=tps]", "stn[[]*warp=tps]"), fits("stn[warp=tps]", "stn[warp=*]")
    (True, True)
    """
    return fnmatch.fnmatchcase(name, _OPTIONS.sub("[[]", pattern))


def split_names(text: str) -> list[str]:
    """The names in a list separated by commas, as a command line has it.

    A comma within brackets separates a variant's options. Surrounding blanks and empty places are
    dropped.

    >>> split_names("stn[warp=tps,channels=(10,20)], cnn")
    ['stn[warp=tps,channels=(10,20)]', 'cnn']

    Raises:
        UsageError: a bracket is not closed, or not opened.
    """
    return [name for name in map(str.strip, split_at_commas(text)) if name]


def split_at_commas(text: str) -> list[str]:
    """The parts between the commas that lie outside of brackets.

    Raises:
        UsageError: brackets are not closed in the order in which they are opened.
    """
    closing, open_brackets, parts = {"[": "]", "(": ")"}, [], [""]
    for letter in text:
        if letter in closing:
            open_brackets.append(closing[letter])
        elif letter in closing.values() and (not open_brackets or open_brackets.pop() != letter):
            raise _unmatched(text)
        if letter == "," and not open_brackets:
            parts.append("")
        else:
            parts[-1] += letter
    if open_brackets:
        raise _unmatched(text)
    return parts


def _unmatched(text: str) -> UsageError:
    return UsageError(f"the brackets in {one_line(text, 100)!r} do not match")


class Registry(Generic[Entry]):
    """Entries by name, in the order in which they were registered.

    Args:
        kind: what an entry is, in the user's words; error messages use it.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, entry: Entry) -> None:
        """Register an entry.

        Raises:
            UsageError: the name is taken, or `check_name` refuses it.
        """
        check_name(self.kind, name)
        if name in self._entries:
            raise UsageError(f"the {self.kind} {name!r} is registered already; choose another name")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name; an unknown one raises a UsageError that names the nearest."""
        if not isinstance(name, str):
            raise UsageError(f"a {self.kind} is one of {', '.join(self.names())}; not {name!r}")
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def names(self, pattern: str = "*") -> list[str]:
        """The registered names that match a shell pattern such as ``"stn*"``, sorted."""
        return sorted(fnmatch.filter(self._entries, pattern))
