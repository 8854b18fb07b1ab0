"""The kinds of distorted datasets in the papers, made of any dataset of grey images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from stn_core.datasets.assembly import Sources, assemble_distorted
from stn_core.datasets.base import Dataset, Distortion
from stn_core.datasets.distortions.added_pairs import added_pairs
from stn_core.datasets.distortions.affine import AffineDistortion
from stn_core.datasets.distortions.channelwise import ChannelwiseDistortion
from stn_core.datasets.distortions.clutter import ClutterDistortion
from stn_core.datasets.distortions.elastic import ElasticDistortion
from stn_core.datasets.distortions.projective import ProjectiveDistortion
from stn_core.errors import UsageError

PAPER_SIZE = 28
"""Height and width of the images that the paper distorts; its lengths in pixels grow with them."""

SizeHW = tuple[int, int]


def _rotated(size_hw: SizeHW) -> Distortion:
    return AffineDistortion(size_hw, 90.0, (1.0, 1.0), random_place=False)


def _rotated_translated_scaled(size_hw: SizeHW) -> Distortion:
    return AffineDistortion(_canvas(42, size_hw), 45.0, (0.7, 1.2), random_place=True)


def _projective(size_hw: SizeHW) -> Distortion:
    return ProjectiveDistortion(size_hw, (0.75, 1.0), _length(5.0, size_hw))


def _elastic(size_hw: SizeHW) -> Distortion:
    return ElasticDistortion(size_hw, (0.75, 1.0), _length(1.5, size_hw))


def _translated_cluttered(size_hw: SizeHW) -> Distortion:
    patch_size = max(1, round(_length(6.0, size_hw)))
    return ClutterDistortion(_canvas(60, size_hw), patch_size, num_patches=6)


def _added(size_hw: SizeHW) -> Distortion:
    return ChannelwiseDistortion(_rotated_translated_scaled(size_hw), channels=2)


KINDS: dict[str, Callable[[SizeHW], Distortion]] = {
    "r": _rotated,
    "rts": _rotated_translated_scaled,
    "p": _projective,
    "e": _elastic,
    "tc": _translated_cluttered,
    "add": _added,
}
"""How the datasets of Jaderberg et al. 2015 (arXiv 1506.02025, appendix A) are distorted, by what
their names end with, for images of some height and width."""


def distorted(name: str, kind: str, plain: Dataset) -> Dataset:
    """Distort a dataset: train afresh each epoch, validation and test once.

    Args:
        name: the name that the result is loaded by.
        kind: one of `KINDS`.
        plain: where the images are from.

    Raises:
        UsageError: its images are not grey, or distorted already.
    """
    channels, *size_hw = plain.image_shape
    check_distortable(name, plain.name, channels, plain.distortion is not None)
    sources = Sources(plain.train, plain.val, plain.test, plain.class_names, plain.digest)
    if kind == "add":
        sources = added_pairs(sources)
    distortion = KINDS[kind]((size_hw[0], size_hw[1]))
    dataset = assemble_distorted(name, sources, distortion, val_copies=1, test_copies=1)
    # The numbers in the notes are the plain set's: sums have other classes.
    notes = f"made of {plain.name}, {plain.notes}" if plain.notes else ""
    return dataclasses.replace(dataset, notes=notes)


def check_distortable(name: str, plain_name: str, channels: int | None, is_distorted: bool) -> None:
    """Refuse what `distorted` is known not to take.

    Args:
        name: what the result would be loaded by.
        plain_name: what should be distorted.
        channels: of its images; None: not known.
        is_distorted: whether it is a distorted set.

    Raises:
        UsageError: as `distorted`.
    """
    if is_distorted:
        raise UsageError(f"cannot make the dataset {name!r}: {plain_name!r} is already distorted")
    if channels not in (None, 1):
        raise UsageError(
            f"cannot make the dataset {name!r}: only grey images can be distorted, and those of "
            f"{plain_name!r} have {channels} channels"
        )


def distorted_shape(kind: str, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(C, H, W) of what `distorted` makes of images of a shape."""
    _, height, width = shape
    return (2 if kind == "add" else 1), *KINDS[kind]((height, width)).canvas_hw


def _length(paper_pixels: float, size_hw: SizeHW) -> float:
    """A length in pixels of the paper, for images of another size: by their shorter side."""
    return paper_pixels * min(size_hw) / PAPER_SIZE


def _canvas(paper_pixels: int, size_hw: SizeHW) -> SizeHW:
    """The paper's canvas of that many pixels a side, for images of another size."""
    height, width = size_hw
    return round(paper_pixels * height / PAPER_SIZE), round(paper_pixels * width / PAPER_SIZE)
