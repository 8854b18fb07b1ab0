"""What several subcommands of ``stn`` share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stn_core.errors import UsageError, is_missing, printable, user_path
from stn_core.session.user_modules import import_models
from stn_core.suite.option_values import read_imports

ENDS_BISECTION = 128
"""The first exit status at which ``git bisect run`` stops; below it, all but 0 and 125 are bad."""


def as_path(text: str) -> Path:
    """A path as a user writes it; a mistake is reported as argparse reports its own."""
    try:
        return user_path(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def as_existing_path(text: str) -> Path:
    """A path that must exist; argparse does not check an option's default."""
    path = as_path(text)
    if is_missing(path):
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def complain(complaints: Sequence[str]) -> None:
    """Print messages to standard error, a line each."""
    for complaint in complaints:
        print(printable(complaint), file=sys.stderr)


def show_path(path: Path) -> None:
    """Print where something was written."""
    print(printable(str(path)))


def add_out(parser: argparse._ActionsContainer) -> None:
    """Add the option that says where to write."""
    parser.add_argument(
        "--out", type=as_path, default=Path(), help="the folder to write into (default: .)"
    )


def add_baselines(parser: argparse._ActionsContainer, default: str = "baselines.json") -> None:
    """Add the option that names a file of stored values; its help gives `default` as it is."""
    parser.add_argument(
        "--baselines",
        type=as_existing_path,
        default=Path("baselines.json"),
        help=f"the baselines file (default: {default})",
    )


def add_saved_model(parser: argparse._ActionsContainer) -> None:
    """Add the argument that names a saved model."""
    parser.add_argument(
        "model", metavar="MODEL", type=as_path, help="a file that --save-models wrote"
    )


def add_device_and_imports(parser: argparse._ActionsContainer) -> None:
    """Add the options of a command that runs models."""
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add_imports(parser)


def add_imports(parser: argparse._ActionsContainer) -> None:
    """Add the option that names the user's modules."""
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="NAMES",
        default="",
        help="modules or files that register models, comma-separated",
    )


def import_given(given: argparse.Namespace) -> None:
    """Import what ``--import`` names.

    Raises:
        UsageError: there is no such module, or it fails to import.
    """
    import_models(read_imports(given.imports), Path.cwd())


def run_pytest(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Run pytest in this process and return its exit status.

    The package is imported already, and pytest warns that it can no longer rewrite its assertions.
    That warning is ignored: if warnings are errors, it would end the session in a traceback.
    """
    import pytest

    quiet = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*arguments, *quiet], plugins=plugins))
