"""TOML files that a user writes: claims, and the cells of a study."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from stn_core.errors import UsageError, check_regular


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UsageError: it cannot be read, or is not TOML.
    """
    try:
        check_regular(path)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UsageError:
        raise
    except ValueError as error:  # UTF-8 that is damaged, or TOML
        raise UsageError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply") from None
