"""Splits: every image in exactly one, every class in its share, the same for ever."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stn_core.datasets.splits import carve_validation, stratified_order

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=300).map(torch.tensor)


def numbered_images(count: int) -> Tensor:
    """uint8 (N, 2, 2, 3) images that spell their own number in base 256."""
    numbers = torch.arange(count)
    digits = torch.stack([numbers // 256, numbers % 256], dim=1).to(torch.uint8)
    return digits[:, :, None, None].expand(count, 2, 2, 3).contiguous()


def numbers_of(images: Tensor) -> Tensor:
    digits = images[:, :, 0, 0].long()
    return digits[:, 0] * 256 + digits[:, 1]


@given(LABELS)
@settings(deadline=None)
def test_the_order_is_a_permutation(labels: Tensor) -> None:
    assert stratified_order(labels).sort().values.tolist() == list(range(len(labels)))


@given(LABELS)
@settings(deadline=None)
def test_every_beginning_holds_each_class_in_its_share(labels: Tensor) -> None:
    ordered = torch.nn.functional.one_hot(labels[stratified_order(labels)])
    held = ordered.cumsum(0)
    total = held[-1]
    beginning = torch.arange(1, len(labels) + 1)[:, None]
    share = total / len(labels)
    num_classes = int((total > 0).sum())
    # At place t of the way a class of n holds t n images to within 1/2, so k, the sum over the
    # classes, is t N to within half their number, and that moves what k n / N expects.
    allowed = 0.5 + share * num_classes / 2 + 1e-4  # float32's rounding of a share, times 300
    assert torch.all((held - beginning * share).abs() <= allowed)


@pytest.mark.parametrize(("count", "num_val"), [(10, 1), (99, 9), (1000, 100), (60_000, 5_000)])
def test_a_tenth_of_train_validates_up_to_5000(count: int, num_val: int) -> None:
    images = numbered_images(count)
    labels = numbers_of(images) % 7
    train, val = carve_validation(images, labels)
    assert len(val) == num_val
    numbers = torch.cat([numbers_of(train.images), numbers_of(val.images)])
    assert torch.equal(numbers.sort().values, torch.arange(count))
    for split in (train, val):
        assert torch.equal(split.labels, numbers_of(split.images) % 7)


def test_the_split_is_that_of_every_earlier_version() -> None:
    # Where this changes, SPLIT_VERSION must: every baseline was measured on the old split.
    labels = torch.tensor([0] * 7 + [1] * 3 + [2] * 2)
    assert stratified_order(labels).tolist() == [2, 7, 3, 10, 0, 4, 8, 1, 11, 5, 9, 6]


def test_the_order_is_random_within_a_class() -> None:
    order = stratified_order(torch.zeros(1000, dtype=torch.int64))
    fixed_points = (order == torch.arange(1000)).sum()
    assert fixed_points < 10  # one is expected
