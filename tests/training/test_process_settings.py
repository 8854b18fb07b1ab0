"""What a run changes in its process is set back and named."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stn_core.training.isolation import isolated, undisturbed
from stn_core.training.process_settings import process_settings_kept

CHANGES: dict[str, Callable[[], object]] = {
    "current folder": lambda: os.chdir("/"),
    "file mode mask": lambda: os.umask(0o777),
    "handlers of SIGINT and SIGTERM": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    "recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "numpy's handling of errors": lambda: np.seterr(all="raise"),
    "numpy's print options": lambda: np.set_printoptions(precision=1),
}


def state() -> list[object]:
    mask = os.umask(0o022)
    os.umask(mask)
    handler = signal.getsignal(signal.SIGINT)
    folder, numpys = Path.cwd(), (np.geterr(), np.get_printoptions())
    return [folder, mask, handler, sys.getrecursionlimit(), *numpys, list(warnings.filters)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_a_run_changes_is_set_back_and_named(name: str) -> None:
    before = state()
    with isolated(0, torch.device("cpu"), 1) as changes:
        CHANGES[name]()
        assert state() != before
    assert state() == before
    assert changes == [name]


def test_settings_are_set_back_after_an_error_and_after_a_callback() -> None:
    before = state()
    with contextlib.suppress(ZeroDivisionError), undisturbed(torch.device("cpu")):
        for change in CHANGES.values():
            change()
        raise ZeroDivisionError
    assert state() == before


def test_filters_of_warnings_are_set_back() -> None:
    before = state()
    with process_settings_kept() as changes:
        warnings.simplefilter("ignore")
    assert state() == before
    assert changes == []


def test_a_warning_that_was_shown_is_not_shown_again() -> None:
    def warn() -> None:
        warnings.warn("look", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        warn()
        with process_settings_kept():
            warn()
        warn()
    assert len(shown) == 1


def test_a_folder_that_is_gone_cannot_be_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with process_settings_kept():
        os.chdir(tmp_path)
    assert Path.cwd() == tmp_path
