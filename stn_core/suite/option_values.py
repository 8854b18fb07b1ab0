"""Turning the text of an option into its value; a mistake is one line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from stn_core.errors import UsageError, user_path
from stn_core.registry import split_names

MOST_SEEDS = 1000
RECIPES = ("fast", "predecessor")


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds as a count ("5" is 0 to 4), a range ("10-14") or a list with a comma ("3,", "0,3,7").

    Raises:
        UsageError: the text is none of these, names a seed twice, or names none.
    """
    wrong = UsageError(f"expected a count or a list such as 5, 10-14 or 0,3,7, not {text!r}")
    seeds: list[int] = []
    if re.fullmatch(r"\d+", text):
        seeds = list(range(min(int(text), MOST_SEEDS + 1)))
    elif re.fullmatch(r"(\d+(-\d+)?,)*(\d+(-\d+)?)?", text):
        for part in _parts(text):
            first, _, last = part.partition("-")
            end = min(int(last or first), int(first) + MOST_SEEDS)
            if end < int(first):
                raise wrong
            seeds += range(int(first), end + 1)
    if not 0 < len(seeds) <= MOST_SEEDS or len(set(seeds)) < len(seeds):
        raise wrong
    return tuple(seeds)


def read_shard(text: str) -> tuple[int, int]:
    """A share of the cells, "2/3", as (2, 3).

    Raises:
        UsageError: the text is not of that form, or names a share that does not exist.
    """
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if not match or int(match[1]) > int(match[2]):
        raise UsageError(f"expected K/N with K from 1 to N, such as 2/3, not {text!r}")
    return int(match[1]), int(match[2])


def read_image_size(text: str) -> tuple[int, int]:
    """A size as people write it: "64" or "45x60", height before width.

    Raises:
        UsageError: it is not a size.
    """
    match = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", text.lower())
    if not match:
        raise UsageError(f"expected pixels, N or HxW, such as 64 or 45x60, not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def read_names(text: str) -> tuple[str, ...]:
    """Names of datasets, separated by commas."""
    return tuple(split_names(text))


def _parts(text: str) -> list[str]:
    """Paths or seeds separated by commas; brackets have no meaning here."""
    return [part.strip() for part in text.split(",") if part.strip()]


def read_minutes(text: str) -> float:
    """A number of minutes above 0.

    Raises:
        UsageError: the text is something else.
    """
    return _number(text, "a number of minutes above 0", lambda minutes: 0 < minutes < 1e6)


def read_threads(text: str) -> int:
    """A number of threads, 1 or more.

    Raises:
        UsageError: the text is something else.
    """
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise UsageError(f"expected a whole number of 1 or more, not {text!r}")
    return int(text)


def read_share(text: str) -> float:
    """A share of a card, above 0 and up to 1.

    Raises:
        UsageError: the text is something else.
    """
    return _number(text, "a share of a card, above 0 and up to 1", lambda share: 1e-4 <= share <= 1)


def read_points(text: str) -> float:
    """Points of accuracy, from 0 to below 100.

    Raises:
        UsageError: the text is something else.
    """
    return _number(text, "points of accuracy from 0 to below 100", lambda points: 0 <= points < 100)


def _number(text: str, expected: str, fits: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan  # which fits no bounds
    if not fits(number):
        raise UsageError(f"expected {expected}, not {text!r}")
    return number


def read_path(text: str) -> str:
    """A path as plain text: values of options travel to other processes."""
    return str(user_path(text))


def read_paths(text: str) -> tuple[str, ...]:
    """One or more paths, separated by commas.

    Raises:
        UsageError: there are no paths.
    """
    paths = tuple(map(read_path, _parts(text)))
    if not paths:
        raise UsageError("expected a file or a folder")
    return paths


def read_imports(text: str) -> tuple[str, ...]:
    """Names of modules and paths of Python files, separated by commas."""
    return tuple(read_path(name) if name.endswith(".py") else name for name in _parts(text))


def read_setting(text: str) -> tuple[str, Any]:
    """A field of the recipe and its value, "epochs=5".

    Raises:
        UsageError: there is no such field, or it cannot have such a value.
    """
    from stn_core.session.recipe import parse_setting

    return parse_setting(text)


def field_reader(name: str) -> Callable[[str], Any]:
    """The function that reads the value of one field of the recipe."""
    return lambda text: read_setting(f"{name}={text}")[1]


def read_recipe(text: str) -> str:
    """The name of a recipe.

    Raises:
        UsageError: there is no such recipe.
    """
    if text not in RECIPES:
        raise UsageError(f"expected {' or '.join(RECIPES)}, not {text!r}")
    return text
