"""What is left to the nightly run: the same law again where each case takes seconds."""

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_nightly(parameters: Iterable[Any], *, on_every_run: Iterable[Any]) -> list[Any]:
    """Parameters of a test, of which ``make test`` runs a few and ``make nightly`` the others."""
    listed, kept = list(parameters), list(on_every_run)
    assert kept, "make test would run none of them"
    assert all(each in listed for each in kept), "a name that is gone runs nowhere"
    return [each if each in kept else _nightly(each) for each in listed]


def _nightly(parameter: Any) -> Any:
    values = parameter if isinstance(parameter, tuple) else (parameter,)
    return pytest.param(*values, marks=pytest.mark.nightly)


IN_ONE_PROCESS_AND_WITH_WORKERS = [
    pytest.param((), id="one process"),
    pytest.param(("-n", "2"), id="workers", marks=pytest.mark.nightly),
]
"""Arguments of a session. Workers import torch anew, which takes longer than most tests."""
