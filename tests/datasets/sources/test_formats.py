"""Files of other projects: each made by its own library, or as that library writes it.

Labels are drawn at random and images spell their number, so that a shift of either is seen.
"""

from __future__ import annotations

import bz2
import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from numpy.typing import NDArray
from PIL import Image

from stn_core.datasets import Dataset, check_dataset, load_dataset
from stn_core.datasets.distortions.distorted_sets import KINDS
from stn_core.errors import UsageError

TRAIN, VAL, TEST = 60, 12, 20


def images(count: int, seed: int, *shape: int) -> NDArray[np.uint8]:
    made = np.random.default_rng(seed).integers(1, 256, (count, *shape), np.uint8)
    made.reshape(count, -1)[:, 0] = np.arange(count)
    return made


def labels(count: int, seed: int, classes: int = 3) -> NDArray[np.int64]:
    drawn = np.random.default_rng(seed).integers(0, classes, count)
    first = np.arange(min(classes, count))
    drawn[: len(first)] = first[::-1]
    return drawn


def complaint(root: Path, name: str = "mine", load: Callable = load_dataset) -> str:
    with pytest.raises(UsageError) as caught:
        load(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def write_medmnist(folder: Path, name: str) -> dict[str, NDArray]:
    """A small file in the place of a real one, under the package's own keys."""
    counts = {"train": TRAIN, "val": VAL, "test": TEST}
    made = {}
    for seed, (split, count) in enumerate(counts.items()):
        made[f"{split}_images"] = images(count, seed, 28, 28)
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


def test_a_medmnist_set_that_is_not_there_says_where_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("medmnist")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    message = complaint(tmp_path, "pathmnist")
    assert message.startswith("no pathmnist.npz in the data root or in ")
    assert "--download" in message


# idx ----------------------------------------------------------------------------------------------


def idx(array: NDArray, kind: int = 8) -> bytes:
    return (
        struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()
    )


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
    assert "turned upright" in dataset.notes


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
    assert load_dataset("qmnist", tmp_path).test.labels.tolist() == made["test"][1].tolist()


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


def test_a_damaged_mat_file_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "svhn"
    folder.mkdir()
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (folder / name).write_bytes(b"MATLAB, or is it")
    assert "damaged or no .mat file" in complaint(tmp_path, "svhn")
    scipy.io.savemat(folder / "train_32x32.mat", {"Z": np.ones(3)})
    assert "holds Z; SVHN's files hold X and y" in complaint(tmp_path, "svhn")


# torchvision --------------------------------------------------------------------------------------


def test_usps_is_read_by_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets.utils, "check_integrity", lambda *_: True)
    made = {}
    for seed, (name, count) in enumerate([("usps.bz2", TRAIN), ("usps.t.bz2", TEST)]):
        pixels, numbers = images(count, seed, 16, 16), labels(count, seed, 10)
        lines = [
            f"{label + 1} "
            + " ".join(f"{k}:{v / 255 * 2 - 1:.8f}" for k, v in enumerate(row.ravel(), 1))
            for row, label in zip(pixels, numbers, strict=True)
        ]
        (tmp_path / name).write_bytes(bz2.compress("\n".join(lines).encode()))
        made[name] = pixels, numbers
    dataset = load_dataset("torchvision:USPS", tmp_path)
    theirs = torchvision.datasets.USPS(tmp_path, train=False)
    assert np.array_equal(dataset.test.images[:, 0], theirs.data)
    assert dataset.test.labels.tolist() == made["usps.t.bz2"][1].tolist()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CIFAR10", "is not read: it unpickles its files"),
        ("USPSS", "unknown torchvision dataset 'USPSS'; did you mean USPS"),
        ("USPS", "torchvision cannot read USPS in "),
    ],
)
def test_what_torchvision_cannot_give_is_one_line(tmp_path: Path, name: str, said: str) -> None:
    assert said in complaint(tmp_path, f"torchvision:{name}")


# Folders of images --------------------------------------------------------------------------------


def write_folder(
    folder: Path, classes: dict[str, int], size: tuple[int, int] = (12, 14), seed: int = 0
) -> dict[bytes, str]:
    """Grey noise of a class each; returns the class by an image's pixels."""
    made = {}
    for number, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for image, pixels in enumerate(images(count, 100 * seed + number, *size)):
            Image.fromarray(pixels).save(folder / name / f"{image}.png")
            made[pixels.tobytes()] = name
    return made


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))


def assert_named(dataset: Dataset, made: dict[bytes, str]) -> None:
    """Every image is of the class of its folder, and none is missing."""
    seen = []
    for split in (dataset.train, dataset.val, dataset.test):
        for image, label in zip(split.images.numpy(), split.labels.tolist(), strict=True):
            assert made[image.tobytes()] == dataset.class_names[label]
            seen.append(image.tobytes())
    assert sorted(seen) == sorted(made)


def test_folders_of_classes_are_divided_by_the_fixed_permutation(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "mine", {"kite": 40, "owl": 30})
    assert check_dataset("mine", tmp_path) == (1, 12, 14)
    dataset = load_dataset("mine", tmp_path)
    assert dataset.class_names == ("kite", "owl")
    assert (len(dataset.test), len(dataset.val)) == (7, 6)
    assert_named(dataset, made)
    assert "7 of train carved out for test; 6 of train carved out for val" in dataset.notes
    again = load_dataset("mine", tmp_path)  # from the kept copy
    assert again.hash == dataset.hash
    assert torch.equal(again.test.images, dataset.test.images)


def test_folders_of_splits_are_these_splits(tmp_path: Path) -> None:
    counts = {"train": 10, "val": 3, "test": 4}
    made = {
        split: write_folder(tmp_path / "mine" / split, {"a": n, "b": n}, seed=seed)
        for seed, (split, n) in enumerate(counts.items())
    }
    dataset = load_dataset("mine", tmp_path)
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [20, 6, 8]
    assert_named(dataset, made["train"] | made["val"] | made["test"])


def test_gtsrbs_test_table_gives_its_classes(tmp_path: Path) -> None:
    folder = tmp_path / "gtsrb"
    write_folder(folder / "Train", {"00000": 12, "00001": 12})
    made = write_folder(tmp_path / "flat", {"x": 6}, seed=5)
    (folder / "Test").mkdir()
    rows = ["Filename;Width;ClassId"]
    for number, pixels in enumerate(made):
        shaped = np.frombuffer(pixels, np.uint8).reshape(12, 14)
        Image.fromarray(shaped).save(folder / "Test" / f"{number:05d}.png")
        rows.append(f"{number:05d}.png;14;{number % 2}")
    (folder / "Test" / "GT-final_test.csv").write_text("\n".join(rows))
    assert load_dataset("gtsrb", tmp_path).test.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_sizes_that_differ_need_a_size(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    write_folder(tmp_path / "mine" / "b", {"more": 2}, size=(20, 9), seed=3)
    for load in (check_dataset, load_dataset):
        message = complaint(tmp_path, load=load)
        assert "its images have 2 sizes (24 are 12x14); choose one with --image-size" in message
    assert check_dataset("mine", tmp_path, image_size=(6, 8)) == (1, 6, 8)
    dataset = load_dataset("mine", tmp_path, image_size=(6, 8))
    assert dataset.image_shape == (1, 6, 8)
    assert "resized to 6x8" in dataset.notes


def test_greys_and_colours_are_unified_and_cameras_images_turned(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_folder(folder, {"a": 12, "b": 12})
    turned = images(1, 9, 14, 12, 3)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(turned).save(folder / "a" / "0.png", exif=exif)
    dataset = load_dataset("mine", tmp_path)
    assert dataset.image_shape == (3, 12, 14)
    upright = np.moveaxis(np.rot90(turned, -1), -1, 0)
    every = torch.cat([dataset.train.images, dataset.val.images, dataset.test.images])
    assert sum(np.array_equal(image, upright) for image in every.numpy()) == 1
    greys = (every == every[:, :1]).flatten(1).all(1)
    assert int(greys.sum()) == 23


def _break(folder: Path) -> None:
    (folder / "a" / "3.png").write_bytes(b"\x89PNG, but")
    whole = (folder / "b" / "1.png").read_bytes()
    (folder / "b" / "1.png").write_bytes(whole[: len(whole) // 2])


def _leave_one_class(folder: Path) -> None:
    for path in (folder / "b").iterdir():
        path.unlink()
    (folder / "b").rmdir()


def _empty_class(folder: Path) -> None:
    (folder / "c").mkdir()


def _two_spellings(folder: Path) -> None:
    write_folder(folder, {"A": 2}, seed=7)


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        (_break, "2 of 24 images are broken, repair or remove them: "),
        (_leave_one_class, "holds one class only, a; at least two are needed"),
        (_empty_class, "c holds no image; fill it or remove it"),
        (_two_spellings, "'A' and 'a' look like one class; give it one folder"),
    ],
)
def test_a_defect_of_a_folder_is_one_line(
    tmp_path: Path, defect: Callable[[Path], None], said: str
) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    defect(tmp_path / "mine")
    message = complaint(tmp_path)
    assert said in message
    assert str(tmp_path / "mine") in message


def test_a_class_that_only_the_test_folder_has_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine" / "train", {"a": 12, "b": 12})
    write_folder(tmp_path / "mine" / "test", {"a": 2, "c": 2}, seed=3)
    assert "holds images of class c" in complaint(tmp_path)


def test_twelve_bits_in_sixteen_are_said(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / "mine" / name).mkdir(parents=True)
        deep = images(12, seed, 12, 14).astype(np.uint16) * 16
        for number, pixels in enumerate(deep):
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{number}.png")
    assert "16-bit files hold values up to 4,080, 12 bits" in load_dataset("mine", tmp_path).notes


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_found_by_its_files_has_every_distorted_version(tmp_path: Path, kind: str) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    dataset = load_dataset(f"mine_{kind}", tmp_path)
    assert check_dataset(f"mine_{kind}", tmp_path) == dataset.image_shape
    assert dataset.hash != load_dataset("mine", tmp_path).hash
