"""GTSRB's trees of image files: classes as folders in train, a table of classes for test.

As its authors pack them, as torchvision keeps them, and as Kaggle does.
"""

from __future__ import annotations

import csv
from pathlib import Path

from stn_core.datasets.data_root import cannot_be_read, is_file, is_folder
from stn_core.datasets.sources.image_folders import Files, ImageFolder, files_by_class
from stn_core.errors import UsageError

TRAIN = ("GTSRB/Training", "GTSRB/Final_Training/Images", "Training", "Final_Training/Images")
TEST = ("GTSRB/Final_Test/Images", "Final_Test/Images", "Test")
TABLES = ("GT-final_test.csv", "Test.csv")


def find_gtsrb(folder: Path, image_size: tuple[int, int] | None) -> ImageFolder | None:
    """The image tree of a folder, None if it is not one of GTSRB's arrangements.

    Args:
        folder: the dataset's.
        image_size: (height, width) that images are resized to.
    """
    train = next((folder / each for each in (*TRAIN, "Train") if is_folder(folder / each)), None)
    test = next((folder / each for each in TEST if is_folder(folder / each)), None)
    if train is None or test is None:
        return None
    places = (folder, folder / "GTSRB", test)
    tables = [place / name for place in places for name in TABLES if is_file(place / name)]
    if not tables:
        return None
    table = tables[0]
    return ImageFolder(folder, image_size, lambda: _listed(train, test, table), tables=(table,))


def _listed(train: Path, test: Path, table: Path) -> dict[str, Files]:
    """The files of both splits; a class is called by its number, in five digits."""
    by_folder = files_by_class(train)
    names = {label for _, label in by_folder if not label.isdecimal()}
    if names:
        raise UsageError(f"{train / min(names)} is not called by the number of its class")
    return {
        "train": [(path, _class_name(label)) for path, label in by_folder],
        "test": _in_table(test, table),
    }


def _in_table(folder: Path, table: Path) -> Files:
    """The test images with their classes; Kaggle's table names them by a path."""
    try:
        text = table.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(), delimiter=";" if ";" in text else ","))
        listed = [
            (folder / Path(row.get("Filename") or row["Path"]).name, _class_name(row["ClassId"]))
            for row in rows
        ]
    except OSError as error:
        raise cannot_be_read(table, error) from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UsageError(
            f"{table} is not a table of GTSRB's test images; it must be UTF-8 text"
            " with the columns Filename and ClassId"
        ) from error
    missing = [path.name for path, _ in listed if not is_file(path)]
    if missing or not listed:
        named = f"such as {missing[0]}" if missing else "it lists none"
        raise UsageError(f"{table}: {len(missing)} of its images are not in {folder}, {named}")
    return listed


def _class_name(number: str) -> str:
    return f"{int(number):05d}"
