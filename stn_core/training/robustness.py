"""How accurate a trained model stays while its images are turned, scaled and shifted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from stn_core.datasets import Split
from stn_core.datasets.distortions.affine import pose_theta, warp_images
from stn_core.training.evaluation import evaluate

Pose = tuple[float, float, float, float]
"""Angle in radians, scale, and the shifts along x and y in pixels."""


@dataclass(frozen=True)
class Change:
    """One way to change images, by rising amounts.

    Args:
        name: what is done.
        unit: of an amount.
        amounts: rising; the first leaves an image as it is.
        poses: the ways to do it by some amount: all are tried, and their accuracies averaged.
    """

    name: str
    unit: str
    amounts: tuple[float, ...]
    poses: Callable[[float], list[Pose]]


def _turned(degrees: float) -> list[Pose]:
    angle = math.radians(degrees)
    return [(angle, 1, 0, 0), (-angle, 1, 0, 0)]


def _scaled(factor: float) -> list[Pose]:
    return [(0, factor, 0, 0), (0, 1 / factor, 0, 0)]


def _shifted(pixels: float) -> list[Pose]:
    return [(0, 1, x, y) for x, y in ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))]


CHANGES = (
    Change("rotation", "degrees, either way", (0, 15, 30, 45, 60, 90), _turned),
    Change("scale", "times larger or smaller", (1, 1.1, 1.25, 1.5, 1.75, 2), _scaled),
    Change("translation", "pixels along an axis", (0, 1, 2, 4, 6, 8), _shifted),
)


@dataclass(frozen=True)
class Robustness:
    """The accuracy, in [0, 1], of a model on images changed by some amount of a unit."""

    change: str
    unit: str
    amount: float
    accuracy: float


def robustness(
    model: nn.Module,
    split: Split,
    normalise: Callable[[Tensor], Tensor],
    background: tuple[float, ...],
    changes: Iterable[Change] = CHANGES,
) -> Iterator[Robustness]:
    """Judge a trained model on changed images, change by change and amount by amount.

    Args:
        model: images ``(B, C, H, W)`` to logits ``(B, K)``.
        split: the images to change, on the model's device.
        normalise: uint8 images to what the model sees.
        background: what lies outside of an image, per channel, in 0 to 255.
        changes: what to do to them.
    """
    for change in changes:
        for amount in change.amounts:
            accuracies = [
                evaluate(
                    model, posed(split.images, pose, background), split.labels, normalise
                ).accuracy
                for pose in dict.fromkeys(change.poses(amount))  # unchanged is one, whichever way
            ]
            yield Robustness(change.name, change.unit, amount, sum(accuracies) / len(accuracies))


def posed(images: Tensor, pose: Pose, background: tuple[float, ...]) -> Tensor:
    """Every image turned, scaled and shifted alike, on a canvas of its own size.

    Args:
        images: uint8 ``(N, C, H, W)``.
        pose: of all of them.
        background: what lies outside of an image, per channel, in 0 to 255.
    """
    size_hw = (images.shape[-2], images.shape[-1])
    angle, scale, *shift = pose
    theta = pose_theta(np.array([angle]), np.array([scale]), np.array([shift]), size_hw, size_hw)
    rows = np.broadcast_to(theta, (len(images), 6))
    return warp_images(images, "affine", rows.copy(), size_hw, background)
