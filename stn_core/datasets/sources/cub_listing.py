"""The text files of CUB-200-2011: which images there are, of which class, split and place.

Every defect of the files is found here, before any image is decoded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stn_core.datasets.data_root import cannot_be_read, is_file
from stn_core.errors import UsageError, unknown_name

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels of the image as it is stored."""

NUMBER = re.compile("[0-9]{1,9}")
MESSAGE_LENGTH = 60  # how much of a line is shown

SPLITS = {"1": "train", "0": "test"}
"""What train_test_split.txt calls the two."""


@dataclass(frozen=True)
class BirdImage:
    """One image as the lists describe it.

    Args:
        path: its file.
        label: index into the listing's class names.
        in_train: whether the official split trains with it.
        box: where the bird is; it may reach past the image's edges. None if boxes are not used.
    """

    path: Path
    label: int
    in_train: bool
    box: Box | None


@dataclass(frozen=True)
class Listing:
    """The images of the chosen classes, in the order of their numbers.

    Args:
        images: at least one of each class in train and in test.
        class_names: in the order of the official class numbers.
    """

    images: tuple[BirdImage, ...]
    class_names: tuple[str, ...]


def read_listing(
    folder: Path, classes: Iterable[int | str] | None = None, with_boxes: bool = False
) -> Listing:
    """Read the lists and check them, and that every file they name is there.

    Args:
        folder: holds images.txt, image_class_labels.txt, train_test_split.txt, classes.txt,
            images/ and, with boxes, bounding_boxes.txt.
        classes: numbers or names from classes.txt, at least two; None: all that have images.
        with_boxes: whether to read the boxes.

    Raises:
        UsageError: a list is missing, empty or damaged, an image is listed twice, missing or
            outside of images/, a label is out of range, two classes are called the same, a class
            is unknown or has no image to train or to test with; names the file.
    """
    names = {number: name for number, (name,) in _read_table(folder / "classes.txt", 1).items()}
    paths = _read_paths(folder / "images.txt")
    class_numbers = _read_class_numbers(folder / "image_class_labels.txt", paths, names)
    in_train = _read_split(folder / "train_test_split.txt", paths)
    boxes = _read_boxes(folder / "bounding_boxes.txt", paths) if with_boxes else {}
    numbers = _numbers_by_name(folder / "classes.txt", names, set(class_numbers.values()))
    chosen = _chosen(classes, numbers)
    labels = {number: label for label, number in enumerate(chosen)}
    images = tuple(
        BirdImage(
            folder / "images" / paths[image],
            labels[class_numbers[image]],
            in_train[image],
            boxes.get(image),
        )
        for image in sorted(paths)
        if class_numbers[image] in labels
    )
    listing = Listing(images, tuple(_readable(names[number]) for number in chosen))
    _check_classes(listing, folder)
    _check_files(listing)
    return listing


def _read_table(path: Path, fields: int) -> dict[int, list[str]]:
    """Lines of a number and that many fields, by their number."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(
            f"no {path.name} in {path.parent}; the folder must hold CUB-200-2011 in its official "
            "layout"
        ) from None
    except OSError as error:
        raise cannot_be_read(path, error) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    rows: dict[int, list[str]] = {}
    for line_number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        number, *rest = line.strip().split(maxsplit=fields)
        if not NUMBER.fullmatch(number) or len(rest) != fields:
            raise UsageError(
                f"{path}, line {line_number}: {_start_of(line)!r} is not a number and {fields} more"
            )
        if int(number) in rows:
            raise UsageError(f"{path}, line {line_number}: number {number} is listed twice")
        rows[int(number)] = rest
    if not rows:
        raise UsageError(f"{path} is empty; unpack the dataset again")
    return rows


def _start_of(text: str) -> str:
    """As much of a text as fits in a message."""
    return text if len(text) <= MESSAGE_LENGTH else f"{text[:MESSAGE_LENGTH]}..."


def _read_paths(path: Path) -> dict[int, str]:
    """Each image's file below images/, by its number."""
    paths = {number: file for number, (file,) in _read_table(path, 1).items()}
    first: dict[PurePosixPath, int] = {}
    for number, file in paths.items():
        below = PurePosixPath(file)  # of one spelling: "a//b" and "./a/b" are a/b
        if below.is_absolute() or ".." in below.parts:
            raise UsageError(f"{path}: image {number}, {file}, lies outside of images/")
        if below in first:
            raise UsageError(f"{path}: {below} is listed twice, as {first[below]} and as {number}")
        first[below] = number
    return paths


def _read_of_images(path: Path, fields: int, paths: dict[int, str]) -> dict[int, list[str]]:
    """A table that must have a line for every image and for no other."""
    rows = _read_table(path, fields)
    for number, file in paths.items():
        if number not in rows:
            raise UsageError(f"{path}: there is no line for image {number}, {file}")
    for number in rows:
        if number not in paths:
            raise UsageError(f"{path}: images.txt lists no image {number}")
    return rows


def _read_class_numbers(path: Path, paths: dict[int, str], names: dict[int, str]) -> dict[int, int]:
    rows = _read_of_images(path, 1, paths)
    for image, (number,) in rows.items():
        if not NUMBER.fullmatch(number) or int(number) not in names:
            raise UsageError(
                f"{path}: label {_start_of(number)} of image {image}, {paths[image]}, is out of "
                f"range; classes.txt has {len(names)} classes, {min(names)} to {max(names)}"
            )
    return {image: int(number) for image, (number,) in rows.items()}


def _read_split(path: Path, paths: dict[int, str]) -> dict[int, bool]:
    rows = _read_of_images(path, 1, paths)
    for image, (flag,) in rows.items():
        if flag not in SPLITS:
            raise UsageError(
                f"{path}: image {image}, {paths[image]}, has {flag}; 1 is train, 0 is test"
            )
    return {image: SPLITS[flag] == "train" for image, (flag,) in rows.items()}


def _read_boxes(path: Path, paths: dict[int, str]) -> dict[int, Box]:
    """Boxes from left edge, top edge, width and height."""
    boxes = {}
    for image, row in _read_of_images(path, 4, paths).items():
        try:
            left, top, width, height = (float(number) for number in row)
        except ValueError:
            left = top = width = height = math.nan
        if not (math.isfinite(left + top + width + height) and width > 0 and height > 0):
            raise UsageError(
                f"{path}: {' '.join(row)} of image {image}, {paths[image]}, is no left edge, top "
                "edge, width and height"
            )
        boxes[image] = (left, top, left + width, top + height)
    return boxes


def _numbers_by_name(path: Path, names: dict[int, str], numbers: set[int]) -> dict[str, int]:
    """The numbers of the classes that have images, by their names in words."""
    by_name: dict[str, int] = {}
    for number in sorted(numbers):
        first = by_name.setdefault(_readable(names[number]), number)
        if first != number:
            raise UsageError(
                f"{path}: classes {first} and {number} are both called {_readable(names[number])}"
            )
    return by_name


def _chosen(classes: Iterable[int | str] | None, by_name: dict[str, int]) -> list[int]:
    """The numbers of the wanted classes, sorted, of those that have images."""
    if isinstance(classes, str):
        raise UsageError(f"classes is {classes!r}; it must be a list, such as [{classes!r}, 2]")
    wanted_numbers = (
        by_name.values() if classes is None else (_number(each, by_name) for each in classes)
    )
    chosen = set(wanted_numbers)
    if len(chosen) < 2:
        raise UsageError(f"{len(chosen)} bird classes are chosen; at least two are needed")
    return sorted(chosen)


def _number(wanted: int | str, by_name: dict[str, int]) -> int:
    if isinstance(wanted, str):
        if _readable(wanted) not in by_name:
            raise unknown_name("bird class", wanted, by_name)
        return by_name[_readable(wanted)]
    if wanted not in by_name.values():
        raise UsageError(
            f"unknown bird class {wanted}; there are images of {len(by_name)} classes, "
            f"{min(by_name.values())} to {max(by_name.values())}"
        )
    return wanted


def _readable(name: str) -> str:
    """The name in words: "Black footed Albatross" for "001.Black_footed_Albatross"."""
    number, dot, rest = name.partition(".")
    return (rest if dot and number.isdecimal() else name).replace("_", " ")


def _check_classes(listing: Listing, folder: Path) -> None:
    for in_train, split in ((True, "train"), (False, "test")):
        present = {image.label for image in listing.images if image.in_train == in_train}
        for label, name in enumerate(listing.class_names):
            if label not in present:
                raise UsageError(f"{folder / 'train_test_split.txt'}: {name} has no {split} image")


def _check_files(listing: Listing) -> None:
    missing = [image.path for image in listing.images if not is_file(image.path)]
    if missing:
        more = f", and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise UsageError(
            f"image {missing[0]} is missing{more}; unpack the dataset again, or choose classes "
            "whose images are there"
        )
