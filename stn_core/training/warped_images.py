"""A model's warps of images that a person will look at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from stn_core.datasets import Dataset
from stn_core.errors import one_line
from stn_core.models.normaliser import Normaliser
from stn_core.models.transformed import TransformsImages, WarpedImages
from stn_core.models.without_gradients import without_gradients

BATCH_IMAGES = 10
"""How many images are shown warped."""


def fixed_batch(dataset: Dataset) -> Tensor:
    """The validation images that are shown warped, uint8 (B, C, H, W)."""
    return dataset.val.images[one_of_each_class(dataset.val.labels)]


def one_of_each_class(labels: Tensor, count: int = BATCH_IMAGES) -> Tensor:
    """Indices of the first image of each class, then of the second, until there are enough."""
    order = torch.argsort(labels, stable=True)
    sizes = torch.bincount(labels)
    rank = torch.empty_like(labels)
    rank[order] = torch.cat([torch.arange(int(size)) for size in sizes])
    return torch.argsort(rank * len(sizes) + labels, stable=True)[:count]


class NoWarpError(Exception):
    """A user's model means something else by `transform`; the message says what went wrong."""


@contextlib.contextmanager
def asking_for_warps() -> Iterator[None]:
    """Where a model's `transform` is called: whatever fails there is a `NoWarpError`."""
    try:
        yield
    except Exception as error:  # what another `transform` does with images may raise anything
        reason = one_line(" ".join(str(error).split()), 300)
        raise NoWarpError(f"{type(error).__name__}: {reason}") from error


def grid_of(model: TransformsImages, images: Tensor) -> Tensor:
    """The sampling grid ``(B, h, w, 2)``, float32, of a model's warp of normalised images.

    Raises:
        NoWarpError: the model means something else by `transform`.
    """
    with asking_for_warps():
        grid = model.transform(images).grid.float()
        count, _, _, coordinates = grid.shape
        if (count, coordinates) != (len(images), 2):
            raise ValueError(f"a grid is (B, h, w, 2), not {tuple(grid.shape)}")
    return grid


@asking_for_warps()
@without_gradients()
def warp(model: TransformsImages, images: Tensor, normalise: Normaliser) -> WarpedImages:
    """A model's warps of uint8 images, as uint8 on the CPU; the model's mode is restored.

    Raises:
        NoWarpError: the model means something else by `transform`.
    """
    assert isinstance(model, nn.Module)
    was_training = model.training
    model.eval()
    try:
        warped = model.transform(normalise(images.to(normalise.shift.device)))
    finally:
        model.train(was_training)
    pixels = normalise.pixels(warped.image).cpu()
    return WarpedImages(pixels, warped.grid.float().cpu(), warped.theta.float().cpu())
