"""An optional second plugin with short names: ``--device`` means ``--stn-device``, and so on.

Choose it with ``-p stn_core.suite.short_options`` if no other plugin and no conftest.py has options
of these names.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Generator
from typing import Any

import pytest

pytest_plugins = ["stn_core.suite.plugin"]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, Any, Any]:
    """Declare the short names once every installed plugin has declared its options.

    The one that comes second clashes, and pytest shows a plugin's clash as a traceback.
    """
    from stn_core.suite.options import declare_options
    from stn_core.suite.spelling import clash_line

    try:
        declare_options(parser, "")
    except argparse.ArgumentError as error:
        raise pytest.UsageError(clash_line(error)) from None
    # pytest parsed the arguments before these names existed, and took their values for test paths.
    known = parser.parse_known_args(args, copy.copy(early_config.option))
    known.confcutdir = early_config.known_args_namespace.confcutdir
    early_config.known_args_namespace = known
    return (yield)
