"""Several pictures in one image, a channel each, and each distorted on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.base import Distortion
from stn_core.datasets.keyed_random import Stream
from stn_core.errors import UsageError
from stn_core.geometry.option_values import whole_number


@dataclass(frozen=True)
class ChannelwiseDistortion:
    """The same distortion of every channel, by numbers of its own.

    Each raw parameter row holds the channels' rows, one after the other.

    Args:
        each: what is done to a channel.
        channels: how many an image has, at least 1.

    Raises:
        UsageError: there are fewer channels.
    """

    each: Distortion
    channels: int

    def __post_init__(self) -> None:
        whole_number("channels", self.channels, least=1)

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width of the images it makes."""
        return self.each.canvas_hw

    def draw(self, count: int, seed: int, stream: Stream, index: int = 0) -> NDArray[np.float64]:
        """Draw raw parameters ``(count, channels R)``; see `base.Distortion`."""
        rows = self.each.draw(count * self.channels, seed, stream, index)
        return rows.reshape(count, self.channels * rows.shape[1])

    def applied(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.int64]:
        """What is done to the channels, one after the other; see `base.Distortion`."""
        rows = self._rows(parameters).swapaxes(0, 1)
        return np.concatenate([self.each.applied(channel, source_hw) for channel in rows], axis=1)

    def apply(
        self, images: Tensor, parameters: NDArray[np.float64], background: tuple[float, ...]
    ) -> Tensor:
        """Distort uint8 images channel by channel; see `base.Distortion`.

        Raises:
            UsageError: the images have another number of channels.
        """
        if images.shape[1] != self.channels:
            raise UsageError(
                f"images of {self.channels} channel(s) are distorted here, not {images.shape[1]}"
            )
        rows = self._rows(parameters)
        return torch.cat(
            [
                self.each.apply(images[:, channel, None], rows[:, channel], (fill,))
                for channel, fill in enumerate(background)
            ],
            dim=1,
        )

    def _rows(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """The channels' own rows ``(N, channels, R)``."""
        count, width = parameters.shape
        return parameters.reshape(count, self.channels, width // self.channels)
