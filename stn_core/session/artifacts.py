"""The arrays that pictures of a run need, beside its record: written once, read without torch."""

from __future__ import annotations

import dataclasses
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray

from stn_core.atomic_files import replaced_at_once
from stn_core.errors import UsageError, printable

ARTIFACTS_VERSION = 1

MOST_BYTES = 2**29
"""Of a run's arrays in memory; those of a photograph dataset take some 40 MiB."""

Part = TypeVar("Part", "Mistakes", "WarpPictures")


@dataclass(frozen=True, eq=False)
class Mistakes:
    """The test images that a model got wrong, and how certain it was.

    Args:
        worst_images: uint8 (M, C, H, W), the images of the record's `worst_mistakes`.
        first_mistakes: (M', 4) float64, the first mistakes: index, label, predicted, confidence.
        first_images: uint8 (M', C, H, W), their images.
        worst_warped, first_warped: uint8 (M, C, h, w), the same images warped by the
            transformer; empty without one.
        calibration: (bins, 3) float64: count, mean confidence, accuracy.
    """

    worst_images: NDArray[np.uint8]
    first_mistakes: NDArray[np.float64]
    first_images: NDArray[np.uint8]
    worst_warped: NDArray[np.uint8]
    first_warped: NDArray[np.uint8]
    calibration: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WarpPictures:
    """Validation images warped by a model's transformer.

    Args:
        batch: uint8 (B, C, H, W), one image per class, if there are enough.
        batch_labels: int64 (B,).
        warped: uint8 (B, C, h, w), the same images warped.
        grid: float32 (B, h, w, 2), where it looks, (x, y) in [-1, 1].
        det: float32 (B, h, w), the determinant of the warp's Jacobian: input area by output area.
        film: uint8 (F, B, C, h, w), `warped` during training.
        film_epochs: int64 (F,), after which epochs; 0 is before the first.
        theta: float32 (N, P), of N images.
        theta_labels: int64 (N,).
        outside: float32 (N,), the share of the warped image that was read from outside the image.
        least_det: float32 (N,), the smallest determinant of the warp's Jacobian.
        folded: float32 (N,), the share of the warped image where that is not positive.
    """

    batch: NDArray[np.uint8]
    batch_labels: NDArray[np.int64]
    warped: NDArray[np.uint8]
    grid: NDArray[np.float32]
    det: NDArray[np.float32]
    film: NDArray[np.uint8]
    film_epochs: NDArray[np.int64]
    theta: NDArray[np.float32]
    theta_labels: NDArray[np.int64]
    outside: NDArray[np.float32]
    least_det: NDArray[np.float32]
    folded: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Artifacts:
    """The arrays of one run, for pictures.

    Args:
        digest: of the run, as in its record.
        class_names: (K,) text.
        mistakes: None if the test set was not used.
        warps: None for a model without a transformer.
    """

    digest: str
    class_names: NDArray[np.str_]
    mistakes: Mistakes | None = None
    warps: WarpPictures | None = None


_KINDS = {
    "version": ("i", 0),
    "digest": ("U", 0),
    "class_names": ("U", 1),
    "worst_images": ("u", 4),
    "first_mistakes": ("f", 2),
    "first_images": ("u", 4),
    "worst_warped": ("u", 4),
    "first_warped": ("u", 4),
    "calibration": ("f", 2),
    "batch": ("u", 4),
    "batch_labels": ("i", 1),
    "warped": ("u", 4),
    "grid": ("f", 4),
    "det": ("f", 3),
    "film": ("u", 5),
    "film_epochs": ("i", 1),
    "theta": ("f", 2),
    "theta_labels": ("i", 1),
    "outside": ("f", 1),
    "least_det": ("f", 1),
    "folded": ("f", 1),
}
"""Kind of dtype and number of axes of each array."""

_ALIKE = (
    ("first_mistakes", "first_images"),
    ("batch", "batch_labels", "warped", "grid", "det"),
    ("film", "film_epochs"),
    ("theta", "theta_labels", "outside", "least_det", "folded"),
)
"""Arrays that must have the same length."""


def artifacts_path(folder: Path, run_name: str) -> Path:
    """The file of a run's arrays."""
    return folder / f"{run_name}.npz"


def write_artifacts(path: Path, artifacts: Artifacts) -> None:
    """Write the arrays in one piece.

    Raises:
        OSError: the disk does not take them.
    """
    arrays: dict[str, Any] = {
        "version": ARTIFACTS_VERSION,
        "digest": artifacts.digest,
        "class_names": artifacts.class_names,
    }
    for part in (artifacts.mistakes, artifacts.warps):
        arrays |= vars(part) if part else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_once(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_artifacts(path: Path) -> Artifacts:
    """The arrays of a run; what a file would take is checked before it is unpacked.

    Raises:
        UsageError: there is no such file, or it is damaged, too large, of another version or not
            ours.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_headers(path, archive)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UsageError(f"{path} is missing") from None
    except UsageError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen kinds over a damaged file
        raise UsageError(f"{path} cannot be read: {error}") from None
    if arrays.pop("version", None) != ARTIFACTS_VERSION:
        raise UsageError(f"{path} does not hold a run's arrays of version {ARTIFACTS_VERSION}")
    _check(path, arrays)
    return Artifacts(
        printable(str(arrays["digest"])),
        np.array([printable(str(name)) for name in arrays["class_names"]], dtype=np.str_),
        _part(path, Mistakes, arrays),
        _part(path, WarpPictures, arrays),
    )


def _check_headers(path: Path, archive: zipfile.ZipFile) -> None:
    """Check the size before unpacking: 3 MiB can hold 3 GiB of zeros."""
    size = 0
    names = [member.filename for member in archive.infolist()]
    for name in names:
        known = _KINDS.get(name.removesuffix(".npy"))
        if known is None or names.count(name) > 1:
            raise UsageError(f"{path}: {name.removesuffix('.npy')!r} is unknown")
        with archive.open(name) as stream:
            dtype, shape = _header(stream)
        if (dtype.kind, len(shape)) != known:
            name = name.removesuffix(".npy")
            raise UsageError(f"{path}: {name} is {dtype} with {len(shape)} axes")
        size += math.prod(shape) * dtype.itemsize
    if size > MOST_BYTES:
        raise UsageError(
            f"{path} would take {size / 2**20:,.0f} MiB, more than the {MOST_BYTES / 2**20:,.0f}"
            " that a run's arrays may"
        )


def _header(stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The data type and shape in the header of an array's file."""
    read = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
    shape, _, dtype = read[read_magic(stream)](stream)
    return dtype, shape


def _part(path: Path, kind: type[Part], arrays: dict[str, NDArray[Any]]) -> Part | None:
    names = [entry.name for entry in dataclasses.fields(kind)]
    found = {name: arrays[name] for name in names if name in arrays}
    if found and len(found) < len(names):
        raise UsageError(f"{path}: {next(n for n in names if n not in found)} is missing")
    return kind(**found) if found else None


def _check(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    for name in ("digest", "class_names"):
        if name not in arrays:
            raise UsageError(f"{path}: {name} is missing")
    for names in _ALIKE:
        if len({len(arrays[name]) for name in names if name in arrays}) > 1:
            raise UsageError(f"{path}: {', '.join(names)} differ in length")
    for name, columns in (("first_mistakes", 4), ("calibration", 3), ("grid", 2)):
        if name in arrays and arrays[name].shape[-1] != columns:
            raise UsageError(f"{path}: {name} has {arrays[name].shape[-1]} columns, not {columns}")
    for name in ("batch", "theta"):
        if name in arrays and not arrays[name].size:
            raise UsageError(f"{path}: {name} is empty")
    for name in ("worst", "first"):
        warped = arrays.get(f"{name}_warped", ())
        if len(warped) not in (0, len(arrays.get(f"{name}_images", ()))):
            raise UsageError(f"{path}: {name}_images, {name}_warped differ in length")
    _check_labels(path, arrays)


def _check_labels(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    classes = len(arrays["class_names"])
    named = ("batch_labels", "theta_labels")
    labels: dict[str, NDArray[Any]] = {name: arrays[name] for name in named if name in arrays}
    if "first_mistakes" in arrays:
        labels["first_mistakes"] = arrays["first_mistakes"][:, 1:3]
    for name, values in labels.items():
        if not ((values >= 0) & (values < classes)).all():
            raise UsageError(f"{path}: {name} names a class that does not exist")
