"""The warps of a fixed batch, filmed while a model learns."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from stn_core.models.transformed import TransformsImages
from stn_core.training.callbacks.base import Run
from stn_core.training.warped_images import NoWarpError, fixed_batch, warp

_LOGGER = logging.getLogger(__name__)

MOST_FRAMES = 12
"""How many moments of a training are filmed."""


class Film:
    """A model's warps of a fixed batch, before the first epoch and while it learns.

    Args:
        run: its model is filmed, at moments spread evenly over the epochs that its recipe allows; a
            model without a transformer gives no frames.
    """

    def __init__(self, run: Run) -> None:
        self.batch = fixed_batch(run.dataset)
        self.frames: dict[int, Tensor] = {}
        self._run = run
        epochs = run.record.recipe["epochs"]
        self._moments = set(np.linspace(0, epochs, MOST_FRAMES).round().astype(int).tolist())

    def take(self, epoch: int) -> None:
        """Film the model after an epoch, or before the first one (0), if a frame is due."""
        model = self._run.model
        if epoch not in self._moments or not isinstance(model, TransformsImages):
            return
        try:
            self.frames[epoch] = warp(model, self.batch, self._run.normalise).image
        except NoWarpError as error:
            self._moments.clear()
            _LOGGER.warning("warps are not filmed: %s", error)

    def state_dict(self) -> dict[str, Any]:
        """The frames, for `load_state_dict`."""
        return {"frames": self.frames}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the film of the interrupted run."""
        self.frames = dict(state["frames"])
