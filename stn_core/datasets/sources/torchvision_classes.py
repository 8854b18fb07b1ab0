"""Any of torchvision's dataset classes that keeps images and labels as arrays: torchvision:USPS.

The files are read by torchvision, and a class that would unpickle any of them is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stn_core.datasets.base import Dataset
from stn_core.datasets.data_root import PASS_IT
from stn_core.datasets.sources.found import Found, Labelled, Shape, load_found
from stn_core.errors import UsageError, needs_extra, unknown_name

PREFIX = "torchvision:"

_SPLIT_PARAMETERS = {"USPS": "train", "SVHN": "split", "STL10": "split", "SEMEION": ""}
"""The classes that read plain arrays, and what names their split; "" for one without splits.

MNIST and its kin are not among them: they prefer a pickled copy of old where there is one. The idx
files are read here by themselves (see `idx_files`).
"""

_SHAPES = {"USPS": (1, 16, 16), "SVHN": (3, 32, 32), "STL10": (3, 96, 96), "SEMEION": (1, 16, 16)}
"""(C, H, W) of their images."""

_READ_WITHOUT = {
    "CIFAR10": "cifar10",
    "EMNIST": "emnist_letters",
    "FashionMNIST": "fashion_mnist",
    "GTSRB": "gtsrb",
    "KMNIST": "kmnist",
    "MNIST": "mnist",
    "QMNIST": "qmnist",
}
"""Classes whose files are read without torchvision, and the name of such a dataset."""

_CHANNELS_FIRST = ("SVHN", "STL10")


@dataclass(frozen=True)
class TorchvisionSet:
    """A dataset that one of torchvision's classes reads.

    Args:
        class_name: torchvision's.
        root: the data folder.
        download: whether missing files may be fetched.
    """

    class_name: str
    root: Path
    download: bool = False

    def shape(self) -> Shape:
        """(C, H, W) of the images that the class reads; raises as `load` for an unknown class."""
        self._class()
        return _SHAPES[self.class_name]

    def load(self, name: str) -> Dataset:
        """The dataset.

        Raises:
            UsageError: torchvision has no such class, or cannot read or fetch its files.
        """
        self._class()
        parameter = _SPLIT_PARAMETERS[self.class_name]
        read = {}
        for split in ("train", "test") if parameter else ("train",):
            chosen = {"train": split == "train", "split": split}.get(parameter)
            read[split] = self._read({parameter: chosen} if parameter else {})
        splits = {
            split: Labelled(
                _Images(f"{self.class_name}'s {split} images", images),
                labels,
                f"{self.class_name}'s {split} split",
            )
            for split, (images, labels) in read.items()
        }
        return load_found(name, Found(self.root, splits, reading=self.class_name))

    def _class(self) -> Any:
        with needs_extra("data"):
            import torchvision.datasets  # seconds to import, so only where it is needed

        found = getattr(torchvision.datasets, self.class_name, None)
        if self.class_name not in _SPLIT_PARAMETERS:
            if inspect.isclass(found):
                ours = _READ_WITHOUT.get(self.class_name)
                known = f"known: {', '.join(sorted(_SPLIT_PARAMETERS))}"
                raise UsageError(
                    f"{PREFIX}{self.class_name} is not read: it unpickles its files, or its images "
                    f"are not arrays; {f'load it as {ours} instead' if ours else known}"
                )
            raise unknown_name("torchvision dataset", self.class_name, _SPLIT_PARAMETERS)
        return found

    def _read(self, options: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        try:
            made = self._class()(self.root, download=self.download, **options)
        except (RuntimeError, OSError) as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            raise UsageError(
                f"torchvision cannot read {self.class_name} in {self.root} ({reason}); {PASS_IT}, "
                "or fetch it with --download"
            ) from error
        labels = made.targets if hasattr(made, "targets") else made.labels
        images = np.asarray(made.data)
        if self.class_name in _CHANNELS_FIRST:
            images = np.moveaxis(images, 1, -1)
        return images, np.asarray(labels).astype(np.int64)


@dataclass(frozen=True)
class _Images:
    name: str
    images: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.images.dtype

    def chunks(self) -> Iterator[NDArray[Any]]:
        yield self.images


def find_torchvision_set(name: str, root: Path | None, download: bool) -> TorchvisionSet | None:
    """The dataset of a name like torchvision:USPS; None for other names.

    No class has an underscore in its name: an underscore begins the name of a distortion.
    """
    if not name.startswith(PREFIX) or "_" in name:
        return None
    if root is None:
        raise UsageError(f"no folder to look for {name} in; {PASS_IT}")
    return TorchvisionSet(name.removeprefix(PREFIX), root, download)
