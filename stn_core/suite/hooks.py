"""The hooks that a project can implement in its conftest.py or in a plugin.

These are specifications: pytest never calls them, only their implementations. What they return is
what a session does without any.
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
    """Callbacks for every run of the session, in addition to those of the command line.

    Called once in each process that trains, before its first run.

    Args:
        config: of the session.

    Returns:
        Callbacks; `stn_core.training.callbacks` says when each method is called.
    """
    return ()


@pytest.hookspec(firstresult=True)
def pytest_stn_engine(config: pytest.Config, surroundings: Surroundings) -> Engine | None:
    """The engine that computes the session's runs, instead of its own processes or a Ray cluster.

    Called once in each process that trains, after the modules of ``--import`` are imported.

    Args:
        config: of the session.
        surroundings: what a run needs on another machine, for `stn_core.engines.away.run_away`.

    Returns:
        An engine (`stn_core.engines.Engine`), or None to leave the choice to others.
    """
    return None
