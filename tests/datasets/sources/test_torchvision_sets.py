"""MNIST's files: read as torchvision reads them, and every damage named with its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stn_core.datasets import check_dataset, load_dataset
from stn_core.errors import UsageError
from tests.datasets.real_data import DATA_ROOT, needs_real

FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
NUM_IMAGES = {"train": 50, "t10k": 30}


def write_idx(path: Path, array: NDArray) -> None:
    header = np.array([0x0800 + array.ndim, *array.shape], dtype=">u4")
    path.write_bytes(header.tobytes() + array.tobytes())


def write_tree(root: Path, name: str = "mnist") -> Path:
    """A small dataset of 6×5 images in torchvision's layout; returns its raw folder."""
    folder = root / FOLDERS[name] / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in NUM_IMAGES.items():
        images = rng.integers(0, 256, (count, 6, 5), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


def complaint(root: Path | None, load: Callable = load_dataset, download: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        load("mnist", root, download)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", FOLDERS)
def test_the_files_hold_what_torchvision_finds_in_them(tmp_path: Path, name: str) -> None:
    import torchvision.datasets

    write_tree(tmp_path, name)
    check_dataset(name, tmp_path)
    dataset = load_dataset(name, tmp_path)
    theirs = getattr(torchvision.datasets, FOLDERS[name])
    test = theirs(tmp_path, train=False)
    assert torch.equal(dataset.test.images[:, 0], test.data)
    assert torch.equal(dataset.test.labels, test.targets)
    train = theirs(tmp_path, train=True)
    images = torch.cat([dataset.train.images, dataset.val.images])[:, 0]
    assert sorted(images.flatten(1).tolist()) == sorted(train.data.flatten(1).tolist())
    assert (len(dataset.train), len(dataset.val)) == (45, 5)
    named = zip(dataset.class_names, theirs.classes, strict=True)
    assert all(theirs_name.startswith(ours) for ours, theirs_name in named)


def test_a_pickled_copy_is_ignored(tmp_path: Path) -> None:
    processed = write_tree(tmp_path).parent / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(b"not to be read")
    assert len(load_dataset("mnist", tmp_path).test) == 30


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
def test_missing_data_say_where_they_were_looked_for_and_what_to_do(
    tmp_path: Path, load: Callable
) -> None:
    message = complaint(tmp_path, load)
    assert str(tmp_path / "MNIST" / "raw") in message
    for way_out in ("root=", "--data-root", "STN_DATA", "--download"):
        assert way_out in message
        assert way_out in complaint(None, load)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _truncate_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:7])


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _compress(path: Path) -> None:
    path.write_bytes(b"\x1f\x8b" + path.read_bytes()[2:])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "damage", [_truncate, _truncate_header, _lengthen, _compress, _empty, _remove]
)
@pytest.mark.parametrize("part", NUM_IMAGES)
@pytest.mark.parametrize("content", ["images-idx3", "labels-idx1"])
def test_damage_is_named_with_its_file(
    tmp_path: Path, damage: Callable[[Path], None], part: str, content: str
) -> None:
    path = write_tree(tmp_path) / f"{part}-{content}-ubyte"
    damage(path)
    for load in (check_dataset, load_dataset) if damage is _remove else (load_dataset,):
        message = complaint(tmp_path, load)
        assert path.name in message
        assert str(path.parent) in message
        assert "--download" in message


@pytest.mark.parametrize(
    ("file", "array", "said"),
    [
        ("train-labels-idx1-ubyte", np.zeros(49, np.uint8), "49 labels for 50 images"),
        ("t10k-labels-idx1-ubyte", np.full(30, 10, np.uint8), "label 10 is out of range"),
        ("t10k-images-idx3-ubyte", np.zeros((30, 5, 6), np.uint8), "(5, 6), those of train (6, 5)"),
        ("train-images-idx3-ubyte", np.zeros((0, 6, 5), np.uint8), "it is empty"),
        ("train-images-idx3-ubyte", np.zeros((9, 6, 5), np.uint8), "at least 10 are needed"),
        (
            "train-images-idx3-ubyte",
            np.zeros(50, np.uint8),
            "not an idx file of bytes in 3 dim",
        ),
    ],
)
def test_files_that_do_not_fit_each_other_are_damaged(
    tmp_path: Path, file: str, array: NDArray, said: str
) -> None:
    folder = write_tree(tmp_path)
    write_idx(folder / file, array)
    message = complaint(tmp_path)
    assert said in message
    assert file in message


def test_missing_files_are_downloaded_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[Path] = []

    def fetch(root: Path, download: bool) -> None:
        assert download
        fetched.append(root)
        write_tree(root)

    monkeypatch.setattr("torchvision.datasets.MNIST", fetch)
    check_dataset("mnist", tmp_path, download=True)
    assert not fetched
    for _ in range(2):  # the second time they are there
        assert len(load_dataset("mnist", tmp_path, download=True).test) == 30
    assert fetched == [tmp_path]


@pytest.mark.parametrize(
    "error", [URLError("no route"), RuntimeError("Error downloading x:\nTried"), PermissionError()]
)
def test_a_failed_download_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(root: Path, download: bool) -> None:
        raise error

    monkeypatch.setattr("torchvision.datasets.MNIST", fail)
    message = complaint(tmp_path, download=True)
    assert "MNIST could not be fetched" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(
    ("name", "mean", "std", "data_hash"),
    [
        pytest.param("mnist", 0.1307, 0.3081, "c583e66a012d0ed5", marks=needs_real("mnist")),
        pytest.param(
            "fashion_mnist", 0.2860, 0.3530, "657636b590354a83", marks=needs_real("fashion_mnist")
        ),
    ],
)
def test_the_real_files_are_the_published_ones(
    name: str, mean: float, std: float, data_hash: str
) -> None:
    dataset = load_dataset(name, DATA_ROOT)
    assert [len(part) for part in (dataset.train, dataset.val, dataset.test)] == [
        55_000,
        5_000,
        10_000,
    ]
    # The published values are of all 60,000 images, ours of 55,000: a few 1e-4 apart.
    assert dataset.mean[0] == pytest.approx(mean, abs=5e-4)
    assert dataset.std[0] == pytest.approx(std, abs=5e-4)
    assert dataset.background == (0.0,)
    assert dataset.hash == data_hash
