"""Packages that only some of the work needs, and that an installation may lack."""

from __future__ import annotations

import importlib.util

from stn_core.errors import UsageError


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
