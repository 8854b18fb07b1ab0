"""What a run changes in its process is set back and named."""

from __future__ import annotations

import contextlib
import decimal
import gc
import io
import locale
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.optim.optimizer as optimisers

from stn_core.training.isolation import isolated, undisturbed
from stn_core.training.process_settings import process_settings_kept


def add_a_hook_for_every_module() -> None:
    torch.nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output * 2)


def add_a_hook_for_every_optimiser() -> None:
    optimisers.register_optimizer_step_pre_hook(lambda *arguments: None)


def set_another_locale() -> None:
    is_c = locale.setlocale(locale.LC_CTYPE) == "C"
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8" if is_c else "C")


CHANGES: dict[str, Callable[[], object]] = {
    "current folder": lambda: os.chdir("/"),
    "file mode mask": lambda: os.umask(0o777),
    "handlers of SIGINT and SIGTERM": lambda: signal.signal(signal.SIGINT, lambda *_: None),
    "recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "numpy's handling of errors": lambda: np.seterr(all="raise"),
    "numpy's print options": lambda: np.set_printoptions(precision=1),
}

OF_THE_WHOLE_RUN: dict[str, Callable[[], object]] = {
    "environment variables RUN_ID": lambda: os.environ.update(RUN_ID="7"),
    "environment variables PATH": lambda: os.environ.pop("PATH"),
    "environment variables PATH, RUN_ID": lambda: os.environ.update(RUN_ID="7", PATH="/"),
    "sys.stdout and sys.stderr": lambda: setattr(sys, "stderr", io.StringIO()),
    "decimal context": lambda: setattr(decimal.getcontext(), "prec", 3),
    "garbage collector": gc.disable,
    "locale": set_another_locale,
    "level below which logging is disabled": lambda: logging.disable(logging.CRITICAL),
    "torch's print options": lambda: torch.set_printoptions(precision=1, sci_mode=True),
    "torch's repetition of warnings": lambda: torch.set_warn_always(True),
    "torch's hooks of every module and optimiser": add_a_hook_for_every_module,
}


def state() -> list[object]:
    """The settings that a run and its callbacks may not leave changed."""
    mask = os.umask(0o022)
    os.umask(mask)
    folder, handler = Path.cwd(), signal.getsignal(signal.SIGINT)
    numpys = [np.geterr(), np.get_printoptions()]
    return [folder, mask, handler, sys.getrecursionlimit(), *numpys, list(warnings.filters)]


def surroundings() -> list[object]:
    """The settings that a callback may change until its run ends."""
    context = decimal.getcontext()
    return [
        dict(os.environ),
        (sys.stdout, sys.stderr),
        (context.prec, context.rounding, dict(context.traps)),
        (gc.isenabled(), gc.get_threshold()),
        locale.setlocale(locale.LC_ALL),
        logging.getLogger("any").isEnabledFor(logging.ERROR),
        str(torch.tensor([1 / 3, 1000.0])),
        torch.is_warn_always_enabled(),
        float(torch.nn.Identity()(torch.ones(()))),
    ]


@pytest.fixture(autouse=True)
def surroundings_of_before() -> Iterator[None]:
    """For tests that leave something changed, as a callback may."""
    with process_settings_kept():
        yield


@pytest.mark.parametrize("name", CHANGES | OF_THE_WHOLE_RUN)
def test_a_setting_that_a_run_changes_is_set_back_and_named(name: str) -> None:
    before = [*state(), *surroundings()]
    with isolated(0, torch.device("cpu"), 1) as changes:
        (CHANGES | OF_THE_WHOLE_RUN)[name]()
        assert [*state(), *surroundings()] != before
    assert [*state(), *surroundings()] == before
    assert changes == [name]


@pytest.mark.parametrize("name", OF_THE_WHOLE_RUN)
def test_a_callback_may_change_what_surrounds_its_run(name: str) -> None:
    with undisturbed(torch.device("cpu")):
        OF_THE_WHOLE_RUN[name]()
        changed = surroundings()
    assert surroundings() == changed


def test_a_hook_of_every_optimiser_is_removed() -> None:
    with isolated(0, torch.device("cpu"), 1) as changes:
        add_a_hook_for_every_optimiser()
    assert changes == ["torch's hooks of every module and optimiser"]
    assert not optimisers._global_optimizer_pre_hooks


def test_variables_that_torchs_compiler_sets_for_itself_stay() -> None:
    with isolated(0, torch.device("cpu"), 1) as changes:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/somewhere"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/somewhere"
    assert changes == []


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
