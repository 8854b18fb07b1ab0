"""The context of a pytest process, and what the process does when it starts and ends."""

from __future__ import annotations

from typing import Any

import pytest

from stn_core.suite.agreement import Agreement
from stn_core.suite.command_line import XDIST_SESSION
from stn_core.suite.context import SessionContext
from stn_core.suite.plan_summary import ShowingThePlan
from stn_core.suite.stopping import end_with_first_process

_CONTEXT = pytest.StashKey[SessionContext]()


def context_of(config: pytest.Config) -> SessionContext:
    """The context of this process; its hooks take part from the first time it is asked for."""
    if _CONTEXT not in config.stash:
        context = config.stash[_CONTEXT] = SessionContext(config)
        config.pluginmanager.register(context.planning, "stn_core_planning")
        config.pluginmanager.register(context.reporting, "stn_core_reporting")
        config.pluginmanager.register(context.turns, "stn_core_turns")
        config.pluginmanager.register(context.watching, "stn_core_watching")
        if context.is_worker:
            end_with_first_process()
        elif context.only_plans:
            config.pluginmanager.register(ShowingThePlan(context), "stn_core_showing_the_plan")
        else:
            config.pluginmanager.register(context.stopping, "stn_core_stopping")
    return config.stash[_CONTEXT]


def join_workers(config: pytest.Config) -> None:
    """Take part, as xdist's first process, in a session whose workers have found cells."""
    if _CONTEXT in config.stash or Agreement(config.stash[XDIST_SESSION]).read():
        context_of(config).planning.learn_from_workers()
        scheduler: Any = getattr(config.pluginmanager.get_plugin("dsession"), "sched", None)
        if getattr(scheduler, "maxschedchunk", 1) is None:
            scheduler.maxschedchunk = 1  # cells are long, so no worker may hoard them


def leave_session(config: pytest.Config) -> None:
    """Release the results folder, so that the session can be resumed.

    The first process also removes what xdist's processes agreed on, after the last worker has
    ended.
    """
    if _CONTEXT not in config.stash:
        return
    context = context_of(config)
    context.release_results()
    if context.agreement and not context.is_worker:
        context.agreement.discard()
