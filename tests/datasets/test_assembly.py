"""Assembly: exact statistics, a background that is the border's, a hash that misses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stn_core.datasets import AffineDistortion, Sources, Split, assemble, assemble_distorted
from stn_core.datasets.assembly import border_median
from stn_core.errors import UsageError

RTS = AffineDistortion(
    canvas_hw=(9, 11), max_rotation_degrees=30.0, scale_range=(0.8, 1.1), random_place=True
)


def split(count: int, seed: int, shape: tuple[int, int, int] = (2, 5, 7)) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count) % 3)


def sources() -> Sources:
    return Sources(split(30, 0), split(8, 1), split(10, 2), ("a", "b", "c"))


def changed(part: Split, images: Tensor | None = None, labels: Tensor | None = None) -> Split:
    return Split(
        part.images if images is None else images, part.labels if labels is None else labels
    )


def test_mean_and_deviation_are_those_of_the_training_pixels() -> None:
    dataset = assemble("noise", sources())
    pixels = dataset.train.images.numpy().astype(np.float64) / 255
    # Both are float64 sums of 1,050 numbers in [0, 1]: a few of its last bits, 1e-16 each.
    np.testing.assert_allclose(dataset.mean, pixels.mean((0, 2, 3)), rtol=0, atol=1e-13)
    np.testing.assert_allclose(dataset.std, pixels.std((0, 2, 3)), rtol=0, atol=1e-13)


def test_an_undistorted_dataset_hands_its_images_through() -> None:
    dataset = assemble("noise", sources())
    assert dataset.epoch_images(dataset.train.images, 0, 0) is dataset.train.images
    assert dataset.image_shape == (2, 5, 7)
    assert dataset.num_classes == 3


def test_the_background_is_the_median_of_the_border() -> None:
    images = torch.zeros(3, 2, 6, 8, dtype=torch.uint8)
    for channel, edge in enumerate((7, 9)):
        images[:, channel, [0, -1], :] = edge
        images[:, channel, :, [0, -1]] = edge
    images[:, :, 0] = 3  # 8 of the 24 border pixels; with the 16 next to them they would be most
    assert border_median(images) == (7.0, 9.0)


@pytest.mark.parametrize("names", ["abc", ["a", "b", "c"]])
def test_class_names_are_a_tuple_whatever_held_them(names: Any) -> None:
    """A saved model of a dataset whose names were one text could not be read."""
    given = replace(sources(), class_names=names)
    for dataset in (assemble("noise", given), assemble_distorted("noise", given, RTS, 1, 1)):
        assert dataset.class_names == ("a", "b", "c")


@pytest.mark.parametrize("count", range(1, 6))
def test_the_background_is_numpys_median(count: int) -> None:
    """Of few values, so that the middle often lies between two different ones."""
    for seed in range(20):
        images = split(count, seed, (2, 3, 4)).images // 64
        border = images[..., torch.tensor([[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]).bool()]
        expected = np.median(border.numpy(), axis=(0, 2))
        assert border_median(images) == tuple(expected)


def test_test_images_are_distorted_otherwise_than_validation_images() -> None:
    same = replace(sources(), test=sources().val)
    dataset = assemble_distorted("noise", same, RTS, val_copies=2, test_copies=2)
    assert not torch.equal(dataset.val.images, dataset.test.images)


def test_the_normalised_background_is_what_normalisation_makes_of_it() -> None:
    dataset = replace(
        assemble("noise", sources()), background=(51.0, 0.0), mean=(0.1, 0.5), std=(0.5, 0.25)
    )
    # 51/255 = 0.2: (0.2 - 0.1) / 0.5 and (0 - 0.5) / 0.25, to float64's last bits.
    assert dataset.normalised_background == pytest.approx((0.2, -2.0), abs=1e-12)


def test_distorted_splits_hold_several_copies_of_each_image_on_the_canvas() -> None:
    dataset = assemble_distorted("noise_rts", sources(), RTS, val_copies=2, test_copies=3)
    assert dataset.train.images.shape == (30, 2, 5, 7)
    assert dataset.val.images.shape == (16, 2, 9, 11)
    assert dataset.test.images.shape == (30, 2, 9, 11)
    assert dataset.test.labels[:7].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert dataset.image_shape == (2, 9, 11)
    assert not torch.equal(dataset.test.images[0], dataset.test.images[1])


@pytest.mark.parametrize("copies", ["val_copies", "test_copies"])
def test_a_split_without_copies_is_refused(copies: str) -> None:
    given = {"val_copies": 1, "test_copies": 1, copies: 0}
    with pytest.raises(UsageError, match=f"{copies} must be a whole number of at least 1; got 0"):
        assemble_distorted("noise_rts", sources(), RTS, **given)


def test_every_copy_keeps_the_label_of_its_image() -> None:
    unmoved = AffineDistortion(
        canvas_hw=(5, 7), max_rotation_degrees=0.0, scale_range=(1.0, 1.0), random_place=False
    )
    dataset = assemble_distorted("same", sources(), unmoved, val_copies=2, test_copies=3)
    assert torch.equal(dataset.val.images[::2], sources().val.images)
    assert torch.equal(dataset.val.images[1::2], sources().val.images)
    assert torch.equal(dataset.test.images[2::3], sources().test.images)
    assert torch.equal(dataset.test.labels[2::3], sources().test.labels)


def _with_other_pixel(old: Sources) -> Sources:
    images = old.test.images.clone()
    images[-1, -1, -1, -1] ^= 1
    return replace(old, test=changed(old.test, images=images))


def _with_other_label(old: Sources) -> Sources:
    labels = old.val.labels.clone()
    labels[-1] = 0
    return replace(old, val=changed(old.val, labels=labels))


def _with_splits_divided_elsewhere(old: Sources) -> Sources:
    images = torch.cat([old.train.images, old.val.images])
    labels = torch.cat([old.train.labels, old.val.labels])
    return replace(old, train=Split(images[:29], labels[:29]), val=Split(images[29:], labels[29:]))


def _with_other_shape(old: Sources) -> Sources:
    train, val, test = (
        changed(part, images=part.images.reshape(-1, 2, 7, 5))
        for part in (old.train, old.val, old.test)
    )
    return replace(old, train=train, val=val, test=test)


@pytest.mark.parametrize(
    "change",
    [_with_other_pixel, _with_other_label, _with_splits_divided_elsewhere, _with_other_shape],
)
def test_the_hash_sees_every_change_of_the_data(change: Callable[[Sources], Sources]) -> None:
    assert assemble("noise", change(sources())).hash != assemble("noise", sources()).hash


def test_the_hash_is_of_the_data_and_not_of_the_name() -> None:
    one, other = assemble("noise", sources()).hash, assemble("other", sources()).hash
    assert one == other
    assert len(one) == 16
    assert int(one, 16) >= 0


def test_a_digest_of_the_source_files_stands_for_the_pixels() -> None:
    given = replace(sources(), digest="of the files")
    data_hash = assemble("noise", given).hash
    assert assemble("noise", _with_other_pixel(given)).hash == data_hash
    others = [
        assemble("noise", change(given)).hash
        for change in (_with_other_label, _with_splits_divided_elsewhere, _with_other_shape)
    ]
    others += [
        assemble("noise", replace(given, digest="of other files")).hash,
        assemble("noise", sources()).hash,
        assemble_distorted("noise", given, RTS, val_copies=1, test_copies=1).hash,
    ]
    assert data_hash not in others


def test_the_hash_sees_every_change_of_the_distortion(monkeypatch: pytest.MonkeyPatch) -> None:
    def hash_of(distortion: AffineDistortion, val_copies: int = 1, test_copies: int = 2) -> str:
        return assemble_distorted("rts", sources(), distortion, val_copies, test_copies).hash

    hashes = [
        assemble("noise", sources()).hash,
        hash_of(RTS),
        hash_of(RTS, val_copies=2),
        hash_of(RTS, test_copies=3),
        hash_of(replace(RTS, max_rotation_degrees=31.0)),
        hash_of(replace(RTS, canvas_hw=(11, 9))),
    ]
    monkeypatch.setattr("stn_core.datasets.assembly.DRAW_VERSION", 2)
    assert len({*hashes, hash_of(RTS)}) == len(hashes) + 1
    monkeypatch.undo()
    assert hash_of(RTS) == hashes[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"test": split(5, 0, (2, 7, 5))},
            "test images have shape (2, 7, 5), train images (2, 5, 7)",
        ),
        ({"class_names": range(3)}, "class_names[0] must be text, not 0"),
        ({"class_names": ("a", "b")}, "label 2 in train is out of range for 2 classes"),
        (
            {"train": Split(torch.full((5, 2, 5, 7), 3, dtype=torch.uint8), torch.arange(5) % 3)},
            "channel 0 of the training images is the same everywhere",
        ),
    ],
)
def test_sources_that_fit_no_dataset_are_refused(change: dict, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        assemble("odd", replace(sources(), **change))
    assert said in str(caught.value)
    assert "'odd'" in str(caught.value)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(3, 1, 4, 5), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(3, 4, 5, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(0, 1, 4, 5, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)),
        (torch.zeros(3, 1, 4, 5, dtype=torch.uint8), torch.zeros(3)),
        (torch.zeros(3, 1, 4, 5, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
    ],
    ids=["float images", "no channels", "no images", "float labels", "too few labels"],
)
def test_a_split_states_what_it_must_hold(images: Tensor, labels: Tensor) -> None:
    with pytest.raises(UsageError, match="must be"):
        Split(images, labels)
