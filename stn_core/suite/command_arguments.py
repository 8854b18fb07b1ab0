"""What several of the command ``stn``'s subcommands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stn_core.errors import UsageError, printable, user_path


def as_path(text: str) -> Path:
    """A path as a user writes it; a mistake is told as argparse tells its own."""
    try:
        return user_path(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def complain(complaints: Sequence[str]) -> None:
    """Print messages to standard error, a line each."""
    for complaint in complaints:
        print(printable(complaint), file=sys.stderr)


def add_device_and_imports(parser: argparse._ActionsContainer) -> None:
    """Add the options of a command that runs models."""
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add_imports(parser)


def add_imports(parser: argparse._ActionsContainer) -> None:
    """Add the option that names modules of the user's."""
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="NAMES",
        default="",
        help="modules or files that register models, comma-separated",
    )
