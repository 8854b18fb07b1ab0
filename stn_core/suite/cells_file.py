"""--cells: the cells of a study, listed in a TOML file.

[[cell]]
dataset = "digits_rts"
model = "stn"
options = { warp = "tps", sampler = "linearized" }   # as in 'stn[warp=tps,sampler=linearized]'

[[cell]]
dataset = "digits_rts"
model = "timm:test_resnet"
recipe = { epochs = 20, learning_rate = 0.002 }      # a search, as on the command line
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from stn_core.errors import UsageError
from stn_core.schema import checked, shown
from stn_core.session.recipe import Recipe
from stn_core.session.toml_files import read_toml

Result = TypeVar("Result")


@dataclass(frozen=True)
class CellEntry:
    """One cell of the file.

    Args:
        dataset: its name.
        model: its name, with or without options in brackets.
        options: of the model, in addition to those.
        recipe: fields of the budget's recipe that the cell changes.
        place: the start of an error message: the file and the entry's number.
    """

    dataset: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    place: str = ""

    def named(self, make: Callable[[], Result]) -> Result:
        """Call a function whose errors are to name the file and the entry."""
        try:
            return make()
        except UsageError as error:
            raise UsageError(f"{self.place}: {error}") from error


@dataclass(frozen=True)
class _File:
    cell: tuple[dict[str, Any], ...]


def read_cells_file(path: Path) -> tuple[CellEntry, ...]:
    """The entries of a file, in their order.

    Raises:
        UsageError: it cannot be read, is not TOML, or holds something else; names the entry and the
            field.
    """
    entries = checked(_File, read_toml(path), f"{path}: ").cell
    if not entries:
        raise UsageError(f"{path} holds no [[cell]]")
    return tuple(_entry(f"{path}: cell {n}", values) for n, values in enumerate(entries, start=1))


def _entry(place: str, values: dict[str, Any]) -> CellEntry:
    if "place" in values:  # which is set here
        raise UsageError(f"{place}: 'place' is not a field")
    entry = dataclasses.replace(checked(CellEntry, values, f"{place}: "), place=place)
    if not entry.dataset or not entry.model:
        raise UsageError(f"{place}: dataset and model must be names, not {shown('')}")
    entry.named(lambda: Recipe().replace(entry.recipe))
    return entry
