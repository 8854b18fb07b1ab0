"""Not-so-Clevr: every position once, named by its class, and divided as the paper divides it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stn_core.datasets import Dataset, load_dataset

NAMES = ["coordinates_uniform", "coordinates_quadrant"]


@pytest.fixture(scope="module")
def datasets() -> dict[str, Dataset]:
    return {name: load_dataset(name) for name in NAMES}


def pairs_xy(images: Tensor) -> Tensor:
    """Images ``(N, 2, 1, 1)`` as int64 ``(N, 2)``."""
    return images.flatten(1).long()


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("coordinates_uniform", [2259, 250, 627]), ("coordinates_quadrant", [2117, 235, 784])],
)
def test_sizes(datasets: dict[str, Dataset], name: str, sizes: list[int]) -> None:
    dataset = datasets[name]
    assert [len(part) for part in (dataset.train, dataset.val, dataset.test)] == sizes
    assert dataset.image_shape == (2, 1, 1)
    assert dataset.num_classes == 64 * 64
    assert dataset.distortion is None


@pytest.mark.parametrize("name", NAMES)
def test_every_place_where_the_square_fits_is_there_once(
    datasets: dict[str, Dataset], name: str
) -> None:
    dataset = datasets[name]
    images = torch.cat([part.images for part in (dataset.train, dataset.val, dataset.test)])
    fitting = {(x, y) for x in range(64) for y in range(64) if 4 <= min(x, y) <= max(x, y) < 60}
    found = [tuple(pair) for pair in pairs_xy(images).tolist()]
    assert len(found) == len(fitting) == 3136
    assert set(found) == fitting


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_class_is_the_pixel_that_its_image_names(
    datasets: dict[str, Dataset], name: str, part: str
) -> None:
    dataset, split = datasets[name], getattr(datasets[name], part)
    for (x, y), label in zip(pairs_xy(split.images).tolist(), split.labels.tolist(), strict=True):
        assert dataset.class_names[label] == f"({x}, {y})"
        canvas = torch.zeros(64 * 64)
        canvas[label] = 1
        assert canvas.reshape(64, 64)[y, x] == 1


def test_the_lower_right_quadrant_tests_and_no_other(datasets: dict[str, Dataset]) -> None:
    dataset = datasets["coordinates_quadrant"]
    assert pairs_xy(dataset.test.images).min() == 32
    for split in (dataset.train, dataset.val):
        assert not (pairs_xy(split.images) >= 32).all(dim=1).any()


@pytest.mark.parametrize("name", NAMES)
def test_every_x_and_every_y_is_trained(datasets: dict[str, Dataset], name: str) -> None:
    # Otherwise the quadrant would ask for numbers never seen, not for pairs never seen.
    pairs = pairs_xy(datasets[name].train.images)
    for axis in pairs.unbind(1):
        assert axis.unique().tolist() == list(range(4, 60))


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_the_uniform_split_spreads_over_the_canvas(datasets: dict[str, Dataset], part: str) -> None:
    images = getattr(datasets["coordinates_uniform"], part).images
    right, low = (pairs_xy(images) >= 32).unbind(1)
    quadrants = torch.bincount(2 * low.long() + right.long(), minlength=4)
    # A draw of n without putting back spreads by less than sqrt(n 1/4 3/4); five such deviations.
    assert (quadrants - len(images) / 4).abs().max() <= 5 * (len(images) * 3 / 16) ** 0.5


def test_hashes_are_those_of_every_earlier_version(datasets: dict[str, Dataset]) -> None:
    assert datasets["coordinates_uniform"].hash == "15fb08e51754dff6"
    assert datasets["coordinates_quadrant"].hash == "ec8e520eabb6b38a"
