"""Every image carries the label that its source gives it: compared one by one, never by counts.

Labels are drawn at random here, so that no shift of them, by one or by a batch, gives the same
ones again; images spell a number or are found again by their pixels.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

from stn_core.datasets import Dataset, Split, load_dataset
from stn_core.datasets.distortions.distorted_sets import KINDS
from stn_core.datasets.sources.cifar10 import CLASSES as CIFAR_CLASSES
from tests.datasets import cub_tree
from tests.datasets.real_data import DATA_ROOT, needs_real
from tests.datasets.sources.test_cifar10 import batch

Pairs = Counter[tuple[bytes, int]]


def pairs(images: Iterable[NDArray], labels: Iterable[int]) -> Pairs:
    """How often each image comes with each label."""
    return Counter(
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )


def pairs_of(*splits: Split) -> Pairs:
    return sum((pairs(split.images.numpy(), split.labels) for split in splits), Counter())


def noise(count: int, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def drawn_labels(count: int, num_classes: int = 10, seed: int = 1) -> NDArray[np.uint8]:
    """Random labels of which every class occurs."""
    labels = np.random.default_rng(seed).integers(0, num_classes, count)
    labels[:num_classes] = np.random.default_rng(seed).permutation(num_classes)
    return labels.astype(np.uint8)


def assert_pairs_come_through(
    dataset: Dataset, train: tuple[NDArray, NDArray], test: tuple[NDArray, NDArray]
) -> None:
    """Train and validation hold the official train's pairs, and test its own, in (N, C, H, W)."""
    assert pairs_of(dataset.train, dataset.val) == pairs(*train)
    assert np.array_equal(dataset.test.images, test[0])
    assert dataset.test.labels.tolist() == test[1].tolist()


@pytest.mark.parametrize("name", ["digits", "digits_rts"])
def test_a_digit_has_the_label_that_scikit_learn_gives_it(name: str) -> None:
    originals = load_digits()
    pixels = torch.from_numpy(originals.images)[:, None] * (255 / 16)
    enlarged = F.interpolate(pixels, size=(20, 20), mode="bilinear", align_corners=False)
    dataset = load_dataset(name)
    splits = (dataset.train, dataset.val, dataset.test) if name == "digits" else (dataset.train,)
    for split in splits:
        middle = split.images[:, :, 4:24, 4:24] if name == "digits" else split.images
        # Rounding moves a pixel by half a level; no other digit is nearer.
        source = torch.cdist(middle.double().flatten(1), enlarged.flatten(1)).argmin(1)
        assert split.labels.tolist() == originals.target[source].tolist()


def write_idx_files(folder: Path, parts: dict[str, tuple[NDArray, NDArray]]) -> None:
    folder.mkdir(parents=True)
    for part, (images, labels) in parts.items():
        header = struct.pack(">IIII", 0x803, *images.shape)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">II", 0x801, len(labels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


@pytest.mark.parametrize(
    ("name", "theirs"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_idx_files_pair_images_and_labels_by_their_place(
    tmp_path: Path, name: str, theirs: str
) -> None:
    train = noise(70, 6, 5), drawn_labels(70)
    test = noise(30, 6, 5, seed=2), drawn_labels(30, seed=3)
    write_idx_files(tmp_path / theirs / "raw", {"train": train, "t10k": test})
    dataset = load_dataset(name, tmp_path)
    assert_pairs_come_through(dataset, train, (test[0][:, None], test[1]))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        pytest.param("mnist", "MNIST", marks=needs_real("mnist")),
        pytest.param("fashion_mnist", "FashionMNIST", marks=needs_real("fashion_mnist")),
    ],
)
def test_the_real_files_are_paired_as_torchvision_pairs_them(name: str, theirs: str) -> None:
    import torchvision.datasets

    train, test = (
        getattr(torchvision.datasets, theirs)(DATA_ROOT, train=is_train)
        for is_train in (True, False)
    )
    assert_pairs_come_through(
        load_dataset(name, DATA_ROOT),
        (train.data.numpy(), train.targets.numpy()),
        (test.data[:, None].numpy(), test.targets.numpy()),
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_an_npz_file_pairs_images_and_labels_by_their_place(tmp_path: Path, channels: int) -> None:
    train = noise(70, 6, 5, channels), drawn_labels(70)
    test = noise(30, 6, 5, channels, seed=2), drawn_labels(30, seed=3)
    np.savez(
        tmp_path / "mine.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1]
    )
    first = [np.ascontiguousarray(np.moveaxis(part, -1, 1)) for part in (train[0], test[0])]
    assert_pairs_come_through(
        load_dataset("mine", tmp_path), (first[0], train[1]), (first[1], test[1])
    )


def write_cifar_npz(root: Path, train: tuple[NDArray, NDArray], test: tuple[NDArray, NDArray]):
    last = [np.moveaxis(images, 1, -1) for images, _ in (train, test)]
    np.savez(
        root / "cifar10.npz", x_train=last[0], y_train=train[1], x_test=last[1], y_test=test[1]
    )


def write_cifar_batches(root: Path, train: tuple[NDArray, NDArray], test: tuple[NDArray, NDArray]):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    parts = zip(np.array_split(train[0], 5), np.array_split(train[1], 5), strict=True)
    batches = {f"data_batch_{number}": part for number, part in enumerate(parts, start=1)}
    for name, (images, labels) in (batches | {"test_batch": test}).items():
        content = batch(images.reshape(len(images), -1), labels.tolist())
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("write", [write_cifar_npz, write_cifar_batches])
def test_cifar_10_pairs_images_and_labels_as_its_files_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable
) -> None:
    monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))
    train = noise(75, 3, 32, 32), drawn_labels(75)
    test = noise(30, 3, 32, 32, seed=2), drawn_labels(30, seed=3)
    write(tmp_path, train, test)
    for _ in range(2):  # decoded, then from the kept copy
        dataset = load_dataset("cifar10", tmp_path)
        assert pairs_of(dataset.train, dataset.val) == pairs(*train)
        assert pairs_of(dataset.test) == pairs(*test)
        assert dataset.class_names == CIFAR_CLASSES


@needs_real("cifar10")
def test_the_real_cifar_10_is_paired_as_its_file_pairs_it() -> None:
    path = Path(DATA_ROOT or "", "cifar10.npz")
    if not path.exists():
        pytest.skip("only torchvision's batches are there")
    with np.load(path) as file:
        official = {
            split: pairs(file[f"x_{split}"].transpose(0, 3, 1, 2), file[f"y_{split}"].ravel())
            for split in ("train", "test")
        }
    dataset = load_dataset("cifar10", DATA_ROOT)
    assert pairs_of(dataset.train, dataset.val) == official["train"]
    assert pairs_of(dataset.test) == official["test"]


def test_a_bird_has_the_class_that_its_own_line_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))
    cub_tree.write_tree(tmp_path)
    names = list(cub_tree.CLASSES.values())
    for _ in range(2):  # decoded, then from the kept copy
        dataset = load_dataset("birds", tmp_path)
        seen = []
        for split in (dataset.train, dataset.val, dataset.test):
            # Image n is evenly grey of value 10 n, give or take what JPEG makes of it.
            numbers = (split.images.amax((1, 2, 3)).double() / 10).round().long().tolist()
            seen += numbers
            for number, label in zip(numbers, split.labels.tolist(), strict=True):
                class_name = names[list(cub_tree.CLASSES).index(cub_tree.class_of(number))]
                assert class_name.endswith(dataset.class_names[label].replace(" ", "_"))
        assert sorted(seen) == list(cub_tree.NUMBERS)


@pytest.mark.parametrize("name", ["coordinates_uniform", "coordinates_quadrant"])
def test_a_coordinate_pair_is_of_the_class_that_bears_its_name(name: str) -> None:
    dataset = load_dataset(name)
    for split in (dataset.train, dataset.val, dataset.test):
        for (x, y), label in zip(split.images.flatten(1).tolist(), split.labels, strict=True):
            assert dataset.class_names[label] == f"({x}, {y})"


NUM_TRAIN, NUM_TEST = 120, 80
LEVELS = range(51, 251)
"""The grey of every picture's square, its own: what is seen most of a picture tells which it is."""


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, int]]:
    """A folder with black pictures of 20×28 that hold a square each; the labels by grey level."""
    folder = tmp_path_factory.mktemp("squares")
    levels = np.random.default_rng(4).permutation(LEVELS)
    labels = drawn_labels(len(levels), num_classes=7)
    images = np.zeros((len(levels), 20, 28), np.uint8)
    images[:, 4:16, 6:22] = levels[:, None, None]
    np.savez(
        folder / "squares.npz",
        **{"x_train": images[:NUM_TRAIN], "y_train": labels[:NUM_TRAIN]},
        **{"x_test": images[NUM_TRAIN:], "y_test": labels[NUM_TRAIN:]},
    )
    return folder, dict(zip(levels.tolist(), labels.tolist(), strict=True))


def levels_of(images: Tensor) -> NDArray[np.int64]:
    """Per image and channel the grey that is seen most but for the background, ``(N, C)``."""
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.flatten(0, 1)])
    counts[:, 0] = 0
    return counts.argmax(1).reshape(images.shape[:2]).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_a_distorted_picture_has_the_label_of_what_it_shows(
    squares: tuple[Path, dict[int, int]], kind: str
) -> None:
    folder, label_of = squares
    dataset = load_dataset(f"squares_{kind}", folder)
    epoch = dataset.epoch_images(dataset.train.images, seed=3, epoch=2)
    shown = {
        "val": (dataset.val.images, dataset.val.labels),
        "test": (dataset.test.images, dataset.test.labels),
        "an epoch": (epoch, dataset.train.labels),
    }
    for split, (images, labels) in shown.items():
        # Of `add` both channels show a picture, and the label is the sum.
        expected = [sum(label_of[level] for level in row) for row in levels_of(images).tolist()]
        assert labels.tolist() == expected, split
    assert np.array_equal(levels_of(epoch), levels_of(dataset.train.images))
    assert set(levels_of(dataset.test.images)[:, 0]).isdisjoint(levels_of(epoch)[:, 0])
