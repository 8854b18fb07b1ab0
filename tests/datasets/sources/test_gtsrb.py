"""GTSRB's trees: as torchvision reads them, and in the other two shapes that people have."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stn_core.datasets import check_dataset, load_dataset
from tests.datasets.noise import complaint, images, write_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))


def write_test(folder: Path, table: Path, header: str, row: str) -> list[bytes]:
    """Six test images, of classes 0, 1, 0 and so on, and their table."""
    folder.mkdir(parents=True)
    rows, pixels = [header], images(6, 5, 12, 14)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:05d}.png")
        rows.append(row.format(number=number, label=number % 2))
    table.write_text("\n".join(rows))
    return [image.tobytes() for image in pixels]


GERMAN = ("Filename;Width;ClassId", "{number:05d}.png;14;{label}")
KAGGLES = ("Width,ClassId,Path", "14,{label},Test/{number:05d}.png")


@pytest.mark.parametrize(
    ("train", "test", "table", "lines"),
    [
        ("GTSRB/Training", "GTSRB/Final_Test/Images", "GT-final_test.csv", GERMAN),
        ("GTSRB/Final_Training/Images", "GTSRB/Final_Test/Images", "GT-final_test.csv", GERMAN),
        ("Train", "Test", "Test/GT-final_test.csv", GERMAN),
        ("Train", "Test", "Test.csv", KAGGLES),
    ],
)
def test_its_test_set_has_the_classes_of_the_table(
    tmp_path: Path, train: str, test: str, table: str, lines: tuple[str, str]
) -> None:
    folder = tmp_path / "gtsrb"
    names = ("0", "1") if lines is KAGGLES else ("00000", "00001")
    write_folder(folder / train, dict.fromkeys(names, 12))
    made = write_test(folder / test, folder / table, *lines)
    assert check_dataset("gtsrb", tmp_path) == (1, 12, 14)
    dataset = load_dataset("gtsrb", tmp_path)
    assert dataset.class_names == ("00000", "00001")
    assert [image.tobytes() for image in dataset.test.images.numpy()] == made
    assert dataset.test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert len(dataset.train) + len(dataset.val) == 24


def test_a_corrected_table_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stn_core.datasets.sources.found.KEPT_FROM", 1)
    folder = tmp_path / "gtsrb"
    write_folder(folder / "Train", {"0": 12, "1": 12})
    table = folder / "Test.csv"
    write_test(folder / "Test", table, *KAGGLES)
    dataset = load_dataset("gtsrb", tmp_path)
    assert dataset.test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert "not read" not in dataset.notes
    table.write_text(table.read_text().replace("14,0,", "14,1,"))
    os.utime(table, ns=(1, 1))  # a clock may be too coarse to tell the two apart
    assert load_dataset("gtsrb", tmp_path).test.labels.tolist() == 6 * [1]


def test_torchvision_reads_the_same_of_the_same_tree(tmp_path: Path) -> None:
    import torchvision.datasets

    folder = tmp_path / "gtsrb"
    for label in range(2):  # torchvision looks for .ppm alone
        place = folder / "GTSRB" / "Training" / f"{label:05d}"
        place.mkdir(parents=True)
        for number, image in enumerate(images(12, label, 12, 14, 3)):
            Image.fromarray(image).save(place / f"{number:05d}.ppm")
    place = folder / "GTSRB" / "Final_Test" / "Images"
    place.mkdir(parents=True)
    for number, image in enumerate(images(6, 5, 12, 14, 3)):
        Image.fromarray(image).save(place / f"{number:05d}.ppm")
    rows = [f"{number:05d}.ppm;{number % 2}" for number in range(6)]
    (folder / "GT-final_test.csv").write_text("\n".join(["Filename;ClassId", *rows]))
    ours = load_dataset("gtsrb", tmp_path)
    theirs = torchvision.datasets.GTSRB(tmp_path, split="test")
    for image, label, (picture, number) in zip(
        ours.test.images, ours.test.labels.tolist(), theirs, strict=True
    ):
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(picture))
        assert label == number
    learnt = torch.cat([ours.train.images, ours.val.images]).permute(0, 2, 3, 1).numpy()
    pictures = torchvision.datasets.GTSRB(tmp_path, split="train")
    assert {np.asarray(picture).tobytes() for picture, _ in pictures} == {
        image.tobytes() for image in learnt
    }


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"Name;Class\na.png;1", "is not a table of GTSRB's test images"),
        (b"Filename;ClassId\nnone.png;1", "1 of its images are not in "),
        ("Filename;ClassId\na.png;1".encode("utf-16"), "it must be UTF-8 text with the columns "),
        (b'Filename;ClassId\n"' + 200_000 * b"a", "is not a table of GTSRB's test images"),
    ],
    ids=["names", "missing", "encoding", "quotes"],
)
def test_a_wrong_table_is_one_line(tmp_path: Path, table: bytes, said: str) -> None:
    folder = tmp_path / "gtsrb"
    write_folder(folder / "Train", {"0": 12, "1": 12})
    (folder / "Test").mkdir()
    (folder / "Test.csv").write_bytes(table)
    assert said in complaint(tmp_path, "gtsrb")


def test_a_class_that_is_not_a_number_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "gtsrb"
    write_folder(folder / "Train", {"0": 12, "stop": 12})
    write_test(folder / "Test", folder / "Test.csv", *KAGGLES)
    assert "stop is not called by the number of its class" in complaint(tmp_path, "gtsrb")
