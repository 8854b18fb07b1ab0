"""What a dataset is: splits of uint8 images, what they need to be normalised, and a hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.keyed_random import Stream
from stn_core.errors import UsageError


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels.

    Args:
        images: uint8 ``(N, C, H, W)``, N at least 1.
        labels: int64 ``(N,)``.

    Raises:
        UsageError: a shape or a dtype is another.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.numel() == 0:
            raise UsageError(
                "images must be uint8 of shape (N, C, H, W) and not empty, not "
                f"{self.images.dtype} {tuple(self.images.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise UsageError(
                f"labels of {len(self.images)} images must be int64 of shape "
                f"({len(self.images)},), not {self.labels.dtype} {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)


class Distortion(Protocol):
    """A family of random changes to images: numbers are drawn first, then applied.

    A distortion is a frozen dataclass; its ``repr`` states its kind and every parameter, and goes
    into the dataset's hash. So does what it does to each image, as whole numbers: those are the
    same on every machine, so the hash can speak for pixels that may differ in their last bit.
    """

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width of the images it makes."""
        ...

    def draw(self, count: int, seed: int, stream: Stream, index: int = 0) -> NDArray[np.float64]:
        """Draw raw parameters ``(count, R)``, keyed as in `keyed_random.raw_bits`."""
        ...

    def applied(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.int64]:
        """What `apply` does to each image, in whole numbers: for the dataset's hash.

        Args:
            parameters: ``(N, R)`` from `draw`.
            source_hw: height and width of the images to distort.

        Returns:
            ``(N, K)``.
        """
        ...

    def apply(
        self, images: Tensor, parameters: NDArray[np.float64], background: tuple[float, ...]
    ) -> Tensor:
        """Distort images on their own device.

        Args:
            images: the sources, uint8 ``(N, C, h, w)``.
            parameters: ``(N, R)`` from `draw`.
            background: value of what lies outside the source, per channel, in 0 to 255.

        Returns:
            uint8 ``(N, C, *canvas_hw)``.
        """
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images for training, validation and test, and all that a model must know of them.

    Args:
        name: the name it is loaded by.
        train: images to learn from; of a distorted set the undistorted sources, which may be
            smaller than the canvas (see `epoch_images`).
        val: images for early stopping and search, carved out of the official training set.
        test: images to be judged on, once; of a distorted set fixed canvases, as ``val``.
        class_names: one name per class; label k is ``class_names[k]``.
        mean: mean per channel of the training images as a model sees them, pixels in [0, 1].
        std: their standard deviation per channel.
        background: what an empty pixel is, per channel, in 0 to 255: the median of the border
            pixels of the training images.
        distortion: what happens to the training images afresh each epoch, or None.
        hash: 16 hex digits over the source images and labels of all splits, the version of the
            split and, of a distorted set, the distortion and what it does to each fixed image.
        notes: how files of a user's own became this dataset, in one line; "" for the others.
        digest: what the hash covers in place of the source images, if decoding the same files may
            give other pixels on another machine; else None.
    """

    name: str
    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    background: tuple[float, ...]
    distortion: Distortion | None
    hash: str
    notes: str = ""
    digest: str | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of what a model sees: the canvas, if there is a distortion."""
        channels, height, width = self.test.images.shape[1:]
        return channels, height, width

    @property
    def normalised_background(self) -> tuple[float, ...]:
        """What an empty pixel is after normalisation, per channel."""
        channels = zip(self.background, self.mean, self.std, strict=True)
        return tuple((background / 255 - mean) / std for background, mean, std in channels)

    def epoch_images(self, images: Tensor, seed: int, epoch: int) -> Tensor:
        """The training images as one epoch sees them.

        Args:
            images: ``train.images``, on any device.
            seed: seed of the run, not negative.
            epoch: number of the epoch, not negative.

        Returns:
            ``images`` itself if there is no distortion, else a freshly distorted copy, uint8
            ``(N, *image_shape)`` on the same device, the same for the same seed and epoch.
        """
        if self.distortion is None:
            return images
        parameters = self.distortion.draw(len(images), seed, Stream.TRAIN_EPOCH, epoch)
        return self.distortion.apply(images, parameters, self.background)
