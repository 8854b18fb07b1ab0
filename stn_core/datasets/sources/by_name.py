"""What a name means in the data root: the first of the formats that finds its files there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stn_core.datasets.base import Dataset
from stn_core.datasets.data_root import entries, is_file, is_folder
from stn_core.datasets.sources.found import Shape
from stn_core.datasets.sources.idx_files import emnist_sets, find_idx_set
from stn_core.datasets.sources.mat_files import find_mat_set
from stn_core.datasets.sources.medmnist_sets import find_medmnist_file
from stn_core.datasets.sources.npz_files import load_npz, npz_shape
from stn_core.datasets.sources.torchvision_classes import find_torchvision_set
from stn_core.errors import UsageError

EMNIST = "emnist"
"""The folder that holds several sets, such as emnist_letters; its name in lower case."""


@dataclass(frozen=True)
class Source:
    """Files that are a dataset.

    Args:
        shape: (C, H, W) of the images, from headers alone; None if they do not say it. Raises a
            UsageError if there is no such dataset.
        load: makes the dataset of that name.
        resizes: whether the images can be resized.
    """

    shape: Callable[[], Shape | None]
    load: Callable[[str], Dataset]
    resizes: bool = False


def find_source(
    name: str, root: Path | None, download: bool, image_size: tuple[int, int] | None
) -> Source | None:
    """The files of a name, None if there are none.

    Args:
        name: a file's or a folder's, or that of a class of torchvision's ("torchvision:USPS").
        root: the data folder.
        download: whether missing files may be fetched.
        image_size: (height, width) that a folder's images are resized to.

    Raises:
        UsageError: a size is chosen for files that are not image files.
    """
    found = _found(name, root, download, image_size)
    if found and image_size and not found.resizes:
        raise refused_size(name)
    return found


def refused_size(name: str) -> UsageError:
    """The error for a size that is chosen for a dataset whose images keep theirs."""
    return UsageError(
        f"the images of {name} keep their size: --image-size and image_size= are for folders of"
        " image files"
    )


def _found(
    name: str, root: Path | None, download: bool, image_size: tuple[int, int] | None
) -> Source | None:
    of_torchvision = find_torchvision_set(name, root, download)
    if of_torchvision:
        return Source(of_torchvision.shape, of_torchvision.load)
    if not can_be_file(name):
        return None
    found = _in_root(name, root, image_size) if root else None
    if found:
        return found
    medical = find_medmnist_file(name, download)
    return _npz_source(medical.path, medical.class_names) if medical else None


def can_be_file(name: str) -> bool:
    """Whether a name is one and no path: it also names records and artifacts."""
    return name not in ("", ".", "..") and name == Path(name).name and name.isprintable()


def npz_file(name: str, root: Path | None) -> Path | None:
    """The .npz file of a name in the data folder, if there is one."""
    if root is None or not can_be_file(name):
        return None
    path = root / f"{name}.npz"
    return path if is_file(path) else None


def _in_root(name: str, root: Path, image_size: tuple[int, int] | None) -> Source | None:
    path = npz_file(name, root)
    if path:
        return _npz_source(path, hidden=root / name)
    # These import Pillow.
    from stn_core.datasets.sources.gtsrb import find_gtsrb
    from stn_core.datasets.sources.image_folders import find_image_folder

    for folder in _folders(name, root):
        for found in (find_idx_set(folder, name), find_mat_set(folder)):
            if found:
                return Source(found.shape, found.load)
        if folder.name.lower() == EMNIST:  # it holds several sets, and no folders of images
            if name.lower() == EMNIST:
                held = ", ".join(sorted(emnist_sets(folder))) or "none of its files"
                raise UsageError(f"{folder} holds {held}; name a set, such as emnist_letters")
            continue
        images = find_gtsrb(folder, image_size) or find_image_folder(folder, image_size)
        if images:
            return Source(images.shape, images.load, resizes=True)
    return None


def names_in(root: Path) -> set[str]:
    """Names in the data folder that may be those of datasets, for suggestions."""
    if not is_folder(root):
        return set()
    held = entries(root)
    names = {each.stem for each in held if each.suffix == ".npz"}
    for each in filter(is_folder, held):
        names |= emnist_sets(each) if each.name.lower() == EMNIST else {each.name}
    return names


def _folders(name: str, root: Path) -> list[Path]:
    """The folders that may hold a dataset: of its name, or of the family that it is one of."""
    if not is_folder(root):
        return []
    exact = root / name
    if is_folder(exact):
        return [exact]
    whole = _spelt_alike(name)
    wanted = [whole, EMNIST] if whole.startswith(f"{EMNIST}_") else [whole]
    there = [each for each in entries(root) if _spelt_alike(each.name) in wanted]
    found: dict[str, Path] = {}
    for each in sorted(filter(is_folder, there)):
        other = found.setdefault(_spelt_alike(each.name), each)
        if other != each:
            raise UsageError(
                f"{root}: the folders {other.name} and {each.name} may both be {name}; rename one"
            )
    return [found[each] for each in wanted if each in found]


def _spelt_alike(name: str) -> str:
    """What a name has in common with its other spellings."""
    return name.lower().replace("-", "_")


def _npz_source(
    path: Path, class_names: tuple[str, ...] | None = None, hidden: Path | None = None
) -> Source:
    """The source of an .npz file; its note names a folder of the same name, which is not read."""
    beside = (f"the folder {hidden}",) if hidden and is_folder(hidden) else ()
    return Source(lambda: npz_shape(path), lambda name: load_npz(name, path, class_names, beside))
