"""Batches from images that live on the device: an index, after shifts and mirroring."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from stn_core.datasets.keyed_random import Stream, permutation, uniform
from stn_core.session.recipe import Recipe


def training_batches(
    images: Tensor, labels: Tensor, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The shuffled batches of one epoch, still uint8.

    Every batch is full: the images left over at the end of the epoch's order are skipped.
    """
    order = torch.from_numpy(permutation(len(images), seed, Stream.ORDER, epoch))
    order = order.to(images.device)
    for start in range(0, len(images) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        yield images[chosen], labels[chosen]


def augment(images: Tensor, recipe: Recipe, seed: int, epoch: int) -> Tensor:
    """The images (N, C, H, W) of an epoch shifted and mirrored as the recipe says.

    Where a shift uncovers the edge, the edge's pixels are repeated.
    """
    draws = torch.from_numpy(uniform((3, len(images)), seed, Stream.AUGMENTATION, epoch))
    draws = draws.to(images.device)
    if recipe.max_shift_pixels:
        most = recipe.max_shift_pixels
        images = _shift(images, (draws[:2] * (2 * most + 1)).long() - most)
    if recipe.horizontal_flip:
        mirrored = (draws[2] < 0.5)[:, None, None, None]
        images = torch.where(mirrored, images.flip(-1), images)
    return images


def _shift(images: Tensor, moves: Tensor) -> Tensor:
    """Images (N, C, H, W) read at an offset of moves (2, N) rows and columns."""
    count, _, height, width = images.shape
    rows = torch.arange(height, device=images.device) + moves[0, :, None]
    columns = torch.arange(width, device=images.device) + moves[1, :, None]
    which = torch.arange(count, device=images.device)[:, None, None]
    rows, columns = rows.clamp_(0, height - 1), columns.clamp_(0, width - 1)
    return images.movedim(1, -1)[which, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
