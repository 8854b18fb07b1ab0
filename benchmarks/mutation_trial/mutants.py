"""The bugs that are planted, and how one is put into a checkout."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stn_core.errors import UsageError, unknown_name

LIST = Path(__file__).parent.with_name("mutants.toml")


@dataclass(frozen=True)
class Mutant:
    """One mistake, as a replacement of text.

    Args:
        name: its own among the mutants.
        kind: which part of the work it affects.
        mistake: what the programmer did wrong, one line.
        file: what it changes, from the root; "" for the unchanged checkout.
        before: text that the file has exactly once.
        after: what the mistake puts in its place.
        cells: shell patterns of the keys of the core smoke cells that it can touch.
        laws: test files to ask first.
        blind: why it can touch no cell, where it can touch none.
    """

    name: str
    kind: str
    mistake: str
    file: str
    before: str
    after: str
    cells: tuple[str, ...]
    laws: tuple[str, ...] = ()
    blind: str = ""

    def touches(self, key: str) -> bool:
        """Whether it can change what the cell of that key gives."""
        return any(fnmatch.fnmatchcase(key, pattern) for pattern in self.cells)

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with the replacement or the cells."""
        content = json.dumps([self.file, self.before, self.after, self.cells])
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def plant(self, root: Path) -> None:
        """Make the mistake in the checkout at root.

        Raises:
            UsageError: the file does not have the text to replace exactly once.
        """
        if not self.file:
            return
        path = root / self.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        count = text.count(self.before)
        if count != 1:
            raise UsageError(f"{self.name}: its text occurs {count} times in {self.file}, not once")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


UNCHANGED = Mutant("unchanged", "control", "none", "", "", "", cells=("smoke/*",))


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """The mutants of a list by name; names are unique."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    for table in tables:
        table["cells"], table["laws"] = tuple(table["cells"]), tuple(table["laws"])
    return [Mutant(**table) for table in tables]


def choose(mutants: Sequence[Mutant], only: str | None) -> list[Mutant]:
    """The mutants that are asked for by name; all, after the unchanged commit, where none is.

    Raises:
        UsageError: a name is no mutant's.
    """
    by_name = {mutant.name: mutant for mutant in (UNCHANGED, *mutants)}
    names = list(by_name) if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in by_name:
            raise unknown_name("mutant", name, by_name)
    return [by_name[name] for name in names]
