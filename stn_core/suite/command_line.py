"""The options of a session: from the command line, a configuration file or the environment."""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stn_core.errors import UsageError
from stn_core.suite.options import OPTIONS, PREFIX

START_TIME_FORMAT = "%Y-%m-%d_%H-%M-%S"
XDIST_SESSION = pytest.StashKey[str]()
"""xdist's name for the session, in its first process."""
_START_TIME = pytest.StashKey[str]()
_BY_HAND = pytest.StashKey[list[str]]()


class CommandLine:
    """The values of a session's options.

    Args:
        config: pytest's.
        environment: variables that count if an option is not given.
    """

    def __init__(self, config: pytest.Config, environment: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._environment = os.environ if environment is None else environment

    def __getitem__(self, name: str) -> Any:
        """The value of an option; None, or False for a flag, if it was not given.

        Raises:
            UsageError: its environment variable cannot be read.
        """
        option = OPTIONS[name]
        value = self._config.getoption(option.destination)
        text = self._environment.get(option.variable, "")
        if value is not None or option.read is None or not text:
            return value
        try:
            return option.read(text)
        except UsageError as error:
            raise UsageError(f"{option.variable}: {error}") from None

    @property
    def default_folder(self) -> Path:
        """Where results and baselines go unless an option says otherwise."""
        return self._config.rootpath

    @property
    def start_time(self) -> str:
        """When the session began."""
        return start_time(self._config)

    @property
    def given(self) -> bool:
        """Whether any option was given, apart from variables."""
        values = (self._config.getoption(option.destination) for option in OPTIONS.values())
        return any(value not in (None, False) for value in values)

    @property
    def has_workers(self) -> bool:
        """Whether xdist's workers run the tests."""
        # -n sets --dist, and --tx without it starts no worker.
        is_distributed = self._config.getoption("dist", "no") != "no"
        return is_distributed or hasattr(self._config, "workerinput")

    @property
    def workers(self) -> int:
        """How many of xdist's workers run the tests; 1 if this process does."""
        if not (self.has_workers and self._config.getoption("tx", None)):
            return 1
        from xdist.workermanage import parse_tx_spec_config

        return len(parse_tx_spec_config(self._config))  # reads 2*popen

    @property
    def keeps_order(self) -> bool:
        """Whether tests must run as they were collected, the same in the next session.

        --stepwise continues at the test that failed last, and leaves out what comes before it.
        """
        return bool(self._config.getoption("stepwise", False))

    @property
    def asks_for_claims(self) -> bool:
        """Whether -m selects the claims."""
        return bool(re.search(r"(?<!not )\bclaims\b", self._config.getoption("-m")))

    def folder(self, name: str) -> Path:
        """Where to look for what an option names: in the user's current folder, if the user wrote
        it.

        What a configuration file names is looked for beside that file.
        """
        config = self._config
        written = config.getoption(OPTIONS[name].destination) is not None
        if written and name not in options_by_hand(config):
            return config.inipath.parent if config.inipath else config.rootpath
        return config.invocation_params.dir

    def path(self, name: str) -> Path | None:
        """The path that an option names, None if it was not given."""
        value = self[name]
        return self.folder(name) / value if value else None


def options_by_hand(config: pytest.Config) -> list[str]:
    """The options in the command itself, in a file that it names as @FILE, or in PYTEST_ADDOPTS.

    They are the same in a worker.
    """
    told: list[str] | None = getattr(config, "workerinput", {}).get("stn_options_by_hand")
    if told is None:
        told = config.stash.get(_BY_HAND, None)
    if told is None:  # once, because a test may leave the folder that the files are in
        told = config.stash[_BY_HAND] = _options_by_hand(config)
    return told


def _options_by_hand(config: pytest.Config) -> list[str]:
    words = [str(word) for word in config.invocation_params.args]
    words += shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    # As pytest's own does, this parser replaces @FILE by the file's lines.
    reads_files = argparse.ArgumentParser(fromfile_prefix_chars="@", add_help=False)
    _, words = reads_files.parse_known_args(words)
    written = {word.partition("=")[0] for word in words}
    return [name for name in OPTIONS if written & {f"--{name}", f"--{PREFIX}{name}"}]


def check_words(config: pytest.Config) -> None:
    """Check that xdist can pass the command to its workers: it must be UTF-8.

    Raises:
        UsageError: it is not, because of a path, say.
    """
    for word in map(str, [*config.invocation_params.args, *sys.argv, config.rootpath]):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{word} is not UTF-8 text, which xdist cannot pass to its workers: leave out -n,"
                " or name a path in UTF-8"
            ) from None


def start_time(config: pytest.Config) -> str:
    """When the session began, as its results folder is called; the same in all its processes."""
    told: str | None = getattr(config, "workerinput", {}).get("stn_start_time")
    return told or config.stash.setdefault(
        _START_TIME, datetime.datetime.now().strftime(START_TIME_FORMAT)
    )
