"""Folders of image files: every image of its folder's class, and each defect in one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stn_core.datasets import Dataset, check_dataset, load_dataset
from stn_core.datasets.distortions.distorted_sets import KINDS
from tests.datasets.noise import complaint, images, write_folder


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
    assert "7 of train set aside for test; 6 of train set aside for val" in dataset.notes
    again = load_dataset("mine", tmp_path)  # from the kept copy
    assert again.hash == dataset.hash
    assert torch.equal(again.test.images, dataset.test.images)


@pytest.mark.parametrize("kind", ["rts", "add"])
def test_the_hash_of_a_distorted_folder_is_that_of_its_files(tmp_path: Path, kind: str) -> None:
    write_folder(tmp_path / "mine", {"kite": 12, "owl": 12})
    plain, dataset = (load_dataset(name, tmp_path) for name in ("mine", f"mine_{kind}"))
    assert plain.digest is not None
    assert dataset.digest is not None
    assert dataset.digest.startswith(plain.digest)


def test_folders_of_splits_are_these_splits(tmp_path: Path) -> None:
    counts = {"train": 10, "val": 3, "test": 4}
    made = {
        split: write_folder(tmp_path / "mine" / split, {"a": n, "b": n}, seed=seed)
        for seed, (split, n) in enumerate(counts.items())
    }
    dataset = load_dataset("mine", tmp_path)
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [20, 6, 8]
    assert_named(dataset, made["train"] | made["val"] | made["test"])


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
    square = load_dataset("mine", tmp_path, image_size=7)
    assert square.image_shape == (1, 7, 7)
    assert square.hash != dataset.hash


def test_an_image_is_resized_with_antialiasing(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    original = tmp_path / "mine" / "a" / "3.png"
    dataset = load_dataset("mine", tmp_path, image_size=(5, 6))
    expected = np.asarray(Image.open(original).resize((6, 5), Image.Resampling.BILINEAR))
    every = torch.cat([dataset.train.images, dataset.val.images, dataset.test.images])
    assert sum(np.array_equal(image[0], expected) for image in every.numpy()) == 1


def test_a_second_start_opens_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    first = load_dataset("mine", tmp_path, image_size=6)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("an image file was opened")

    monkeypatch.setattr(Image, "open", refused)
    assert check_dataset("mine", tmp_path, image_size=6) == (1, 6, 6)
    again = load_dataset("mine", tmp_path, image_size=6)
    assert again.hash == first.hash
    assert torch.equal(again.train.images, first.train.images)


def test_large_folders_are_mapped_and_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    small = load_dataset("mine", tmp_path)
    monkeypatch.setattr("stn_core.datasets.sources.found.KEPT_FROM", 1)
    mapped = load_dataset("mine", tmp_path)
    assert mapped.hash == small.hash
    assert torch.equal(mapped.train.images, small.train.images)
    assert len(list((tmp_path / "cache" / "decoded").glob("mine-*"))) == 2


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
@pytest.mark.parametrize("name", ["digits", "digits_rts", "mine", "torchvision:USPS"])
def test_a_size_for_images_that_keep_theirs_is_one_line(
    tmp_path: Path, name: str, load: Callable
) -> None:
    pixels, numbers = images(24, 0, 12, 14), np.arange(24) % 2
    np.savez(tmp_path / "mine.npz", x_train=pixels, y_train=numbers, x_test=pixels, y_test=numbers)
    message = complaint(tmp_path, name, partial(load, image_size=6))
    assert "keep their size: --image-size and image_size= are for folders" in message


@pytest.mark.parametrize("size", [0, (5,), (5, -1), (1, 2, 3), 10_000, 2.5, "64", True])
def test_an_invalid_size_is_a_one_line_error(tmp_path: Path, size: object) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    message = complaint(tmp_path, "mine", partial(load_dataset, image_size=size))
    assert message.startswith("image_size is one whole number of pixels or (height, width)")


def test_a_size_may_be_a_number_of_numpys(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    sizes = [6, np.int64(6), (np.int32(6), np.uint8(6))]
    assert len({load_dataset("mine", tmp_path, image_size=size).hash for size in sizes}) == 1


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


@pytest.mark.parametrize(
    "beside",
    [
        "a/._0.png",
        "__MACOSX/a/._0.png",
        "a/.ipynb_checkpoints/0.png",
        ".DS_Store",
        "a/Thumbs.db",
        "a/notes.pdf",
        "a/film.mpeg",
        "unlabelled.png",
    ],
)
def test_files_that_are_not_images_of_a_class_change_nothing(tmp_path: Path, beside: str) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    plain = load_dataset("mine", tmp_path)
    path = tmp_path / "mine" / beside
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no image")
    dataset = load_dataset("mine", tmp_path)
    assert dataset.hash == plain.hash
    is_said = not any(part.startswith((".", "_", "Thumbs")) for part in Path(beside).parts)
    assert dataset.notes.endswith(f"; not read: {beside}") is is_said


def test_many_unread_files_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine" / "train", {"a": 12, "b": 12})
    write_folder(tmp_path / "mine" / "pool", {"a": 2}, seed=3)
    for number in range(6):
        (tmp_path / "mine" / f"{number}.csv").touch()
    notes = load_dataset("mine", tmp_path).notes
    assert notes.endswith("; not read: 0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 2 more")


@pytest.mark.parametrize(
    ("train", "test"), [("Training", "Testing"), ("TRAIN", "TEST"), ("train", "Test")]
)
def test_the_folders_of_splits_are_found_in_any_case(tmp_path: Path, train: str, test: str) -> None:
    write_folder(tmp_path / "mine" / train, {"a": 12, "b": 12})
    write_folder(tmp_path / "mine" / test, {"a": 4, "b": 4}, seed=3)
    dataset = load_dataset("mine", tmp_path)
    assert dataset.class_names == ("a", "b")
    assert len(dataset.test) == 8


@pytest.mark.parametrize("suffix", [".JPG", ".JPEG", ".PNG", ".tif", ".Bmp"])
def test_a_suffix_may_be_in_capitals_and_a_class_a_link(tmp_path: Path, suffix: str) -> None:
    write_folder(tmp_path / "mine", {"a": 12})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number, pixels in enumerate(images(12, 5, 12, 14)):
        Image.fromarray(pixels).save(elsewhere / f"{number}{suffix}")
    (tmp_path / "mine" / "b").symlink_to(elsewhere)
    dataset = load_dataset("mine", tmp_path)
    assert dataset.class_names == ("a", "b")
    assert sum(map(len, (dataset.train, dataset.val, dataset.test))) == 24


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


def _two_spellings_of_an_accent(folder: Path) -> None:
    write_folder(folder, dict.fromkeys(("caf\u00e9", "cafe\u0301"), 2), seed=7)


def _only_loose_images(folder: Path) -> None:
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(folder / f"{number}.png")
    (folder / "a").rmdir()
    (folder / "b").rmdir()


def _no_train(folder: Path) -> None:
    (folder / "a").rename(folder / "val")
    (folder / "b").rename(folder / "test")


def _test_without_labels(folder: Path) -> None:
    write_folder(folder / "train", {"a": 12, "b": 12})
    (folder / "a").rename(folder / "test")


def _train_twice(folder: Path) -> None:
    (folder / "a").rename(folder / "train")
    (folder / "b").rename(folder / "Training")


def _validation_twice(folder: Path) -> None:
    write_folder(folder / "train", {"a": 12, "b": 12})
    (folder / "a").rename(folder / "val")
    (folder / "b").rename(folder / "validation")


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        (_break, "2 of 24 images are broken, repair or remove them: "),
        (_leave_one_class, "holds one class only, a; at least two are needed"),
        (_empty_class, "c holds no image; fill it or remove it"),
        (_two_spellings, "'A' and 'a' look like one class; give it one folder"),
        (_two_spellings_of_an_accent, "look like one class; give it one folder"),
        (_only_loose_images, "holds no images in folders of classes, as CLASS/image.png"),
        (_no_train, "holds val and test, but no train"),
        (_train_twice, "holds Training and train, which both mean train; keep one of them"),
        (_validation_twice, "holds val and validation, which both mean val; keep one of them"),
        (_test_without_labels, "its images have no labels; move it elsewhere, and a tenth"),
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


def test_too_few_images_to_divide_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"a": 5, "b": 5})
    said = "holds 10 images, 9 without those for test; at least 10 are needed"
    assert said in complaint(tmp_path, "mine")


def test_a_class_that_only_the_test_folder_has_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine" / "train", {"a": 12, "b": 12})
    write_folder(tmp_path / "mine" / "test", {"a": 2, "c": 2}, seed=3)
    assert "has images of class c" in complaint(tmp_path)


def test_sixteen_bit_files_with_twelve_bits_are_reported(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("transparent", "said"),
    [
        (0, None),
        (1, "1 image has transparent pixels, shown on black"),
        (3, "3 images have transparent pixels, shown on black"),
    ],
)
def test_the_note_counts_the_images_with_transparent_pixels(
    tmp_path: Path, transparent: int, said: str | None
) -> None:
    for seed, label in enumerate("ab"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for number, pixels in enumerate(images(12, seed, 12, 14)):
            opacity = np.full_like(pixels, 255)  # which alone is no transparency
            if label == "b" and number < transparent:
                opacity[2, number] = 254
            picture = Image.fromarray(np.stack([pixels, opacity], axis=-1))
            picture.save(tmp_path / "mine" / label / f"{number}.png")
    for _ in range(2):  # the second time from the kept copy
        notes = load_dataset("mine", tmp_path).notes
        assert said in notes if said else "transparent" not in notes
