"""Images in whatever numbers a file holds them, brought to uint8 with channels first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stn_core.errors import UsageError

MAX_CHANNELS = 4  # a longer axis does not hold channels
MIN_SIDE = 2  # a flattened image of fewer pixels is no image

OVERSHOOT = 1e-3
"""How far floats may leave their range by rounding, as a share of it; they are clipped. The step of
float16, the coarsest of them, is 0.00098 above 1 and 0.125 at 255."""

ExpectedRows = (
    "uint8 or floats, (N, H, W), flattened squares, or (N, H, W, C) or (N, C, H, W) with C at most"
    " 4"
)


class Pixels(Protocol):
    """What is converted; see `found.Rows`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as of Rows
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[np.generic]: ...  # noqa: D102
    def chunks(self) -> Iterator[NDArray[np.generic]]: ...  # noqa: D102


@dataclass(frozen=True)
class Conversion:
    """How the images of a split become uint8 ``(N, C, H, W)``.

    Args:
        shape: (C, H, W) of the result.
        scale: what floats are multiplied by; 1 for whole numbers.
        said: what is changed, in words; "" if that is nothing.
        channels_first: whether channels come first in the file.
    """

    shape: tuple[int, int, int]
    scale: float = 1.0
    said: str = ""
    channels_first: bool = False

    def apply(self, chunk: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Convert some images."""
        channels, height, width = self.shape
        if chunk.dtype != np.uint8:
            scaled = np.rint(chunk.astype(np.float64) * self.scale)
            chunk = scaled.clip(0, 255).astype(np.uint8)
        if self.channels_first:
            return chunk.astype(np.uint8, copy=False)
        stacked = chunk.reshape(len(chunk), height, width, channels)
        return np.moveaxis(stacked, -1, 1).astype(np.uint8, copy=False)


def image_shape(path: Path, images: Pixels) -> tuple[int, int, int]:
    """(C, H, W) of images, from their shape and dtype alone.

    Raises:
        UsageError: they are not such images.
    """
    shape, dtype = images.shape, images.dtype
    if math.prod(shape) == 0 and len(shape) > 1:
        raise UsageError(f"{path}: {images.name} is empty, its shape is {shape}")
    side = math.isqrt(shape[1]) if len(shape) == 2 else 0
    if dtype == np.uint8 or dtype.kind == "f":
        if len(shape) == 3:
            return 1, shape[1], shape[2]
        if len(shape) == 4 and shape[3] <= MAX_CHANNELS:
            return shape[3], shape[1], shape[2]
        if _has_channels_first(shape):
            return shape[1], shape[2], shape[3]
        if side >= MIN_SIDE and side * side == shape[1]:
            return 1, side, side
    raise UsageError(f"{path}: {images.name} is {dtype} {shape}; it must be {ExpectedRows}")


def _has_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether images are (N, C, H, W); a shape that fits both orders has its channels last."""
    return len(shape) == 4 and shape[1] <= MAX_CHANNELS < shape[3]


def conversion_of(path: Path, images: Pixels) -> Conversion:
    """How images are converted; floats are looked at as a whole.

    Raises:
        UsageError: they are not images, or floats that are neither in [0, 1] nor in [0, 255], or
            could be meant as either.
    """
    shape = image_shape(path, images)
    flat = f"{images.shape[1]} numbers an image were {shape[1]}x{shape[2]} pixels"
    said = [flat] if len(images.shape) == 2 else []
    channels_first = _has_channels_first(images.shape)
    if channels_first:
        said.append("channels came first")
    if images.dtype == np.uint8:
        return Conversion(shape, said="; ".join(said), channels_first=channels_first)
    ends = [(chunk.min(), chunk.max()) for chunk in images.chunks()]
    low, high = (float(each) for each in (np.min(ends), np.max(ends)))  # NaN where there is one
    top = 255 if high >= 2 else 1
    slack = OVERSHOOT * top
    if not -slack <= low <= high <= 255 + slack:  # false with NaN, too
        raise UsageError(
            f"{path}: {images.name} holds {images.dtype} from {low:g} to {high:g}; floats must lie "
            "in [0, 1] or [0, 255]"
        )
    if top == 1 and high > 1 + slack:
        raise UsageError(
            f"{path}: {images.name} holds {images.dtype} up to {high:g}, which fits neither "
            "[0, 1] nor [0, 255]; clip to [0, 1] what is meant to lie there"
        )
    said.append(f"floats in [0, {top}] were rounded to 256 levels")
    return Conversion(shape, 255.0 / top, "; ".join(said), channels_first)
