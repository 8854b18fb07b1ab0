"""scikit-learn's 1,797 handwritten digits on a 28×28 canvas: real data that needs no files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stn_core.datasets.assembly import Sources, assemble, assemble_distorted
from stn_core.datasets.base import Dataset, Split
from stn_core.datasets.distortions.affine import AffineDistortion
from stn_core.datasets.registry import register_dataset
from stn_core.datasets.splits import stratified_order
from stn_core.errors import needs_extra

DIGIT_SIZE = 20  # as MNIST's digits, which fill 20×20 of their 28×28
CANVAS_HW = (28, 28)
GREY_LEVELS = 16  # of the 8×8 originals

NUM_TEST = 500
NUM_VAL = 200
VAL_COPIES = 4
TEST_COPIES = 8

RTS = AffineDistortion(
    canvas_hw=CANVAS_HW, max_rotation_degrees=45.0, scale_range=(0.7, 1.2), random_place=True
)
"""Rotation, translation and scale as in Jaderberg et al. 2015 (arXiv 1506.02025), appendix A.4."""


@register_dataset("digits", shape=(1, *CANVAS_HW))
def digits(root: Path | None, download: bool) -> Dataset:
    """Upright digits of 20×20 pixels in the middle of the canvas."""
    sources = _sources()
    border = (CANVAS_HW[0] - DIGIT_SIZE) // 2
    train, val, test = (
        Split(F.pad(split.images, [border] * 4), split.labels)
        for split in (sources.train, sources.val, sources.test)
    )
    return assemble("digits", Sources(train, val, test, sources.class_names))


@register_dataset("digits_rts", shape=(1, *CANVAS_HW), is_distorted=True)
def digits_rts(root: Path | None, download: bool) -> Dataset:
    """The digits turned, scaled and put at a random place of the canvas."""
    return assemble_distorted("digits_rts", _sources(), RTS, VAL_COPIES, TEST_COPIES)


def _sources() -> Sources:
    """The digits as 20×20 images, split 1,097 / 200 / 500."""
    table = np.loadtxt(_file_of_scikit_learn(), dtype=np.int64, delimiter=",")
    images = torch.from_numpy(_enlarged(table[:, :-1].reshape(-1, 8, 8))).unsqueeze(1)
    labels = torch.from_numpy(table[:, -1].copy())
    parts = stratified_order(labels).tensor_split([NUM_TEST, NUM_TEST + NUM_VAL])
    test, val, train = (Split(images[part], labels[part]) for part in parts)
    return Sources(train, val, test, tuple("0123456789"))


def _file_of_scikit_learn() -> Path:
    """64 grey levels and the class in each line.

    Read without importing scikit-learn, which takes each process as long as torch does.
    """
    with needs_extra("data"):
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    return Path(package.origin).with_name("datasets") / "data" / "digits.csv.gz"


def _enlarged(levels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Bilinear enlargement in integers, so that no rounding differs between machines.

    Args:
        levels: ``(N, 8, 8)`` in 0 to 16.

    Returns:
        ``(N, 20, 20)`` in 0 to 255, halves rounded up.
    """
    weights = _bilinear_weights(levels.shape[-1], DIGIT_SIZE)
    sums = weights @ levels @ weights.T
    unit = GREY_LEVELS * (2 * DIGIT_SIZE) ** 2  # of the sums: what a white pixel comes to
    return ((2 * 255 * sums + unit) // (2 * unit)).astype(np.uint8)


def _bilinear_weights(size_in: int, size_out: int) -> NDArray[np.int64]:
    """Bilinear resampling of a line with align_corners=False, the ends repeated outwards.

    Returns:
        ``(size_out, size_in)`` in units of 1 / (2 size_out); every row adds up to one.
    """
    unit = 2 * size_out
    rows = np.arange(size_out)
    position = np.clip((2 * rows + 1) * size_in - size_out, 0, (size_in - 1) * unit)
    left, fraction = np.divmod(position, unit)
    weights = np.zeros((size_out, size_in), dtype=np.int64)
    weights[rows, left] += unit - fraction
    weights[rows, np.minimum(left + 1, size_in - 1)] += fraction
    return weights
