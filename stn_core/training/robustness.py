"""How a trained model does on images that are turned, scaled, shifted and sheared.

It measures the accuracy, how often the prediction stays the same and, for a model that warps its
images, how far its warp is from one that follows the change.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stn_core.datasets import Split
from stn_core.datasets.chunks import images_at_once
from stn_core.datasets.distortions.affine import pose_theta
from stn_core.datasets.distortions.warped import warp_images
from stn_core.models import TransformsImages
from stn_core.training.evaluation import BATCH_SIZE, evaluate
from stn_core.training.warped_images import NoWarpError, grid_of

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pose:
    """How an image is placed on its canvas.

    Args:
        angle: in radians; a positive one turns clockwise on the screen.
        scale: times the size.
        x, y: the shifts, in pixels.
        shear: how many pixels a row moves to the right for every pixel that it is below the centre.
    """

    angle: float = 0.0
    scale: float = 1.0
    x: float = 0.0
    y: float = 0.0
    shear: float = 0.0

    def theta(self, size_hw: tuple[int, int]) -> NDArray[np.float64]:
        """Theta (6,) of the affine warp from the changed image's coordinates to the image's."""
        angle, scale, shift = np.array([self.angle]), np.array([self.scale]), [[self.x, self.y]]
        theta = pose_theta(angle, scale, np.array(shift), size_hw, size_hw)[0].reshape(2, 3)
        height, width = size_hw
        upright = np.array([[1.0, -self.shear * height / width], [0.0, 1.0]])
        return np.asarray((upright @ theta).ravel())


@dataclass(frozen=True)
class Change:
    """One way to change images, by increasing amounts.

    Args:
        name: what is done.
        unit: of an amount.
        amounts: increasing; the first leaves an image as it is.
        poses: the poses for an amount; all are tried, and their accuracies averaged.
    """

    name: str
    unit: str
    amounts: tuple[float, ...]
    poses: Callable[[float], list[Pose]]


def _turned(degrees: float) -> list[Pose]:
    angle = math.radians(degrees)
    return [Pose(angle=angle), Pose(angle=-angle)]


def _scaled(factor: float) -> list[Pose]:
    return [Pose(scale=factor), Pose(scale=1 / factor)]


def _shifted(pixels: float) -> list[Pose]:
    return [Pose(x=x, y=y) for x, y in ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))]


def _sheared(amount: float) -> list[Pose]:
    return [Pose(shear=amount), Pose(shear=-amount)]


CHANGES = (
    Change("rotation", "degrees, either way", (0, 15, 30, 45, 60, 90), _turned),
    Change("scale", "times larger or smaller", (1, 1.1, 1.25, 1.5, 1.75, 2), _scaled),
    Change("translation", "pixels along an axis", (0, 1, 2, 4, 6, 8), _shifted),
    Change("shear", "pixels a row, either way", (0, 0.1, 0.2, 0.35, 0.5, 0.7), _sheared),
)


@dataclass(frozen=True)
class Robustness:
    """A model's results on images changed by some amount.

    Args:
        change, unit, amount: what was done to the images.
        accuracy: in [0, 1].
        consistency: the share of images whose predicted class is that of the unchanged image.
        misplaced: how far the model looks from where it would if its warp followed the change: the
            mean over images and over the warped image's pixels, in pixels of the image. None if the
            model warps nothing, or means something else by `transform`.
    """

    change: str
    unit: str
    amount: float
    accuracy: float
    consistency: float
    misplaced: float | None = None


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
    changes = list(changes)
    unchanged = evaluate(model, split.images, split.labels, normalise).predictions
    transformer = _transformer(model, _chunks(split.images)[0], normalise)
    off: dict[Pose, float] = {}
    if transformer:
        poses = [pose for change in changes for at in change.amounts for pose in change.poses(at)]
        off = misplaced(transformer, split.images, poses, background, normalise)
    for change in changes:
        for amount in change.amounts:
            accuracies, consistencies, distances = [], [], []
            for pose in dict.fromkeys(change.poses(amount)):  # an amount of 0 has one pose
                images = posed(split.images, pose, background)
                found = evaluate(model, images, split.labels, normalise)
                accuracies.append(found.accuracy)
                consistencies.append(float((found.predictions == unchanged).double().mean()))
                if off:
                    distances.append(off[pose])
            yield Robustness(
                change.name,
                change.unit,
                amount,
                float(np.mean(accuracies)),
                float(np.mean(consistencies)),
                float(np.mean(distances)) if distances else None,
            )


@torch.no_grad()
def _transformer(
    model: nn.Module, images: Tensor, normalise: Callable[[Tensor], Tensor]
) -> TransformsImages | None:
    """The model if it warps images, as these show; its mode is restored."""
    if not isinstance(model, TransformsImages):
        return None
    was_training = model.training
    model.eval()
    try:
        grid_of(model, normalise(images))
    except NoWarpError as error:
        _LOGGER.warning("how well warps follow is not measured: %s", error)
        return None
    finally:
        model.train(was_training)
    return model


def posed(images: Tensor, pose: Pose, background: tuple[float, ...]) -> Tensor:
    """Images changed in the same way, each on a canvas of its own size.

    Args:
        images: uint8 ``(N, C, H, W)``.
        pose: for all of them.
        background: what lies outside of an image, per channel, in 0 to 255.
    """
    size_hw = (images.shape[-2], images.shape[-1])
    rows = np.broadcast_to(pose.theta(size_hw), (len(images), 6))
    return warp_images(images, "affine", rows.copy(), size_hw, background)


@torch.no_grad()
def misplaced(
    model: TransformsImages,
    images: Tensor,
    poses: Iterable[Pose],
    background: tuple[float, ...],
    normalise: Callable[[Tensor], Tensor],
) -> dict[Pose, float]:
    """By pose, how far a model's warp is from one that follows it, in pixels.

    A pixel q of the warped image shows the point W(q) of an image. The changed image shows at p
    what the image has at T(p), so a warp W' of it that follows has T(W'(q)) = W(q) everywhere. This
    is the mean distance between the two.

    Args:
        model: its mode is restored.
        images: uint8 ``(N, C, H, W)``, unchanged.
        poses: how to change them.
        background: what lies outside of an image, per channel, in 0 to 255.
        normalise: uint8 images to what the model sees.

    Raises:
        NoWarpError: the model means something else by `transform`.
    """
    assert isinstance(model, nn.Module)
    height, width = images.shape[-2:]
    half = torch.tensor([width / 2, height / 2], device=images.device)
    maps = {pose: _matrix(pose, (height, width), images.device) for pose in poses}
    totals = dict.fromkeys(maps, 0.0)
    was_training = model.training
    model.eval()
    try:
        for one in _chunks(images):  # the outer loop, so that each is warped unchanged once
            before = grid_of(model, normalise(one)).flatten(1, 2)
            for pose, matrix in maps.items():
                after = grid_of(model, normalise(posed(one, pose, background))).flatten(1, 2)
                followed = after @ matrix[:, :2].T + matrix[:, 2]
                distance = ((followed - before) * half).norm(dim=-1).mean(1)
                totals[pose] += float(distance.cpu().double().sum())  # Apple's GPUs lack float64
    finally:
        model.train(was_training)
    return {pose: total / len(images) for pose, total in totals.items()}


def _chunks(images: Tensor) -> tuple[Tensor, ...]:
    """Images as many at a time as are evaluated at once."""
    count = images_at_once(BATCH_SIZE, (images.shape[-2], images.shape[-1]))
    chunks: tuple[Tensor, ...] = images.split(count)
    return chunks


def _matrix(pose: Pose, size_hw: tuple[int, int], device: torch.device) -> Tensor:
    """The map from a changed image to the image, float32 (2, 3): (x, y, 1) to (x, y)."""
    return torch.from_numpy(pose.theta(size_hw)).float().to(device).reshape(2, 3)
