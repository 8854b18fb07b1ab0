"""From the pixels of an image to the numbers that a model sees, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class ChannelStatistics(Protocol):
    """Whatever knows mean and std per channel of pixels in [0, 1], as a dataset does."""

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean of each channel."""
        ...

    @property
    def std(self) -> tuple[float, ...]:
        """The standard deviation of each channel."""
        ...


@dataclass(frozen=True)
class Normaliser:
    """uint8 pixels to the numbers a model sees: (pixel / 255 - mean) / std, per channel.

    Args:
        shift, scale: (C, 1, 1) tensors, applied as (pixel - shift) * scale.
        memory_format: of the result.
    """

    shift: Tensor
    scale: Tensor
    memory_format: torch.memory_format = torch.contiguous_format

    @classmethod
    def of(
        cls,
        statistics: ChannelStatistics,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Normaliser:
        """The normaliser of some mean and std, a dataset's say, on a device."""
        mean = torch.tensor(statistics.mean, dtype=torch.float64).reshape(-1, 1, 1)
        std = torch.tensor(statistics.std, dtype=torch.float64).reshape(-1, 1, 1)
        return cls(
            (mean * 255).to(device, torch.float32),
            (1 / (std * 255)).to(device, torch.float32),
            memory_format,
        )

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 to float32."""
        pixels = images.to(torch.float32, memory_format=self.memory_format)
        return (pixels - self.shift).mul_(self.scale)

    def pixels(self, inputs: Tensor) -> Tensor:
        """What a model sees, float32 (B, C, H, W), back to uint8: there and back is exact."""
        return (inputs / self.scale + self.shift).round().clamp(0, 255).to(torch.uint8)
