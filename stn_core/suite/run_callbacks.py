"""Who watches the runs of a session: the callbacks of its cells, and of the seeds for groups."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from stn_core.training import callbacks as library

if TYPE_CHECKING:
    from stn_core.suite.context import SessionContext
    from stn_core.training.callbacks import Callback


def callbacks_of_cells(context: SessionContext) -> tuple[Callback, ...]:
    """The callbacks of a cell's runs: those of the command line, then those of hooks."""
    options, config, store = context.options, context.config, context.store
    progress, checkpoints = callbacks_of_groups(context)
    chosen = [progress, library.KeepArtifacts(str(store.artifacts_folder))]
    if options.tensorboard:
        chosen.append(library.WriteTensorBoard(str(store.tensorboard_folder)))
    if options.save_models:
        chosen.append(library.SaveModels(str(store.models_folder), options.imports))
    chosen += itertools.chain.from_iterable(config.hook.pytest_stn_callbacks(config=config))
    return (*chosen, checkpoints)


def callbacks_of_groups(context: SessionContext) -> tuple[Callback, Callback]:
    """Those of the seeds that only groups need: one tells how far they are, one saves the state."""
    store = context.store
    return (
        library.TellProgress(str(store.beats_folder)),
        library.SaveCheckpoints(str(store.checkpoints_folder)),
    )
