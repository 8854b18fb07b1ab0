"""Caltech-UCSD Birds-200-2011 (Wah et al. 2011), in its official layout, any subset of its species.

Images are made square as follows: the smallest square that contains the whole image, or the bird's
box, is centred on it and then shifted into the image as far as possible; what still lies outside is
black. So birds keep their shape, and no part of the box is cut off. Boxes that reach past the image
are clipped to it first. Greyscale files become RGB.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.assembly import Sources, assemble
from stn_core.datasets.base import Dataset, Split
from stn_core.datasets.data_root import PASS_IT, data_folder, is_folder
from stn_core.datasets.registry import register_dataset
from stn_core.datasets.sources.cub_listing import BirdImage, Box, Listing, read_listing
from stn_core.datasets.sources.decoded import Tensors, decoded_once
from stn_core.datasets.sources.decoding import decode_files
from stn_core.datasets.splits import MIN_TRAIN_IMAGES, carve_validation
from stn_core.errors import UsageError, needs_extra
from stn_core.geometry.option_values import is_whole_number

with needs_extra("data"):
    import PIL  # Image, its large part, only where one is decoded

_LOGGER = logging.getLogger(__name__)

FOLDER = "CUB_200_2011"
SOURCE = "https://data.caltech.edu/records/65de6-vp158"
DEFAULT_SIZE = 112  # pixels: half of the 224 that Jaderberg et al. 2015 look at (section 4.3)
MAX_SIZE = 1_024  # pixels: twice what the images have

DECODING_VERSION = 1
"""Of how an image becomes a square; part of the hash: another way is another dataset."""


def check_birds(root: str | os.PathLike[str] | None, download: bool = False) -> None:
    """Check that CUB-200-2011 is there: the check of every dataset that `load_birds` makes.

    Args:
        root: as for `load_birds`.
        download: the birds are never fetched.

    Raises:
        UsageError: it is not.
    """
    _folder(root)


@register_dataset("birds", check=check_birds, shape=(3, 112, 112))
def birds(root: Path | None, download: bool) -> Dataset:
    """Whole images of 112×112 pixels."""
    return load_birds(root, "birds")


@register_dataset("birds_224", check=check_birds, shape=(3, 224, 224))
def birds_224(root: Path | None, download: bool) -> Dataset:
    """Whole images of 224×224 pixels."""
    return load_birds(root, "birds_224", image_size=224)


@register_dataset("birds_cropped", check=check_birds, shape=(3, 112, 112))
def birds_cropped(root: Path | None, download: bool) -> Dataset:
    """The birds' boxes, 112×112 pixels."""
    return load_birds(root, "birds_cropped", crop_to_box=True)


def load_birds(
    root: str | os.PathLike[str] | None,
    name: str = "birds",
    image_size: int = DEFAULT_SIZE,
    classes: Iterable[int | str] | None = None,
    crop_to_box: bool = False,
) -> Dataset:
    """Load CUB-200-2011, or some of its classes.

    To add such a dataset, register a function that calls this, with `check_birds` as its check.

    The official test set is the test set; a tenth of the official training set is used for
    validation. The images are decoded once and kept (see `decoded`). The hash covers the bytes of
    the image files and not their pixels, which differ between versions of the decoder.

    Args:
        root: the data folder, which holds CUB_200_2011.
        name: what to call the dataset.
        image_size: height and width of the images in pixels, 1 to `MAX_SIZE`.
        classes: their numbers or names as in classes.txt, in any order; None: all that have images.
        crop_to_box: whether to show the bird's box and not the whole image.

    Raises:
        UsageError: files are missing or damaged, or an argument is out of range.
    """
    if not is_whole_number(image_size) or not 1 <= image_size <= MAX_SIZE:
        raise UsageError(
            f"image_size is {image_size!r}; it must be a whole number of pixels, 1 to {MAX_SIZE:,}"
        )
    listing = _listing(_folder(root), classes, crop_to_box)
    reading = f"decoding {DECODING_VERSION}, {image_size} pixels"
    decoded = decoded_once(
        "birds",
        [image.path for image in listing.images],
        f"{reading}, Pillow {PIL.__version__}, {[image.box for image in listing.images]}",
        lambda: _decode_all(listing.images, image_size),
    )
    contents = [row.tobytes() for row in decoded["digests"].numpy()]
    _warn_of_leaks(listing, contents)
    digest = hashlib.sha256(reading.encode())
    for image, content in zip(listing.images, contents, strict=True):
        digest.update(content)
        digest.update(f"{image.label} {image.in_train} {image.box}\n".encode())
    return assemble(name, _sources(listing, decoded["images"], digest.hexdigest()))


def _folder(root: str | os.PathLike[str] | None) -> Path:
    above = data_folder(root)
    if above is None:
        raise UsageError(
            f"no folder to look for {FOLDER} in; {PASS_IT} (the birds are not fetched by "
            f"--download; they are at {SOURCE})"
        )
    folder = above / FOLDER
    if not is_folder(folder):
        raise UsageError(
            f"no {FOLDER} in {above}; if it is in another folder, {PASS_IT} (the birds are not "
            f"fetched by --download; unpack them from {SOURCE})"
        )
    return folder


def _listing(folder: Path, classes: Iterable[int | str] | None, with_boxes: bool) -> Listing:
    listing = read_listing(folder, classes, with_boxes)
    num_train = sum(image.in_train for image in listing.images)
    if num_train < MIN_TRAIN_IMAGES:
        raise UsageError(
            f"{folder}: {num_train} images to train with; at least {MIN_TRAIN_IMAGES} are needed, "
            "a tenth of which is used for validation"
        )
    return listing


def _warn_of_leaks(listing: Listing, contents: Sequence[bytes]) -> None:
    """Tell of files whose content is in train and in test; the official split stays as it is."""
    rows = list(zip(listing.images, contents, strict=True))
    trained = {content: image.path for image, content in rows if image.in_train}
    for image, content in rows:
        if not image.in_train and content in trained:
            _LOGGER.warning(
                "%s and %s are one image, in train and in test", trained[content], image.path
            )


def _sources(listing: Listing, images: Tensor, digest: str) -> Sources:
    labels = torch.tensor([image.label for image in listing.images])
    in_train = torch.tensor([image.in_train for image in listing.images])
    train, val = carve_validation(images[in_train], labels[in_train])
    test = Split(images[~in_train], labels[~in_train])
    return Sources(train, val, test, listing.class_names, digest)


def _decode_all(images: Sequence[BirdImage], size: int) -> Tensors:
    """All images, uint8 ``(N, 3, size, size)``, and the SHA-256 of each file, ``(N, 32)``."""
    with needs_extra("data"):
        from PIL import Image, UnidentifiedImageError

    damages = (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError)
    paths = [image.path for image in images]

    def decode(row: int, content: bytes) -> NDArray[np.uint8]:
        try:
            return np.moveaxis(decode_square(content, size, images[row].box), -1, 0)
        except UnidentifiedImageError as error:
            raise _undecodable(paths[row], "it is not an image file") from error
        except damages as error:
            raise _undecodable(paths[row], str(error).partition("\n")[0]) from error

    pixels, digests = decode_files(paths, (3, size, size), decode, "unpack the dataset again")
    return {"images": pixels, "digests": digests}


def _undecodable(path: Path, reason: str) -> UsageError:
    return UsageError(f"image {path} cannot be decoded ({reason})")


def decode_square(content: bytes, size: int, box: Box | None = None) -> NDArray[np.uint8]:
    """Decode an image file, and show a part of it in a square.

    Args:
        content: the file's bytes, in any format that Pillow reads.
        size: height and width of the square in pixels.
        box: the part; None: the whole image.

    Returns:
        uint8 ``(size, size, 3)``, resized with an antialiased bicubic filter.

    Raises:
        ValueError: the box lies outside the image.
    """
    with needs_extra("data"):
        from PIL import Image

    with Image.open(io.BytesIO(content)) as file:
        image = file.convert("RGB")
    left, top, right, bottom = _clipped(box or (0, 0, *image.size), image.size)
    side = max(right - left, bottom - top)
    seen_left, seen_right, width = _along(left, right, side, image.width, size)
    seen_top, seen_bottom, height = _along(top, bottom, side, image.height, size)
    seen = image.resize(
        (width, height),
        Image.Resampling.BICUBIC,
        box=(seen_left, seen_top, seen_right, seen_bottom),
    )
    square = np.zeros((size, size, 3), np.uint8)
    x, y = (size - width) // 2, (size - height) // 2
    square[y : y + height, x : x + width] = np.asarray(seen)
    return square


def _along(
    start: float, end: float, side: float, length: int, size: int
) -> tuple[float, float, int]:
    """Lay the square over a part of the image along one axis; see the module's rule.

    Args:
        start: where the part starts, at least 0.
        end: where it ends, at most ``length``.
        side: of the square, at least ``end - start``.
        length: of the image.
        size: of the square when it is resized.

    Returns:
        Where what is seen of the image starts and ends, and its length when it is resized.
    """
    if side >= length:
        return 0, length, max(1, round(length / side * size))
    origin = min(max((start + end - side) / 2, 0), length - side)
    return origin, min(origin + side, length), size


def _clipped(box: Box, size_wh: tuple[int, int]) -> Box:
    width, height = size_wh
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[2], width), min(box[3], height)
    if left >= right or top >= bottom:
        raise ValueError("its box lies outside of it")
    return left, top, right, bottom
