"""Batches from images that live on the device: an index, then shifts and mirroring."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from stn_core.datasets.keyed_random import Stream, permutation, uniform
from stn_core.session.recipe import Recipe


def training_batches(
    images: Tensor, labels: Tensor, recipe: Recipe, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The shuffled batches of one epoch, shifted and mirrored as the recipe says, still uint8.

    Every batch is full: the images left over at the end of the epoch's order are skipped. Where a
    shift uncovers the edge, the edge's pixels are repeated.
    """
    order = torch.from_numpy(permutation(len(images), seed, Stream.ORDER, epoch))
    order = order.to(images.device)
    drawn = _augmentation(recipe, len(images), seed, epoch)
    moves, mirrored = (each.to(images.device) for each in drawn)
    batch_size = min(recipe.batch_size, len(images))
    for start in range(0, len(images) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        batch = images[chosen]
        if recipe.max_shift_pixels:
            batch = _shift(batch, moves[:, chosen])
        if recipe.horizontal_flip:
            batch = torch.where(mirrored[chosen, None, None, None], batch.flip(-1), batch)
        yield batch, labels[chosen]


def _augmentation(recipe: Recipe, count: int, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """By how many rows and columns each image moves, (2, N), and whether it is mirrored, (N,).

    Made on the CPU: Apple's GPUs have no float64. Empty if the recipe changes no images.
    """
    most = recipe.max_shift_pixels
    drawn = count if most or recipe.horizontal_flip else 0
    draws = torch.from_numpy(uniform((3, drawn), seed, Stream.AUGMENTATION, epoch))
    return (draws[:2] * (2 * most + 1)).long() - most, draws[2] < 0.5


def _shift(images: Tensor, moves: Tensor) -> Tensor:
    """Images (N, C, H, W) read at an offset of moves (2, N) rows and columns."""
    count, _, height, width = images.shape
    rows = torch.arange(height, device=images.device) + moves[0, :, None]
    columns = torch.arange(width, device=images.device) + moves[1, :, None]
    which = torch.arange(count, device=images.device)[:, None, None]
    rows, columns = rows.clamp_(0, height - 1), columns.clamp_(0, width - 1)
    return images.movedim(1, -1)[which, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
