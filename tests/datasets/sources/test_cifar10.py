"""CIFAR-10: one dataset whichever files it is read from, and no code of the files' choosing."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stn_core.datasets import check_dataset, load_dataset
from stn_core.datasets.sources import cifar10
from stn_core.datasets.sources.cifar_batches import read_batches
from stn_core.errors import UsageError
from tests.datasets.real_data import DATA_ROOT, needs_real

TRAIN, TEST = 60, 20
BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
FOLDER = "cifar-10-batches-py"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))


def images(count: int, seed: int) -> NDArray[np.uint8]:
    """(N, 3, 32, 32)"""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def labels(count: int) -> NDArray[np.int64]:
    return np.arange(count) % 10


def write_npz(root: Path, reverse: bool = False, **changes: NDArray) -> Path:
    step = -1 if reverse else 1
    arrays = {
        "x_train": images(TRAIN, 0).transpose(0, 2, 3, 1)[::step],
        "y_train": labels(TRAIN)[::step],
        "x_test": images(TEST, 1).transpose(0, 2, 3, 1)[::step],
        "y_test": labels(TEST)[::step],
    }
    np.savez(root / "cifar10.npz", **{**arrays, **changes})
    return root / "cifar10.npz"


def _string(content: bytes) -> bytes:
    if len(content) < 256:
        return b"U" + bytes([len(content)]) + content
    return b"T" + struct.pack("<i", len(content)) + content


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _array(pixels: NDArray, column_major: bool = False) -> bytes:
    """An array as numpy pickled it under Python 2, protocol 2."""
    code = _string(pixels.dtype.str.lstrip("|").encode())
    dtype = b"cnumpy\ndtype\n" + code + b"K\x00K\x01\x87R(K\x03" + _string(b"|") + b"NNN"
    dtype += _number(-1) + _number(-1) + b"K\x00tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    shape = b"(" + b"".join(_number(size) for size in pixels.shape) + b"t"
    flag = b"\x88" if column_major else b"\x89"
    content = pixels.tobytes("F" if column_major else "C")
    return made + b"(K\x01" + shape + dtype + flag + _string(content) + b"tb"


def batch(
    pixels: NDArray, numbers: list[int], column_major: bool = False, extra: bytes = b""
) -> bytes:
    """A batch file as Python 2 pickled it."""
    items = _string(b"batch_label") + _string(b"testing batch 1 of 1")
    items += _string(b"labels") + b"](" + b"".join(_number(number) for number in numbers) + b"e"
    items += _string(b"data") + _array(pixels, column_major) + extra
    return b"\x80\x02}(" + items + b"u."


def write_batches(root: Path, column_major: bool = False) -> Path:
    """The dataset of `write_npz` in torchvision's files; returns their folder."""
    folder = root / FOLDER
    folder.mkdir(parents=True)
    parts = [*np.split(images(TRAIN, 0), 5), images(TEST, 1)]
    numbers = [*np.split(labels(TRAIN), 5), labels(TEST)]
    for name, part, of_part in zip(BATCHES, parts, numbers, strict=True):
        content = batch(part.reshape(len(part), -1), of_part.tolist(), column_major)
        (folder / name).write_bytes(content)
    return folder


def complaint(root: Path | None, look: Callable = load_dataset, download: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        look("cifar10", root, download)
    message = str(caught.value)
    assert "\n" not in message
    return message


def pixels(tensor: torch.Tensor | NDArray) -> list[bytes]:
    return sorted(image.tobytes() for image in np.asarray(tensor))


def test_the_npz_is_the_dataset(tmp_path: Path) -> None:
    write_npz(tmp_path)
    check_dataset("cifar10", tmp_path)
    dataset = load_dataset("cifar10", tmp_path)
    assert dataset.name == "cifar10"
    assert dataset.image_shape == (3, 32, 32)
    assert dataset.class_names[::9] == ("airplane", "truck")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (54, 6, 20)
    assert pixels(dataset.test.images) == pixels(images(TEST, 1))
    assert pixels(torch.cat([dataset.train.images, dataset.val.images])) == pixels(images(TRAIN, 0))
    of_image = {image.tobytes(): number % 10 for number, image in enumerate(images(TRAIN, 0))}
    for image, label in zip(dataset.train.images.numpy(), dataset.train.labels, strict=True):
        assert of_image[image.tobytes()] == label


@pytest.mark.parametrize("column_major", [False, True])
def test_all_files_that_hold_the_same_images_are_the_same_dataset(
    tmp_path: Path, column_major: bool
) -> None:
    roots = [tmp_path / name for name in ("npz", "reversed", "batches")]
    for root in roots:
        root.mkdir()
    write_npz(roots[0])
    write_npz(roots[1], reverse=True)
    write_batches(roots[2], column_major)
    check_dataset("cifar10", roots[2])
    first, *others = (load_dataset("cifar10", root) for root in roots)
    for other in others:
        assert other.hash == first.hash
        for name in ("train", "val", "test"):
            assert torch.equal(getattr(other, name).images, getattr(first, name).images)
            assert torch.equal(getattr(other, name).labels, getattr(first, name).labels)


def test_an_order_of_their_own_looks_random(tmp_path: Path) -> None:
    write_npz(tmp_path)
    test = load_dataset("cifar10", tmp_path).test
    first_pixels = test.images[:, 0, 0, 0].tolist()
    assert first_pixels != sorted(first_pixels)
    assert test.labels.tolist() != sorted(test.labels.tolist())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torchvision's own unpickling
def test_torchvision_finds_the_same_in_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.datasets.cifar

    folder = write_batches(tmp_path)
    meta = {"label_names": list(cifar10.CLASSES)}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    for is_train in (True, False):
        theirs = torchvision.datasets.CIFAR10(tmp_path, train=is_train)
        ours = read_batches([folder / name for name in (BATCHES[:5] if is_train else BATCHES[5:])])
        assert np.array_equal(ours.images.permute(0, 2, 3, 1).numpy(), theirs.data)
        assert ours.labels.tolist() == theirs.targets


def test_the_npz_is_read_where_both_are_there(tmp_path: Path) -> None:
    folder = write_batches(tmp_path)
    write_npz(tmp_path)
    for name in BATCHES:
        (folder / name).write_bytes(b"damaged")
    check_dataset("cifar10", tmp_path)
    assert len(load_dataset("cifar10", tmp_path).test) == TEST


@pytest.mark.parametrize(
    ("write", "read"), [(write_npz, "read_npz"), (write_batches, "read_batches")]
)
def test_the_files_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable, read: str
) -> None:
    write(tmp_path)
    first = load_dataset("cifar10", tmp_path)
    monkeypatch.setattr(cifar10, read, lambda *_: pytest.fail("read again"))
    again = load_dataset("cifar10", tmp_path)
    assert again.hash == first.hash
    assert torch.equal(again.test.images, first.test.images)


def test_a_changed_file_is_decoded_again(tmp_path: Path) -> None:
    write_npz(tmp_path)
    before = load_dataset("cifar10", tmp_path)
    path = write_npz(tmp_path, x_test=images(TEST, 2).transpose(0, 2, 3, 1))
    os.utime(path, (0, 0))
    after = load_dataset("cifar10", tmp_path)
    assert pixels(after.test.images) == pixels(images(TEST, 2))
    assert after.hash != before.hash


@pytest.mark.parametrize("look", [check_dataset, load_dataset])
def test_missing_data_say_where_they_were_looked_for_and_what_to_do(
    tmp_path: Path, look: Callable
) -> None:
    message = complaint(tmp_path, look)
    assert f"no cifar10.npz in {tmp_path}" in message
    assert str(tmp_path / FOLDER) in message
    for way_out in ("root=", "--data-root", "STN_DATA", "--download"):
        assert way_out in message
        assert way_out in complaint(None, look)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x_train": np.zeros((TRAIN, 32, 32), np.uint8)}, "images of shape (1, 32, 32)"),
        (
            {
                name: np.zeros((n, 28, 32, 3), np.uint8)
                for name, n in [("x_train", 60), ("x_test", 20)]
            },
            "images of shape (3, 28, 32), CIFAR-10 has (3, 32, 32)",
        ),
        (
            {"y_train": labels(TRAIN) % 9, "y_test": labels(TEST) % 9},
            "holds 9 classes, CIFAR-10 has 10",
        ),
        ({"y_train": labels(TRAIN)[1:]}, "y_train holds 59 labels"),
    ],
)
def test_an_npz_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, NDArray], said: str
) -> None:
    if changes.keys() == {"x_train"}:
        changes = {**changes, "x_test": np.zeros((TEST, 32, 32), np.uint8)}
    path = write_npz(tmp_path, **changes)
    message = complaint(tmp_path)
    assert said in message
    assert str(path) in message


def _zeros(count: int, width: int = 3072, dtype: str = "u1") -> NDArray:
    return np.zeros((count, width), dtype)


@pytest.mark.parametrize("name", BATCHES)
def test_a_missing_batch_is_named(tmp_path: Path, name: str) -> None:
    (write_batches(tmp_path) / name).unlink()
    for look in (check_dataset, load_dataset):
        assert f"no {name} in {tmp_path / FOLDER}" in complaint(tmp_path, look)


def test_too_few_images_to_validate_are_refused(tmp_path: Path) -> None:
    folder = write_batches(tmp_path)
    for name in BATCHES[:5]:
        (folder / name).write_bytes(batch(_zeros(1), [0]))
    assert f"{folder} holds 5 images to train with" in complaint(tmp_path)


def test_missing_files_are_downloaded_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[Path] = []

    def fetch(root: Path, download: bool) -> None:
        assert download
        fetched.append(root)
        write_batches(root)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fetch)
    check_dataset("cifar10", tmp_path, download=True)
    assert not fetched
    for _ in range(2):  # the second time they are there
        assert len(load_dataset("cifar10", tmp_path, download=True).test) == TEST
    assert fetched == [tmp_path]
    other = tmp_path / "other"
    other.mkdir()
    write_npz(other)
    load_dataset("cifar10", other, download=True)
    assert fetched == [tmp_path]


@pytest.mark.parametrize(
    "error", [URLError("no route"), RuntimeError("Error downloading x:\nTried"), PermissionError()]
)
def test_a_failed_download_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(root: Path, download: bool) -> None:
        raise error

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fail)
    message = complaint(tmp_path, download=True)
    assert f"CIFAR-10 could not be fetched into {tmp_path}" in message


@needs_real("cifar10")
def test_the_real_files_are_the_published_ones() -> None:
    check_dataset("cifar10", DATA_ROOT)
    dataset = load_dataset("cifar10", DATA_ROOT)
    assert [len(part) for part in (dataset.train, dataset.val, dataset.test)] == [
        45_000,
        5_000,
        10_000,
    ]
    assert torch.bincount(dataset.test.labels).tolist() == 10 * [1_000]
    # The published values are of all 50,000 images, ours of 45,000: a few 1e-4 apart.
    assert dataset.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=5e-4)
    assert dataset.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=5e-4)
    assert dataset.hash == "f79ee4331c42316c"
