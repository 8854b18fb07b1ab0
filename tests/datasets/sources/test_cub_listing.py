"""The lists of CUB-200-2011: what they say is what is listed, and every defect is one line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from stn_core.datasets.sources.cub_listing import read_listing
from stn_core.errors import UsageError
from tests.datasets.cub_tree import (
    CLASSES,
    IMAGES_PER_CLASS,
    NUMBERS,
    TRAIN_PER_CLASS,
    edit_line,
    image_path,
    write_tree,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path)


def complaint(folder: Path, classes: Iterable[int | str] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        read_listing(folder, classes, with_boxes=True)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_listing_holds_what_the_lists_say(folder: Path) -> None:
    listing = read_listing(folder, with_boxes=True)
    assert listing.class_names == ("Red Kite", "Blue Jay", "Grey Heron")
    assert [image.path for image in listing.images] == [
        folder / "images" / image_path(number) for number in NUMBERS
    ]
    assert [image.label for image in listing.images] == [
        label for label in range(3) for _ in range(IMAGES_PER_CLASS)
    ]
    tests = IMAGES_PER_CLASS - TRAIN_PER_CLASS
    assert [image.in_train for image in listing.images] == 3 * (
        TRAIN_PER_CLASS * [True] + tests * [False]
    )
    assert {image.box for image in listing.images} == {(4.0, 2.0, 24.0, 14.0)}


def test_the_order_of_the_lines_does_not_matter(folder: Path) -> None:
    listing = read_listing(folder)
    for name in ("images", "image_class_labels", "classes"):
        path = folder / f"{name}.txt"
        path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n\n")
    assert read_listing(folder) == listing


def test_boxes_are_read_only_if_they_are_used(folder: Path) -> None:
    (folder / "bounding_boxes.txt").unlink()
    assert {image.box for image in read_listing(folder).images} == {None}
    assert "no bounding_boxes.txt" in complaint(folder)


@pytest.mark.parametrize(
    "classes",
    [(2, 4), (4, 2, 4), ("Blue Jay", "Grey_Heron"), ("004.Grey_Heron", 2), {2, 4}],
)
def test_classes_are_chosen_by_number_or_name(folder: Path, classes: Iterable[int | str]) -> None:
    for path in (folder / "images" / CLASSES[1]).iterdir():
        path.unlink()  # what is not chosen need not be there
    listing = read_listing(folder, classes)
    assert listing.class_names == ("Blue Jay", "Grey Heron")
    assert {image.path.parent.name for image in listing.images} == {CLASSES[2], CLASSES[4]}
    assert {image.label for image in listing.images} == {0, 1}


def test_classes_without_images_are_no_classes(folder: Path) -> None:
    path = folder / "classes.txt"
    path.write_text(path.read_text() + "5 005.Dodo\n")
    assert len(read_listing(folder).class_names) == 3
    assert "unknown bird class 5" in complaint(folder, [1, 5])


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ([1, "Blue Jey"], "unknown bird class 'Blue Jey'; did you mean Blue Jay?"),
        ([1, 3], "unknown bird class 3; there are images of 3 classes, 1 to 4"),
        ([1, "001.Red_Kite"], "1 bird classes are chosen"),
        ([], "0 bird classes are chosen"),
        ("Blue Jay", "classes is 'Blue Jay'; it must be a list, such as ['Blue Jay', 2]"),
    ],
)
def test_a_wrong_choice_is_named(folder: Path, classes: list[int | str], said: str) -> None:
    assert said in complaint(folder, classes)


DEFECTS = {
    "an image twice": ("images", 9, f"9 {image_path(3)}", f"{image_path(3)} is listed twice"),
    "an image as ./": ("images", 9, f"9 ./{image_path(3)}", f"{image_path(3)} is listed twice"),
    "an image as //": (
        "images",
        9,
        f"9 {image_path(3).replace('/', '//')}",
        f"{image_path(3)} is listed twice, as 3 and as 9",
    ),
    "an absolute path": ("images", 9, "9 /etc/a.jpg", "image 9, /etc/a.jpg, lies outside"),
    "a path upwards": ("images", 9, "9 a/../../b.jpg", "image 9, a/../../b.jpg, lies outside"),
    "a path too long": ("images", 9, f"9 {300 * 'a'}.jpg", "cannot be read: File name too long"),
    "no path of a file": ("images", 9, "9 a\0.jpg", "is missing"),
    "a number too long": ("images", 9, 5000 * "9" + " a", "is not a number and 1 more"),
    "a label too long": ("image_class_labels", 9, "9 " + 5000 * "9", "is out of range"),
    "two names alike": ("classes", 4, "4 004.Blue_Jay", "classes 2 and 4 are both called Blue Jay"),
    "a number twice": ("images", 9, f"3 {image_path(9)}", "number 3 is listed twice"),
    "no path": ("images", 9, "9", "'9' is not a number and 1 more"),
    "no number": ("images", 9, "nine a.jpg", "line 9: 'nine a.jpg' is not a number"),
    "an image less": ("images", 9, "", "images.txt lists no image 9"),
    "label above": ("image_class_labels", 9, "9 5", f"label 5 of image 9, {image_path(9)}, is out"),
    "label between": ("image_class_labels", 9, "9 3", "has 3 classes, 1 to 4"),
    "label below": ("image_class_labels", 9, "9 -1", "label -1 of image 9"),
    "no such label": ("image_class_labels", 9, "9 x", "label x of image 9"),
    "no label": ("image_class_labels", 9, "", f"no line for image 9, {image_path(9)}"),
    "label of nothing": ("image_class_labels", 9, "9 2\n99 2", "images.txt lists no image 99"),
    "neither split": ("train_test_split", 9, "9 2", f"image 9, {image_path(9)}, has 2"),
    "no split": ("train_test_split", 9, "", f"no line for image 9, {image_path(9)}"),
    "no box": ("bounding_boxes", 9, "", f"no line for image 9, {image_path(9)}"),
    "half a box": ("bounding_boxes", 9, "9 1 2 3", "'9 1 2 3' is not a number and 4 more"),
    "too much box": ("bounding_boxes", 9, "9 1 2 3 4 5", f"of image 9, {image_path(9)}, is no"),
    "flat box": ("bounding_boxes", 9, "9 1 2 3 0", f"1 2 3 0 of image 9, {image_path(9)}"),
    "endless box": ("bounding_boxes", 9, "9 1 2 inf 4", f"1 2 inf 4 of image 9, {image_path(9)}"),
    "box in words": ("bounding_boxes", 9, "9 a b c d", f"a b c d of image 9, {image_path(9)}"),
}


@pytest.mark.parametrize(("table", "number", "line", "said"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_named_with_its_file(
    folder: Path, table: str, number: int, line: str, said: str
) -> None:
    edit_line(folder, table, number, line)
    message = complaint(folder)
    assert said in message
    assert str(folder) in message


@pytest.mark.parametrize("flag", [0, 1])
def test_every_class_needs_both_splits(folder: Path, flag: int) -> None:
    for number in NUMBERS[:IMAGES_PER_CLASS]:
        edit_line(folder, "train_test_split", number, f"{number} {flag}")
    lacking = "test" if flag else "train"
    assert f"train_test_split.txt: Red Kite has no {lacking} image" in complaint(folder)


def test_missing_images_are_named_and_counted(folder: Path) -> None:
    first = folder / "images" / image_path(7)
    first.unlink()
    assert f"image {first} is missing;" in complaint(folder)
    for number in (9, 20):
        (folder / "images" / image_path(number)).unlink()
    assert f"image {first} is missing, and 2 more;" in complaint(folder)


@pytest.mark.parametrize("table", ["images", "image_class_labels", "train_test_split", "classes"])
def test_a_missing_or_binary_list_is_named(folder: Path, table: str) -> None:
    path = folder / f"{table}.txt"
    path.write_bytes(b"\xff\xd8")
    assert f"{path} cannot be read" in complaint(folder)
    path.unlink()
    assert f"no {table}.txt in {folder}" in complaint(folder)


@pytest.mark.parametrize(
    "table",
    ["images", "image_class_labels", "train_test_split", "bounding_boxes", "classes"],
)
def test_an_empty_list_is_named_itself(folder: Path, table: str) -> None:
    path = folder / f"{table}.txt"
    path.write_text("\n")
    assert f"{path} is empty" in complaint(folder)
