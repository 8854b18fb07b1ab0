"""Callbacks, which follow a run while it trains and when it ends; see `base` for what is called
when."""

from stn_core.training.callbacks.artifacts import KeepArtifacts
from stn_core.training.callbacks.base import Callback, Run, Watcher
from stn_core.training.callbacks.checkpoints import SaveCheckpoints
from stn_core.training.callbacks.progress import TellProgress
from stn_core.training.callbacks.saved_models import SaveModels
from stn_core.training.callbacks.tensorboard import WriteTensorBoard

__all__ = [
    "Callback",
    "KeepArtifacts",
    "Run",
    "SaveCheckpoints",
    "SaveModels",
    "TellProgress",
    "Watcher",
    "WriteTensorBoard",
]
