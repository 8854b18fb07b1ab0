"""The error for mistakes that a user can mend, its usual sentences, and what is safe to use."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib.util
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

MOST_CHARACTERS = 1500
"""A longer message is shortened in the middle: nobody reads a screen of one line."""

_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, line separators, direction marks, invisible characters (except the two
joiners, which some scripts need) and unpaired surrogates."""


def printable(text: str) -> str:
    """Make a text from a file, a model or an exception safe to print, tabulate or write.

    Characters that would move the cursor, start a new line, change the writing direction or be
    invisible are escaped as in Python (``\\n``, ``\\x1b``), and so are unpaired surrogates, which
    cannot be encoded. All other text is left as it is.
    """
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text made printable and, if it is longer than ``most``, shortened in the middle."""
    text = printable(text)
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 1]}…{text[-end:]}"


class UsageError(ValueError):
    """A mistake of the user's: the message is one line that says what is wrong and what to do.

    Args:
        message: any text; it is made printable, and shortened if it is very long.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show of it: the line, without a traceback."""
        return [str(self)]


class TooOldError(UsageError):
    """A file is of an older version than this code reads. If it is a cache, it counts as empty."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not registered, with the nearest names that are.

    Args:
        kind: what the name should have named, in the user's words ("model", "dataset").
        name: what was given.
        known: every name that would have been accepted.
    """
    names = sorted(set(known))
    by_letters = {each.casefold(): each for each in reversed(names)}
    nearest = difflib.get_close_matches(name.casefold(), by_letters, n=3, cutoff=0.5)
    if nearest:
        meant = " or ".join(by_letters[each] for each in nearest)
        return UsageError(f"unknown {kind} {name!r}; did you mean {meant}?")
    return UsageError(f"unknown {kind} {name!r}; known: {', '.join(names) or 'none'}")


@contextlib.contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Around imports of packages that only an extra of this one installs.

    Args:
        extra: its name, as pip takes it in brackets.

    Raises:
        UsageError: one of the packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise _not_installed(str(error.name), extra) from None


def require_package(name: str, wanted_by: str, extra: str) -> None:
    """Say in time that a package is missing.

    Args:
        name: what is imported.
        wanted_by: what needs it, in the user's words ("--tensorboard").
        extra: which of this package's extras installs it.

    Raises:
        UsageError: the package is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise UsageError(f"{wanted_by}: {_not_installed(name, extra)}")


def _not_installed(name: str, extra: str) -> UsageError:
    return UsageError(f"{name} is not installed: pip install 'stn-core[{extra}]'")


def user_path(path: str | os.PathLike[str]) -> Path:
    """A path as a user writes it, with ``~`` and ``~name`` for a home folder.

    Raises:
        UsageError: no user of that name has a home here, or no file can have such a name.
    """
    try:
        found = Path(path).expanduser()
        found.lstat()
    except RuntimeError:
        home = os.fspath(path).partition("/")[0]
        raise UsageError(f"{path}: the home folder of {home!r} is unknown") from None
    except ValueError:
        raise UsageError(f"{path}: no file can have this name") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{path}: {error.strerror}") from None
    return found


def is_missing(path: Path) -> bool:
    """Whether a path does not exist; a link exists, even if its target does not."""
    return not os.path.lexists(path)


def check_regular(path: Path) -> None:
    """Check that a path is not a pipe, a device or the like, which could block its reader.

    Raises:
        UsageError: it is one, or a link whose target does not exist.
        OSError: the path cannot be examined.
    """
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{path} is a link to {path.readlink()}, which cannot be found")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # its reader refuses a folder
            raise UsageError(f"{path} is not a regular file")
