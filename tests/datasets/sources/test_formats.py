"""Files of other projects: each made by its own library, or as that library writes it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from numpy.typing import NDArray

from stn_core.datasets import Dataset, check_dataset, load_dataset
from tests.datasets.made_files import idx, usps_lines
from tests.datasets.noise import TEST, TRAIN, VAL, complaint, images, labels


def pairs(images: NDArray | torch.Tensor, labels: NDArray | torch.Tensor) -> list:
    return sorted(
        (np.asarray(image).tobytes(), int(label))
        for image, label in zip(images, labels, strict=True)
    )


def assert_holds(
    dataset: Dataset, train: tuple[NDArray, NDArray], test: tuple[NDArray, NDArray]
) -> None:
    """Train with validation, and test, are these images (N, C, H, W) with these labels."""
    learnt = torch.cat([dataset.train.images, dataset.val.images])
    learnt_labels = torch.cat([dataset.train.labels, dataset.val.labels])
    assert pairs(learnt, learnt_labels) == pairs(*train)
    assert np.array_equal(dataset.test.images, test[0])
    assert dataset.test.labels.tolist() == test[1].tolist()


# MedMNIST -----------------------------------------------------------------------------------------


def write_medmnist(folder: Path, name: str, side: int = 28) -> dict[str, NDArray]:
    """A small file in the place of a real one, under the package's own keys."""
    counts = {"train": TRAIN, "val": VAL, "test": TEST}
    made = {}
    for seed, (split, count) in enumerate(counts.items()):
        made[f"{split}_images"] = images(count, seed, side, side)
        made[f"{split}_labels"] = labels(count, seed, 2).astype(np.uint8)[:, None]
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", **made)
    return made


def test_medmnist_reads_the_same_of_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medmnist = pytest.importorskip("medmnist")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    write_medmnist(tmp_path / ".medmnist", "breastmnist")
    dataset = load_dataset("breastmnist")  # without a data root: from the package's folder
    assert check_dataset("breastmnist_rts") == (1, 42, 42)
    for split in ("train", "val", "test"):
        theirs = medmnist.BreastMNIST(split=split, root=str(tmp_path / ".medmnist"))
        ours = getattr(dataset, split)
        assert np.array_equal(ours.images[:, 0], theirs.imgs)
        assert ours.labels.tolist() == theirs.labels.ravel().tolist()
    assert dataset.class_names == ("malignant", "normal, benign")


def test_a_larger_version_of_a_medmnist_set_has_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medmnist = pytest.importorskip("medmnist")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    made = write_medmnist(tmp_path / ".medmnist", "breastmnist_64", 64)
    dataset = load_dataset("breastmnist_64")
    theirs = medmnist.BreastMNIST(split="test", root=str(tmp_path / ".medmnist"), size=64)
    assert np.array_equal(dataset.test.images[:, 0], theirs.imgs)
    assert np.array_equal(theirs.imgs, made["test_images"])
    assert "unknown dataset" in complaint(tmp_path, "breastmnist_65")


def test_a_medmnist_set_that_is_not_there_says_where_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("medmnist")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    message = complaint(tmp_path, "pathmnist")
    assert message.startswith("no pathmnist.npz in the data root or in ")
    assert "--download" in message


# idx ----------------------------------------------------------------------------------------------


def write_idx(
    folder: Path, prefix: str, made: dict[str, tuple[NDArray, NDArray]], packed: bool, test: str
) -> None:
    folder.mkdir(parents=True)
    for split, (pixels, numbers) in made.items():
        part = test if split == "test" else split
        contents = {
            f"{prefix}{part}-images-idx3-ubyte": idx(pixels),
            f"{prefix}{part}-labels-idx1-ubyte": idx(numbers.astype(np.uint8)),
        }
        for name, content in contents.items():
            suffix = ".gz" if packed else ""
            (folder / (name + suffix)).write_bytes(gzip.compress(content) if packed else content)


def made_idx(classes: int = 10) -> dict[str, tuple[NDArray, NDArray]]:
    return {
        "train": (images(TRAIN, 0, 6, 5), labels(TRAIN, 0, classes)),
        "test": (images(TEST, 1, 6, 5), labels(TEST, 1, classes)),
    }


@pytest.mark.parametrize("packed", [False, True])
def test_kmnist_is_read_as_torchvision_reads_it(tmp_path: Path, packed: bool) -> None:
    import torchvision.datasets

    made = made_idx()
    write_idx(tmp_path / "KMNIST" / "raw", "", made, packed, "t10k")
    assert check_dataset("kmnist", tmp_path) == (1, 6, 5)
    dataset = load_dataset("kmnist", tmp_path)
    assert_holds(
        dataset,
        (made["train"][0][:, None], made["train"][1]),
        (made["test"][0][:, None], made["test"][1]),
    )
    if not packed:
        theirs = torchvision.datasets.KMNIST(tmp_path, train=False)
        assert torch.equal(dataset.test.images[:, 0], theirs.data)
        assert torch.equal(dataset.test.labels, theirs.targets)


def test_emnist_is_turned_upright_and_its_letters_have_names(tmp_path: Path) -> None:
    made = made_idx(26)
    numbered_from_1 = {split: (pixels, n + 1) for split, (pixels, n) in made.items()}
    write_idx(tmp_path / "EMNIST" / "raw", "emnist-letters-", numbered_from_1, True, "test")
    assert check_dataset("emnist_letters", tmp_path) == (1, 5, 6)
    dataset = load_dataset("emnist_letters", tmp_path)
    assert dataset.class_names[:3] == ("a", "b", "c")
    upright = made["test"][0].transpose(0, 2, 1)
    assert np.array_equal(dataset.test.images[:, 0], upright)
    assert dataset.test.labels.tolist() == made["test"][1].tolist()
    assert "transposed to be upright" in dataset.notes


def test_qmnists_labels_are_their_first_column(tmp_path: Path) -> None:
    folder = tmp_path / "qmnist"
    made = made_idx()
    write_idx(folder, "qmnist-", made, True, "test")
    for split in ("train", "test"):
        (folder / f"qmnist-{split}-labels-idx1-ubyte.gz").unlink()
        columns = np.full((len(made[split][1]), 8), 77, ">i4")
        columns[:, 0] = made[split][1]
        packed = gzip.compress(idx(columns, 12))
        (folder / f"qmnist-{split}-labels-idx2-int.gz").write_bytes(packed)
    dataset = load_dataset("qmnist", tmp_path)
    assert dataset.test.labels.tolist() == made["test"][1].tolist()
    assert "qmnist-test-labels-idx2-int.gz: only the first of 8 columns" in dataset.notes


def test_an_unknown_emnist_set_is_answered_with_the_sets_in_the_folder(
    tmp_path: Path,
) -> None:
    write_idx(tmp_path / "EMNIST" / "raw", "emnist-digits-", made_idx(), True, "test")
    assert "did you mean emnist_digits" in complaint(tmp_path, "emnist_digit")
    assert "EMNIST holds emnist_digits; name a set" in complaint(tmp_path, "emnist")
    (tmp_path / "EMNIST" / "raw" / "other.gz").touch()
    assert check_dataset("emnist_digits_rts", tmp_path) == (1, 8, 9)
    assert "not read: other.gz" in load_dataset("emnist_digits_rts", tmp_path).notes


@pytest.mark.parametrize("part", ["train-images-idx3", "t10k-labels-idx1"])
def test_an_idx_file_that_is_missing_is_named(tmp_path: Path, part: str) -> None:
    write_idx(tmp_path / "kmnist", "", made_idx(), True, "t10k")
    (tmp_path / "kmnist" / f"{part}-ubyte.gz").unlink()
    assert f"but no {part}-ubyte, gzipped or not" in complaint(tmp_path, "kmnist")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"no" + content])
def test_a_damaged_idx_file_is_named(
    tmp_path: Path, packed: bool, damage: Callable[[bytes], bytes]
) -> None:
    write_idx(tmp_path / "kmnist", "", made_idx(), packed, "t10k")
    (path,) = (tmp_path / "kmnist").glob("train-images*")
    path.write_bytes(damage(path.read_bytes()))
    assert f"{path} is damaged" in complaint(tmp_path, "kmnist")


@pytest.mark.parametrize("spelling", ["{}.gz", "{}", "dotted"])
def test_mnist_is_read_however_its_files_were_unpacked(tmp_path: Path, spelling: str) -> None:
    folder, made = tmp_path / "MNIST" / "raw", made_idx()
    write_idx(folder, "", made, spelling == "{}.gz", "t10k")
    if spelling == "dotted":
        for path in folder.iterdir():
            path.rename(folder / path.name.replace("-idx", ".idx"))
    check_dataset("mnist", tmp_path)
    assert load_dataset("mnist", tmp_path).test.labels.tolist() == made["test"][1].tolist()


# MATLAB -------------------------------------------------------------------------------------------


def test_svhn_is_read_with_its_tens_as_zeros(tmp_path: Path) -> None:
    folder = tmp_path / "svhn"
    folder.mkdir()
    made = {
        split: (images(count, seed, 32, 30, 3), labels(count, seed, 10))
        for seed, (split, count) in enumerate([("train", TRAIN), ("test", TEST)])
    }
    for split, (pixels, numbers) in made.items():
        content = {"X": np.moveaxis(pixels, 0, -1), "y": np.where(numbers, numbers, 10)[:, None]}
        scipy.io.savemat(folder / f"{split}_32x32.mat", content)
    assert check_dataset("svhn", tmp_path) == (3, 32, 30)
    first = {split: (np.moveaxis(pixels, -1, 1), n) for split, (pixels, n) in made.items()}
    assert_holds(load_dataset("svhn", tmp_path), first["train"], first["test"])


def write_svhn(folder: Path) -> None:
    folder.mkdir()
    for seed, (split, count) in enumerate([("train", TRAIN), ("test", TEST)]):
        content = {"X": images(32, seed, 32, 3, count), "y": labels(count, seed, 10)[:, None]}
        scipy.io.savemat(folder / f"{split}_32x32.mat", content)


def test_svhns_extra_digits_are_reported_as_not_read(tmp_path: Path) -> None:
    write_svhn(tmp_path / "svhn")
    (tmp_path / "svhn" / "extra_32x32.mat").touch()
    assert load_dataset("svhn", tmp_path).notes.endswith("not read: extra_32x32.mat")


def test_svhn_files_with_wrong_content_are_a_one_line_error(tmp_path: Path) -> None:
    write_svhn(tmp_path / "svhn")
    path = tmp_path / "svhn" / "train_32x32.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    assert f"{path} is damaged (" in complaint(tmp_path, "svhn")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600))
    assert f"{path} is of MATLAB 7.3; save it with -v7" in complaint(tmp_path, "svhn")
    wrong = {"X": images(32, 0, 32, TRAIN), "y": labels(TRAIN, 0, 10)[:, None]}
    scipy.io.savemat(path, {**wrong, "X": images(32, 0, 32, 3, 2, TRAIN)})
    assert "train_32x32.mat is uint8 (60, 32, 32, 3, 2)" in complaint(
        tmp_path, "svhn", check_dataset
    )
    scipy.io.savemat(path, {**wrong, "X": images(32, 0, 32, 3, TRAIN - 1)})
    assert "the label array of train_32x32.mat holds 60 labels" in complaint(tmp_path, "svhn")


@pytest.mark.parametrize("in_batches", [False, True])
def test_affnist_is_read_with_its_own_validation(tmp_path: Path, in_batches: bool) -> None:
    folder = tmp_path / "affnist"
    names = {"train": "training", "val": "validation", "test": "test"}
    made = {}
    for seed, (split, count) in enumerate([("train", TRAIN), ("val", VAL), ("test", TEST)]):
        pixels, numbers = images(count, seed, 40 * 40), labels(count, seed, 10)
        made[split] = pixels, numbers
        halves = np.array_split(np.arange(count), 2) if in_batches else [np.arange(count)]
        for number, rows in enumerate(halves, start=1):
            place = f"{names[split]}_batches/{number}" if in_batches else names[split]
            path = folder / f"{place}.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            data = {"image": pixels[rows].T, "label_int": numbers[rows][None].astype(np.uint8)}
            scipy.io.savemat(path, {"affNISTdata": data})
    dataset = load_dataset("affnist", tmp_path)
    for split, (pixels, numbers) in made.items():
        ours = getattr(dataset, split)
        assert np.array_equal(ours.images.reshape(len(ours), -1), pixels)
        assert ours.labels.tolist() == numbers.tolist()


def test_affnists_training_images_may_come_with_those_for_validation(tmp_path: Path) -> None:
    folder = tmp_path / "affnist" / "transformed"
    folder.mkdir(parents=True)
    for seed, (name, count) in enumerate([("training_and_validation", TRAIN), ("test", TEST)]):
        data = {"image": images(count, seed, 9).T, "label_int": labels(count, seed, 10)[None]}
        (folder / f"{name}_batches").mkdir()
        scipy.io.savemat(folder / f"{name}_batches" / "1.mat", {"affNISTdata": data})
    assert "6 of train set aside for val" in load_dataset("affnist", tmp_path).notes


def test_affnist_never_validates_with_images_that_it_trains_on(tmp_path: Path) -> None:
    folder = tmp_path / "affnist"
    folder.mkdir()
    both = images(TRAIN, 0, 9), labels(TRAIN, 0, 10)
    parts = {
        "training_and_validation": both,
        "validation": (both[0][:VAL], both[1][:VAL]),
        "test": (images(TEST, 1, 9), labels(TEST, 1, 10)),
    }
    for name, (pixels, numbers) in parts.items():
        data = {"image": pixels.T, "label_int": numbers[None]}
        scipy.io.savemat(folder / f"{name}.mat", {"affNISTdata": data})
    dataset = load_dataset("affnist", tmp_path)
    trained = {image.numpy().tobytes() for image in dataset.train.images}
    assert not any(image.numpy().tobytes() in trained for image in dataset.val.images)
    assert dataset.notes.endswith("not read: validation.mat")


def test_a_damaged_mat_file_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "svhn"
    folder.mkdir()
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (folder / name).write_bytes(b"MATLAB, or is it")
    assert "damaged or not a .mat file" in complaint(tmp_path, "svhn")
    scipy.io.savemat(folder / "train_32x32.mat", {"Z": np.ones(3)})
    assert "holds Z; SVHN's files hold X and y" in complaint(tmp_path, "svhn")


# torchvision --------------------------------------------------------------------------------------


def test_usps_is_read_by_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets.utils, "check_integrity", lambda *_: True)
    made = {}
    for seed, (name, count) in enumerate([("usps.bz2", TRAIN), ("usps.t.bz2", TEST)]):
        pixels, numbers = images(count, seed, 16, 16), labels(count, seed, 10)
        (tmp_path / name).write_bytes(usps_lines(pixels, numbers))
        made[name] = pixels, numbers
    assert check_dataset("torchvision:USPS", tmp_path) == (1, 16, 16)
    assert load_dataset("torchvision:USPS_rts", tmp_path).image_shape == (1, 24, 24)
    dataset = load_dataset("torchvision:USPS", tmp_path)
    assert dataset.image_shape == (1, 16, 16)
    theirs = torchvision.datasets.USPS(tmp_path, train=False)
    assert np.array_equal(dataset.test.images[:, 0], theirs.data)
    assert dataset.test.labels.tolist() == made["usps.t.bz2"][1].tolist()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CIFAR10", "is not read: it unpickles its files"),
        ("KMNIST", "load it as kmnist instead"),
        ("usps", "did you mean USPS?"),
        ("USPS_rtx", "unknown dataset 'torchvision:USPS_rtx'"),
        ("USPSS", "unknown torchvision dataset 'USPSS'; did you mean USPS"),
        ("USPS", "torchvision cannot read USPS in "),
    ],
)
def test_torchvision_classes_that_cannot_be_read_are_a_one_line_error(
    tmp_path: Path, name: str, said: str
) -> None:
    assert said in complaint(tmp_path, f"torchvision:{name}")
