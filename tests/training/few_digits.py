"""A part of the digits, on which a run takes a quarter of the time."""

from __future__ import annotations

from pathlib import Path

from stn_core.datasets import Dataset, Split, load_dataset, register_dataset
from stn_core.datasets.assembly import Sources, assemble, assemble_distorted
from stn_core.datasets.sources.digits import CANVAS_HW, RTS

NAMES = ("few_digits", "few_digits_rts")


def register_few_digits() -> None:
    """Register 300 images to train on, 60 to validate and 100 to test on: as they are and RTS."""

    @register_dataset("few_digits", shape=(1, *CANVAS_HW))
    def few_digits(root: Path | None, download: bool) -> Dataset:
        return assemble("few_digits", _sources())

    @register_dataset("few_digits_rts", shape=(1, *CANVAS_HW), is_distorted=True)
    def few_digits_rts(root: Path | None, download: bool) -> Dataset:
        return assemble_distorted("few_digits_rts", _sources(), RTS, 2, 3)


def _sources() -> Sources:
    digits = load_dataset("digits")
    train, val, test = (
        Split(split.images[:count], split.labels[:count])
        for split, count in ((digits.train, 300), (digits.val, 60), (digits.test, 100))
    )
    return Sources(train, val, test, digits.class_names)
