"""The user's modules, imported by the name or the file that ``--import`` gives."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from stn_core.errors import UsageError, user_path


def import_models(names: Iterable[str], folder: Path) -> None:
    """Import modules by name, or by file, so that the models in them are registered.

    Args:
        names: "my_module" (looked for in `folder` too) or "path/to/my_module.py".
        folder: where the command was given.

    Raises:
        UsageError: there is no such module, or it fails to import.
    """
    for name in names:
        try:
            if name.endswith(".py"):
                _import_file(folder / user_path(name))
            else:
                if str(folder) not in sys.path:
                    sys.path.insert(0, str(folder))
                importlib.import_module(name)
        except UsageError as error:
            raise UsageError(f"--import {name}: {error}") from None
        except (Exception, SystemExit) as error:  # whatever the user's module raises
            raise UsageError(f"--import {name}: {type(error).__name__}: {error}") from None


def _import_file(path: Path) -> None:
    name = f"imported from {path.resolve()}"  # no module of another name can be taken for it
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise UsageError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:  # or the next import would find a half-initialised module
        del sys.modules[name]
        raise
