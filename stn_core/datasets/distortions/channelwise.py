"""Several pictures in one image, a channel each, and each distorted on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.base import Distortion
from stn_core.datasets.keyed_random import Stream


@dataclass(frozen=True)
class ChannelwiseDistortion:
    """The same distortion of every channel, by numbers of its own.

    Each raw parameter row holds the channels' rows, one after the other.

    Args:
        each: what is done to a channel.
        channels: how many an image has.
    """

    each: Distortion
    channels: int

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width of the images it makes."""
        return self.each.canvas_hw

    def draw(self, count: int, seed: int, stream: Stream, index: int = 0) -> NDArray[np.float64]:
        """Draw raw parameters ``(count, channels R)``; see `base.Distortion`."""
        return self.each.draw(count * self.channels, seed, stream, index).reshape(count, -1)

    def applied(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.int64]:
        """What is done to the channels, one after the other; see `base.Distortion`."""
        rows = parameters.reshape(len(parameters), self.channels, -1).swapaxes(0, 1)
        return np.concatenate([self.each.applied(channel, source_hw) for channel in rows], axis=1)

    def apply(
        self, images: Tensor, parameters: NDArray[np.float64], background: tuple[float, ...]
    ) -> Tensor:
        """Distort uint8 images channel by channel; see `base.Distortion`."""
        rows = parameters.reshape(len(images), self.channels, -1)
        return torch.cat(
            [
                self.each.apply(images[:, channel, None], rows[:, channel], (fill,))
                for channel, fill in enumerate(background)
            ],
            dim=1,
        )
