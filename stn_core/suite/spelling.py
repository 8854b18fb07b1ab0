"""How a session spells our options: with the prefix, or by their short names."""

from __future__ import annotations

import re

import pytest

from stn_core.suite.options import OPTIONS, PREFIX, SHORT_NAMES_PLUGIN

_NAMES = "|".join(map(re.escape, OPTIONS))
_SPELLING = re.compile(rf"(?<![\w-])--({_NAMES})(?![\w-])")


def clash_line(error: Exception) -> str:
    """What to do about an option that another plugin or conftest.py also has; "" if it is not ours.

    Args:
        error: pytest's or argparse's, about that option.
    """
    named = re.search(rf"--({PREFIX})?({_NAMES})(?![\w-])", str(error))
    if not named:
        return ""
    if named[1]:
        return f"{named[0]} is an option of stn_core: give yours another name"
    return (
        f"{named[0]} is an option of {SHORT_NAMES_PLUGIN} and of another plugin or conftest.py:"
        f" leave out '-p {SHORT_NAMES_PLUGIN}' and write --{PREFIX}{named[2]}, or rename the other"
    )


def respelled(text: str, config: pytest.Config) -> str:
    """A message with its options spelled as this session accepts them."""
    if config.pluginmanager.hasplugin(SHORT_NAMES_PLUGIN):
        return text
    return _SPELLING.sub(rf"--{PREFIX}\1", text)
