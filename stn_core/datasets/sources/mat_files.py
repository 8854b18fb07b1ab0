"""MATLAB files: SVHN's cropped digits and affNIST."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stn_core.datasets.base import Dataset
from stn_core.datasets.data_root import cannot_be_read, is_file, is_folder, unread
from stn_core.datasets.sources.found import Found, Labelled, Shape, load_found
from stn_core.datasets.sources.pixels import image_shape
from stn_core.errors import UsageError, needs_extra

SVHN = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
AFFNIST = (
    {"train": "training", "val": "validation", "test": "test"},
    {"train": "training_and_validation", "test": "test"},
)
"""What the splits are called: NAME.mat, or the numbered files of NAME_batches.

Beside ``training_and_validation``, ``validation`` would validate with images that are trained on.
"""


@dataclass(frozen=True)
class _Array:
    """Images that are in memory."""

    name: str
    parts: Sequence[NDArray[np.generic]]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(len(part) for part in self.parts), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.parts[0].dtype

    def chunks(self) -> Iterator[NDArray[np.generic]]:
        yield from self.parts


@dataclass(frozen=True)
class MatSet:
    """A dataset of .mat files.

    Args:
        folder: where they lie.
        files: by split, in order.
    """

    folder: Path
    files: dict[str, tuple[Path, ...]]

    def shape(self) -> Shape:
        """(C, H, W), from what one file says that it holds.

        Raises:
            UsageError: it is damaged or none of these.
        """
        path = self.files["train"][0]
        listed = {name: shape for name, shape, _ in _asked(path, "whosmat")}
        if "X" in listed and len(listed["X"]) == 4:
            height, width, channels, _ = listed["X"]
            return channels, height, width
        images, _ = _read(path)
        return image_shape(path, _Array(path.name, [images]))

    def load(self, name: str) -> Dataset:
        """The dataset; raises as `shape`, and if labels do not fit."""
        splits = {}
        for split, paths in self.files.items():
            read = [_read(path) for path in paths]
            labels = np.concatenate([labels for _, labels in read])
            first = paths[0].name if len(paths) == 1 else paths[0].parent.name
            images = _Array(first, [images for images, _ in read])
            splits[split] = Labelled(images, labels, f"the label array of {first}")
        files = tuple(path for paths in self.files.values() for path in paths)
        unused = unread(self.folder, files)
        return load_found(name, Found(self.folder, splits, files=files, unused=unused))


def find_mat_set(folder: Path) -> MatSet | None:
    """The .mat files of SVHN or affNIST in a folder, if they are there."""
    svhn: dict[str, tuple[Path, ...]] = {split: (folder / name,) for split, name in SVHN.items()}
    if all(is_file(paths[0]) for paths in svhn.values()):
        return MatSet(folder, svhn)
    for place in (folder, folder / "transformed"):
        for names in AFFNIST:
            files = {split: _affnist_files(place, name) for split, name in names.items()}
            if files["train"] and files["test"]:
                return MatSet(place, {split: paths for split, paths in files.items() if paths})
    return None


def _affnist_files(folder: Path, name: str) -> tuple[Path, ...]:
    single, batches = folder / f"{name}.mat", folder / f"{name}_batches"
    if is_file(single):
        return (single,)
    if not is_folder(batches):
        return ()
    numbered = [path for path in batches.glob("*.mat") if path.stem.isdecimal()]
    return tuple(sorted(numbered, key=lambda path: int(path.stem)))


def _asked(path: Path, function: str, **options: Any) -> Any:
    with needs_extra("data"):
        import scipy.io  # takes a while to import, so only where it is needed

    try:
        return getattr(scipy.io, function)(path, **options)
    except OSError as error:
        if error.errno is None:  # raised by scipy for a file that ends too early
            raise UsageError(f"{path} is damaged ({error}); fetch it again") from error
        raise cannot_be_read(path, error) from error
    except NotImplementedError as error:  # which scipy raises for MATLAB 7.3's HDF5 files alone
        raise UsageError(f"{path} is of MATLAB 7.3; save it with -v7") from error
    except Exception as error:  # scipy promises no narrower class for a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UsageError(
            f"{path} is damaged or not a .mat file ({reason}); fetch it again"
        ) from error


def _read(path: Path) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """The images, first axis N, and labels of a file, ten of SVHN's being zero."""
    content = _asked(path, "loadmat", squeeze_me=False, struct_as_record=True)
    if "X" in content and "y" in content:
        labels = content["y"].reshape(-1).astype(np.int64)
        labels[labels == 10] = 0  # SVHN's zeros
        return np.moveaxis(content["X"], -1, 0), labels
    try:
        data = content["affNISTdata"][0, 0]
        images, labels = data["image"], data["label_int"].reshape(-1).astype(np.int64)
    except (KeyError, IndexError, ValueError) as error:
        held = ", ".join(name for name in content if not name.startswith("__"))
        raise UsageError(
            f"{path} holds {held or 'nothing'}; SVHN's files hold X and y, affNIST's affNISTdata"
        ) from error
    return np.ascontiguousarray(images.T), labels
