"""What every dataset keeps: the registered ones, and one in the files of each format.

Registered ones that need files are read from STN_DATA; the others are written here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from stn_core.datasets import Dataset, check_dataset, list_datasets, load_dataset
from stn_core.datasets.distortions.distorted_sets import KINDS
from tests.datasets import made_files
from tests.datasets.real_data import DATA_ROOT, need_the_expected_species, what_is_missing

COORDINATES = list_datasets("coordinates_*")
"""Two numbers an image, and a class for every pixel of a canvas: no pictures, and no balance."""
PICTURES = [*(n for n in list_datasets() if n not in COORDINATES), *made_files.NAMES]
UNDISTORTED = [n for n in [*COORDINATES, *PICTURES] if n.rpartition("_")[2] not in KINDS]
of_undistorted = pytest.mark.parametrize("dataset", UNDISTORTED, indirect=True)
of_those_that_load_fast = pytest.mark.parametrize(
    "dataset", [*UNDISTORTED, "digits_rts"], indirect=True
)
of_pictures = pytest.mark.parametrize("dataset", PICTURES, indirect=True)
VAL_COPIES = {"digits_rts": 4}  # of each image; else one


class Expected(NamedTuple):
    """What a dataset is wherever it is loaded.

    Args:
        train: how many images there are.
        val: as for train.
        test: as for train.
        hash: the dataset's.
        means: of the pixels of the first three test images; they see what the hash does not, how a
            theta becomes pixels.
    """

    train: int
    val: int
    test: int
    hash: str
    means: tuple[float, float, float]


# fmt: off
EXPECTED = {
    "birds": Expected(1350, 150, 1389, "c527b49c16677141", (77.0, 91.9, 139.7)),
    "birds_224": Expected(1350, 150, 1389, "0cb0d0c72669abe2", (76.9, 91.3, 139.0)),
    "birds_cropped": Expected(1350, 150, 1389, "9528405bb9149b5a", (123.2, 111.4, 140.5)),
    "cifar10": Expected(45000, 5000, 10000, "f79ee4331c42316c", (112.8, 105.7, 143.9)),
    "coordinates_quadrant": Expected(2117, 235, 784, "ec8e520eabb6b38a", (32.0, 32.5, 33.0)),
    "coordinates_uniform": Expected(2259, 250, 627, "15fb08e51754dff6", (7.5, 13.5, 14.0)),
    "digits": Expected(1097, 200, 500, "f2e900c182b97759", (38.2, 42.6, 40.1)),
    "digits_rts": Expected(1097, 800, 4000, "288ccf14bfdd3d21", (36.1, 20.0, 27.9)),
    "fashion_mnist": Expected(55000, 5000, 10000, "657636b590354a83", (42.7, 128.8, 65.7)),
    "fashion_mnist_add": Expected(55000, 5000, 10000, "ef8a11cadbebc99d", (19.6, 28.3, 22.7)),
    "fashion_mnist_e": Expected(55000, 5000, 10000, "aae7d2b7e440893a", (24.9, 102.1, 28.1)),
    "fashion_mnist_p": Expected(55000, 5000, 10000, "fa39b76e788e45b1", (20.9, 83.0, 50.1)),
    "fashion_mnist_r": Expected(55000, 5000, 10000, "8a2b613c8b2c69a6", (42.2, 128.2, 65.4)),
    "fashion_mnist_rts": Expected(55000, 5000, 10000, "05d5a8496e4122e4", (17.9, 29.9, 21.3)),
    "fashion_mnist_tc": Expected(55000, 5000, 10000, "47a2a4a1f92bf0a7", (16.1, 31.3, 17.9)),
    "mnist": Expected(55000, 5000, 10000, "c583e66a012d0ed5", (23.5, 36.8, 12.6)),
    "mnist_add": Expected(55000, 5000, 10000, "96fb097bc91e61d1", (8.8, 10.0, 10.0)),
    "mnist_e": Expected(55000, 5000, 10000, "667b36e9f63f2fe7", (15.3, 28.4, 5.4)),
    "mnist_p": Expected(55000, 5000, 10000, "cc3e78dd975bfbd9", (14.0, 26.4, 10.6)),
    "mnist_r": Expected(55000, 5000, 10000, "0bdc39db00b9832a", (23.5, 36.8, 12.6)),
    "mnist_rts": Expected(55000, 5000, 10000, "3e39c7f1da6a1b64", (9.9, 8.5, 4.1)),
    "mnist_tc": Expected(55000, 5000, 10000, "e8653793d54c5d15", (7.3, 11.1, 5.4)),
    # Written here; the same images are the same dataset, whatever they are read from.
    "affnist": Expected(1168, 129, 500, "bbab959fa983a9d9", (38.2, 42.6, 40.1)),
    "emnist_digits": Expected(1168, 129, 500, "a55f1289819a8afa", (44.6, 49.7, 46.8)),
    "flat_floats": Expected(1168, 129, 500, "bbab959fa983a9d9", (38.2, 42.6, 40.1)),
    "keras": Expected(1168, 129, 500, "a55f1289819a8afa", (44.6, 49.7, 46.8)),
    "keras_rts": Expected(1168, 129, 500, "ccf5dbf1c43428f9", (18.8, 11.5, 15.2)),
    "kmnist": Expected(1168, 129, 500, "a55f1289819a8afa", (44.6, 49.7, 46.8)),
    "kmnist_rts": Expected(1168, 129, 500, "ccf5dbf1c43428f9", (18.8, 11.5, 15.2)),
    "medical": Expected(1097, 200, 500, "2ffbb3c16f535ce3", (44.6, 49.7, 46.8)),
    "svhn": Expected(1168, 129, 500, "faf6bd926633528b", (44.5, 49.6, 46.8)),
    "torchvision:USPS": Expected(1168, 129, 500, "da3c1ed3cf188f4d", (28.8, 32.6, 31.0)),
}
# fmt: on


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data root with files of every format."""
    root = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STN_CACHE", str(tmp_path_factory.mktemp("cache")))
        import torchvision.datasets

        # USPS' files are known by their checksums, which no file of ours has.
        patch.setattr(torchvision.datasets.utils, "check_integrity", lambda *_: True)
        made_files.write_everything(root)
        yield root


@pytest.fixture(scope="module", params=[*PICTURES, *COORDINATES])
def dataset(request: pytest.FixtureRequest) -> Dataset:
    if request.param in made_files.NAMES:
        return load_dataset(request.param, request.getfixturevalue("written"))
    if missing := what_is_missing(request.param):
        pytest.skip(missing)
    return load_dataset(request.param, DATA_ROOT)


@pytest.fixture
def root(dataset: Dataset, request: pytest.FixtureRequest) -> str | Path | None:
    """The data root that a dataset was loaded from."""
    is_made = dataset.name in made_files.NAMES
    return request.getfixturevalue("written") if is_made else DATA_ROOT


def test_it_checks_and_its_shape_is_known_where_the_files_say_it(
    dataset: Dataset, root: str | Path | None
) -> None:
    shape = check_dataset(dataset.name, root)
    assert shape in (None, dataset.image_shape)
    if dataset.name in made_files.NAMES:
        assert shape or dataset.name.startswith("torchvision:")
        assert dataset.notes
    else:
        assert dataset.name in list_datasets()


def test_shapes_agree(dataset: Dataset) -> None:
    for split in (dataset.val, dataset.test):
        assert split.images.shape[1:] == dataset.image_shape
    channels = dataset.image_shape[0]
    assert dataset.train.images.shape[1] == channels
    assert len(dataset.mean) == len(dataset.std) == len(dataset.background) == channels


@of_pictures
def test_pixels_use_the_whole_range(dataset: Dataset) -> None:
    for split in (dataset.train, dataset.val, dataset.test):
        assert split.images.min() == 0
        assert split.images.max() >= 250


@of_pictures
def test_every_class_is_in_every_split_and_validation_is_balanced_as_train(
    dataset: Dataset,
) -> None:
    counts = {
        name: torch.bincount(split.labels, minlength=dataset.num_classes)
        for name, split in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test))
    }
    assert all(len(count) == dataset.num_classes for count in counts.values())
    assert all(count.min() > 0 for count in counts.values())
    expected = counts["train"] / counts["train"].sum() * counts["val"].sum()
    if dataset.name.endswith("_add"):  # the sums of random pairs: five deviations of their numbers
        allowed = 5 * expected.sqrt()
    else:  # a stretch of an order whose beginnings are balanced to within one image
        allowed = torch.tensor(2 * VAL_COPIES.get(dataset.name, 1))
    assert torch.all((counts["val"] - expected).abs() <= allowed)


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


@of_pictures
def test_the_background_is_what_most_corners_are(dataset: Dataset) -> None:
    corners = dataset.test.images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    # A photograph's corners have any colour, and lean to another than its border's middle: by up to
    # 8 levels here; a black or white background would be a hundred away.
    allowed = 25 if dataset.image_shape[0] == 3 else 0
    for channel, background in zip(corners.unbind(1), dataset.background, strict=True):
        assert abs(np.median(channel.numpy()) - background) <= allowed


def test_every_listed_dataset_is_expected() -> None:
    written = set(made_files.NAMES) - set(made_files.FROM_IMAGE_FILES)
    assert {*list_datasets(), *written} == set(EXPECTED)


def test_it_is_the_dataset_of_every_earlier_version(dataset: Dataset) -> None:
    # Where this changes, baselines and comparisons with earlier results do not hold any more.
    if dataset.name.startswith("birds"):
        need_the_expected_species(dataset)
    if dataset.name in made_files.FROM_IMAGE_FILES:
        pytest.skip("its hash covers files that other versions of Pillow write otherwise")
    expected = EXPECTED[dataset.name]
    sizes = tuple(len(split) for split in (dataset.train, dataset.val, dataset.test))
    assert sizes == (expected.train, expected.val, expected.test)
    assert dataset.hash == expected.hash
    # Of hundreds of pixels, a few of which may be another level where a sum ends in another bit.
    found = dataset.test.images[:3].double().mean((1, 2, 3)).tolist()
    assert found == pytest.approx(expected.means, abs=0.5)


@of_those_that_load_fast
def test_loading_again_gives_the_same_data(dataset: Dataset, root: str | Path | None) -> None:
    again = load_dataset(dataset.name, root)
    assert again.hash == dataset.hash
    for name in ("train", "val", "test"):
        one, other = getattr(again, name), getattr(dataset, name)
        assert torch.equal(one.images[:500], other.images[:500])
        assert torch.equal(one.labels, other.labels)


@of_undistorted
def test_no_picture_is_in_two_splits(dataset: Dataset) -> None:
    train, val, test = (
        {image.tobytes() for image in split.images.numpy()}
        for split in (dataset.train, dataset.val, dataset.test)
    )
    assert train.isdisjoint(val)
    assert test.isdisjoint(train | val)


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
