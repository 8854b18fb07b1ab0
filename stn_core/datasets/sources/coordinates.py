"""Not-so-Clevr: find the pixel that a coordinate pair names (Liu et al. 2018, arXiv 1807.03247).

The paper slides a 9×9 square over a 64×64 canvas. Here the square's centre is given as two numbers,
and the class to predict is that one of the canvas's pixels: the paper's coordinate classification.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from stn_core.datasets.assembly import Sources, assemble
from stn_core.datasets.base import Dataset, Split
from stn_core.datasets.keyed_random import Stream, permutation
from stn_core.datasets.registry import register_dataset
from stn_core.datasets.splits import SPLIT_VERSION, carve_validation

CANVAS_SIZE = 64
SQUARE_SIZE = 9  # it lies on the canvas as a whole, so its centre keeps four pixels from the edge
TEST_SHARE = 5  # of the uniform split: one position in five


@register_dataset("coordinates_uniform", channels=2)
def coordinates_uniform(root: Path | None, download: bool) -> Dataset:
    """A fifth of the positions, drawn from all over the canvas, tests."""
    images, labels = _positions()
    # A draw of its own: the first one for this purpose is what validation is carved by.
    order = torch.from_numpy(permutation(len(labels), SPLIT_VERSION, Stream.SPLIT, index=1))
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[order[: len(labels) // TEST_SHARE]] = True
    return _divided("coordinates_uniform", images, labels, is_test)


@register_dataset("coordinates_quadrant", channels=2)
def coordinates_quadrant(root: Path | None, download: bool) -> Dataset:
    """The lower right quadrant tests: every x and every y is trained, but no such pair of them."""
    images, labels = _positions()
    is_test = (images >= CANVAS_SIZE // 2).all(dim=1).flatten()
    return _divided("coordinates_quadrant", images, labels, is_test)


def _positions() -> tuple[Tensor, Tensor]:
    """Every position of the square's centre, row by row.

    Returns:
        Images uint8 ``(3136, 2, 1, 1)``, x and y in 4 to 59 as channels; labels int64 ``(3136,)``,
        the index ``64 y + x`` of that pixel.
    """
    margin = SQUARE_SIZE // 2
    inner = torch.arange(margin, CANVAS_SIZE - margin)
    y, x = torch.meshgrid(inner, inner, indexing="ij")
    images = torch.stack((x, y), dim=-1).to(torch.uint8).reshape(-1, 2, 1, 1)
    return images, (CANVAS_SIZE * y + x).flatten()


def _divided(name: str, images: Tensor, labels: Tensor, is_test: Tensor) -> Dataset:
    train, val = carve_validation(images[~is_test], labels[~is_test])
    test = Split(images[is_test], labels[is_test])
    side = range(CANVAS_SIZE)
    return assemble(
        name, Sources(train, val, test, tuple(f"({x}, {y})" for y in side for x in side))
    )
