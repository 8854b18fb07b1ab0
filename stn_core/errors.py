"""The one error for mistakes that a user can mend, and the sentence for a name nobody knows."""

from __future__ import annotations

import difflib
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
