"""The seeds that groups of cells need beyond their members' verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stn_core.errors import UsageError
from stn_core.report.text_table import counted
from stn_core.suite.command_line import CommandLine
from stn_core.suite.group_runs import Runs

if TYPE_CHECKING:
    from stn_core.engines import Engine
    from stn_core.suite.context import SessionContext


def train_for_groups(context: SessionContext, runs: Runs, reference_runs: Runs) -> None:
    """Train seeds after the last test, where the session trains or as widely as its tests ran.

    Such runs report progress and can be resumed; they leave no pictures, models or curves, and the
    callbacks of hooks do not watch them.

    Args:
        context: of the session's first process.
        runs: cells, each with a seed.
        reference_runs: those to train with the code of the commit to compare with.

    Raises:
        UsageError: a run cannot be computed, a record cannot be kept, or there is too little time
            for all of them.
    """
    limit, reference = context.time_limit, context.reference
    cells = [cell for cell, _ in runs]
    if reference:
        cells += [c for c, seed in reference_runs if reference.runs_to_train(c, [seed])]
    if limit:
        for record in context.store.own_records()[0]:  # which other processes may have trained
            limit.note(record)
        if not limit.allows_all(cells, context.workers):
            raise UsageError(f"--minutes {limit.minutes:g}: --resume last continues")
    context.tell([f"groups of cells need {counted(len(cells), 'more run')}"])
    context.watching.expect_more(cell.key for cell in cells)
    if reference:
        for record in reference.train(reference_runs, context.workers):
            context.watching.count_of_commit(record)
    if context.has_engine:
        _train_all(context, runs, context.engine)
        return
    from stn_core.engines import Processes

    folder = CommandLine(context.config).folder("import")
    engine = Processes(context.workers, context.options.imports, folder)
    try:
        _train_all(context, runs, engine)
    finally:
        engine.close()


def _train_all(context: SessionContext, runs: Runs, engine: Engine) -> None:
    from stn_core.engines import EngineError, Task
    from stn_core.suite.run_callbacks import callbacks_of_groups
    from stn_core.training.callbacks.base import tell_kept

    assert context.plan
    try:
        callbacks = () if engine.is_elsewhere else callbacks_of_groups(context)
        for place, (cell, seed) in enumerate(runs):
            settings = context.settings if context.has_engine else context.settings_of(place)
            data_hash = context.plan.data_hashes[cell.dataset]
            engine.submit(Task(cell, seed, settings, callbacks, data_hash=data_hash))
        for _ in runs:
            result = engine.next_outcome().result
            if result:
                context.store.keep(result.record)
                tell_kept(callbacks, result.record)
    except EngineError as error:
        raise UsageError(str(error)) from error
    finally:
        engine.cancel()
