"""The one error for mistakes that a user can mend, and its usual sentences."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable


class UsageError(ValueError):
    """A mistake of the user's: the message is one line that says what is wrong and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show of it: the line, without a traceback."""
        return [str(self)]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not registered, with the nearest names that are.

    Args:
        kind: what the name should have named, in the user's words ("model", "dataset").
        name: what was given.
        known: every name that would have been accepted.
    """
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if nearest:
        return UsageError(f"unknown {kind} {name!r}; did you mean {' or '.join(nearest)}?")
    return UsageError(f"unknown {kind} {name!r}; known: {', '.join(names) or 'none'}")


def require_package(name: str, wanted_by: str) -> None:
    """Say in time what is missing.

    Args:
        name: what is imported, and what pip installs.
        wanted_by: what needs it, in the user's words ("--tensorboard").

    Raises:
        UsageError: the package is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise UsageError(f"{wanted_by} needs a package that is missing: pip install {name}")
