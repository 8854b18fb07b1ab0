"""The hooks that a project can implement, in its conftest.py or a plugin of its own.

They are specifications: pytest never calls them, only what implements them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stn_core.engines import Engine
    from stn_core.engines.away import Surroundings
    from stn_core.training.callbacks import Callback


@pytest.hookspec
def pytest_stn_callbacks(config: pytest.Config) -> Sequence[Callback]:
    """What is to follow every run of the session, beside what the command line asks for.

    Called once in each process that trains, before its first run.

    Args:
        config: of the session.

    Returns:
        Callbacks; `stn_core.training.callbacks` says what they are told, and when.
    """
    raise NotImplementedError


@pytest.hookspec(firstresult=True)
def pytest_stn_engine(config: pytest.Config, surroundings: Surroundings) -> Engine | None:
    """What is to compute the runs of the session, in place of its own processes or a Ray cluster.

    Called once in each process that trains, after the modules of ``--import`` are imported.

    Args:
        config: of the session.
        surroundings: what a run needs on another machine, for `stn_core.engines.away.run_away`.

    Returns:
        An engine (`stn_core.engines.Engine`), None to leave the choice to others.
    """
    raise NotImplementedError
