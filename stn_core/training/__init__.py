"""Training: batches from resident images, the loop, early stopping, and callbacks."""

from stn_core.training.early_stopping import EarlyStopping
from stn_core.training.history import EpochResult, History
from stn_core.training.loop import train

__all__ = ["EarlyStopping", "EpochResult", "History", "train"]
