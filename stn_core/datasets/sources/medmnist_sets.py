"""MedMNIST's sets (Yang et al. 2023) by name, from where the medmnist package keeps them."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from stn_core.datasets.data_root import is_file
from stn_core.errors import UsageError


def find_medmnist_file(name: str, download: bool) -> Path | None:
    """The .npz file of a set, where the medmnist package is installed and knows the name.

    Args:
        name: "breastmnist", say.
        download: whether it may be fetched into the package's own folder.

    Raises:
        UsageError: it is not there, and may not or could not be fetched.
    """
    if not name.endswith("mnist") or importlib.util.find_spec("medmnist") is None:
        return None
    medmnist = importlib.import_module("medmnist")  # takes seconds, so only where it is needed

    known: dict[str, Any] = medmnist.INFO
    if name not in known:
        return None
    folder = Path.home() / ".medmnist"
    path = folder / f"{name}.npz"
    if is_file(path):
        return path
    if not download:
        raise UsageError(
            f"no {name}.npz in the data root or in {folder}; fetch it with --download, or put it "
            "there"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        getattr(medmnist, known[name]["python_class"])(split="train", download=True)
    except (RuntimeError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{name} could not be fetched into {folder} ({reason})") from error
    return path
