"""What every registered dataset keeps; those that need files are read from STN_DATA."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from stn_core.datasets import Dataset, check_dataset, list_datasets, load_dataset
from stn_core.errors import UsageError

DATA_ROOT = os.environ.get("STN_DATA")


@pytest.fixture(scope="module", params=list_datasets())
def dataset(request: pytest.FixtureRequest) -> Dataset:
    if DATA_ROOT is None:
        try:
            check_dataset(request.param)
        except UsageError:
            pytest.skip(f"{request.param} needs files: set STN_DATA to their folder")
    return load_dataset(request.param, DATA_ROOT)


def test_it_checks_and_is_named_as_registered(dataset: Dataset) -> None:
    check_dataset(dataset.name, DATA_ROOT)
    assert dataset.name in list_datasets()


def test_shapes_agree(dataset: Dataset) -> None:
    for split in (dataset.val, dataset.test):
        assert split.images.shape[1:] == dataset.image_shape
    channels = dataset.image_shape[0]
    assert dataset.train.images.shape[1] == channels
    assert len(dataset.mean) == len(dataset.std) == len(dataset.background) == channels


def test_pixels_use_the_whole_range(dataset: Dataset) -> None:
    for split in (dataset.train, dataset.val, dataset.test):
        assert split.images.min() == 0
        assert split.images.max() >= 250


def test_every_class_is_in_every_split_and_validation_is_balanced_as_train(
    dataset: Dataset,
) -> None:
    counts = {
        name: torch.bincount(split.labels, minlength=dataset.num_classes)
        for name, split in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test))
    }
    assert all(len(count) == dataset.num_classes for count in counts.values())
    assert all(count.min() > 0 for count in counts.values())
    share = counts["train"] / counts["train"].sum()
    copies = 4 if dataset.distortion else 1
    # Validation is a stretch of an order whose beginnings are balanced to within one image.
    assert torch.all((counts["val"] / copies - share * counts["val"].sum() / copies).abs() <= 2)


def test_normalised_images_have_mean_0_and_deviation_1(dataset: Dataset) -> None:
    # Of a sample, or another distortion, so not exactly: a thousand images and more, whose own
    # means spread by half a deviation, come within a few hundredths.
    sample = dataset.train.images[:: max(1, len(dataset.train) // 2000)]
    images = dataset.epoch_images(sample, seed=5, epoch=3).double() / 255
    tolerance = 0.03
    for channel, mean, std in zip(images.unbind(1), dataset.mean, dataset.std, strict=True):
        normalised = (channel - mean) / std
        assert abs(normalised.mean().item()) < tolerance
        assert abs(normalised.std(correction=0).item() - 1) < tolerance


def test_the_background_is_what_most_corners_are(dataset: Dataset) -> None:
    corners = dataset.test.images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    for channel, background in zip(corners.unbind(1), dataset.background, strict=True):
        assert np.median(channel.numpy()) == background


def test_loading_again_gives_the_same_data(dataset: Dataset) -> None:
    again = load_dataset(dataset.name, DATA_ROOT)
    assert again.hash == dataset.hash
    assert torch.equal(again.test.images, dataset.test.images)
    assert torch.equal(again.train.labels, dataset.train.labels)


def test_an_epoch_is_decided_by_its_seed_and_number_alone(dataset: Dataset) -> None:
    images = dataset.train.images[:50]
    first = dataset.epoch_images(images, seed=1, epoch=0)
    torch.manual_seed(0)
    assert torch.equal(dataset.epoch_images(images, seed=1, epoch=0), first)
    assert first.dtype == torch.uint8
    assert first.shape[1:] == dataset.image_shape
    if dataset.distortion is None:
        assert first is images
    else:
        assert not torch.equal(dataset.epoch_images(images, seed=1, epoch=1), first)
        assert not torch.equal(dataset.epoch_images(images, seed=2, epoch=0), first)


def test_an_epoch_leaves_the_global_generators_alone(dataset: Dataset) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    dataset.epoch_images(dataset.train.images[:50], seed=1, epoch=0)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
