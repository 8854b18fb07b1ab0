"""MedMNIST's sets (Yang et al. 2023) by name, from where the medmnist package keeps them."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.datasets.data_root import is_file
from stn_core.errors import UsageError

SIZES = (64, 128, 224)
"""Sides of the larger versions, whose names end in them; 28 is the plain one's."""


@dataclass(frozen=True)
class MedMNISTFile:
    """The file of a set.

    Args:
        path: of the file.
        class_names: as the package knows them.
    """

    path: Path
    class_names: tuple[str, ...]


def find_medmnist_file(name: str, download: bool) -> MedMNISTFile | None:
    """The .npz file of a set, if the medmnist package is installed and knows the name.

    Args:
        name: "breastmnist", say, or "breastmnist_64".
        download: whether it may be fetched into the package's own folder.

    Raises:
        UsageError: it is not there, and may not or could not be fetched.
    """
    plain_name, _, side = name.partition("_")
    if not plain_name.endswith("mnist") or side not in ("", *map(str, SIZES)):
        return None
    if importlib.util.find_spec("medmnist") is None:
        return None
    medmnist = importlib.import_module("medmnist")  # takes seconds, so only where it is needed

    known: dict[str, Any] = medmnist.INFO
    if plain_name not in known:
        return None
    folder = Path.home() / ".medmnist"
    path = folder / f"{name}.npz"
    labels: dict[str, str] = known[plain_name]["label"]
    found = MedMNISTFile(path, tuple(labels[str(number)] for number in range(len(labels))))
    if is_file(path):
        return found
    if not download:
        raise UsageError(
            f"no {name}.npz in the data root or in {folder}; fetch it with --download, or put it "
            "there"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fetch = getattr(medmnist, known[plain_name]["python_class"])
        fetch(split="train", download=True, size=int(side or 28))
    except (RuntimeError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{name} could not be fetched into {folder} ({reason})") from error
    return found
