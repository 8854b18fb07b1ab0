"""Training: batches from resident images, the loop, early stopping, and who watches it."""

from stn_core.training.early_stopping import EarlyStopping
from stn_core.training.loop import EpochResult, Observer, Training, train

__all__ = ["EarlyStopping", "EpochResult", "Observer", "Training", "train"]
