"""Image files of a user's own, read as the uint8 images that a model takes."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stn_core.errors import UsageError, needs_extra, user_path

with needs_extra("data"):
    from PIL import Image, ImageOps, UnidentifiedImageError

MODES = {1: "L", 3: "RGB"}
"""Pillow's names of grey and of coloured pixels, by how many channels an image has."""

MOST_PIXELS = 2**26
"""Of an image file: 256 MiB in four channels."""

_NUMBERS = ("I", "F")
"""Pillow's modes of numbers: nobody says which of them are black and white."""

_GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")

_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)
"""Of the EXIF orientations those that change height and width."""

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
"""Tags of a TIFF."""


@dataclass(frozen=True)
class ImageLayout:
    """What the header of an image file says about the image, once it is rotated upright."""

    size_hw: tuple[int, int]
    is_coloured: bool


def image_layout(path: Path) -> ImageLayout:
    """Look at an image file without decoding it.

    Raises:
        UsageError: there is no such file, or it is no image.
    """
    with _opened(path) as file:
        width, height = _stored_size(file)
        if file.getexif().get(_ORIENTATION) in _LYING:
            width, height = height, width
        palette = file.palette.mode if file.mode == "P" and file.palette else ""
        is_grey = file.mode in _GREY_MODES or (bool(palette) and _is_grey_palette(file))
        return ImageLayout((height, width), not is_grey)


def _stored_size(file: Image.Image) -> tuple[int, int]:
    """Width and height as the file stores the pixels; Pillow gives an upright TIFF's."""
    tags = getattr(file, "tag_v2", {}) if file.format == "TIFF" else {}
    width, height = file.size
    return tags.get(_TIFF_WIDTH, width), tags.get(_TIFF_HEIGHT, height)


def _is_grey_palette(file: Image.Image) -> bool:
    colours = np.array(file.getpalette() or [0, 0, 0]).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def read_image(
    path: str | os.PathLike[str],
    in_shape: tuple[int, int, int],
    background: Sequence[float],
    *,
    resize: bool = False,
) -> Tensor:
    """Read an image file as a model's image, rotated as its EXIF data says.

    Args:
        path: of a file in any format that Pillow reads; of several pictures in it the first counts.
        in_shape: channels (1: grey, or 3: red, green and blue), height and width of the result.
        background: what is seen through transparent pixels, per channel, in 0 to 255.
        resize: stretch or shrink an image of another size (bilinear, antialiased).

    Returns:
        uint8 ``in_shape``.

    Raises:
        UsageError: there is no such file, it is no image or a damaged one, it is of another size
            and `resize` is not asked for, or no image file has so many channels.
    """
    channels, height, width = in_shape
    if channels not in MODES:
        raise UsageError(f"{path}: no image file has the model's {channels} channels")
    path = user_path(path)
    image = decode_image(path, MODES[channels], tuple(map(round, background))).image
    if image.size != (width, height) and not resize:
        raise UsageError(
            f"{path} is {image.width} pixels wide and {image.height} high, the model's images are"
            f" {width} and {height}; --resize, or resize=True, makes it fit"
        )
    pixels = image.resize((width, height), Image.Resampling.BILINEAR)
    rows = np.array(pixels).reshape(height, width, channels)
    return torch.from_numpy(rows).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class Decoded:
    """An image file's image.

    Args:
        image: decoded, in one of `MODES`.
        deepest: the highest value of a file of 16 bits, 0 of any other.
        is_transparent: whether the background is seen through some of its pixels.
    """

    image: Image.Image
    deepest: int
    is_transparent: bool


def decode_image(path: Path, mode: str, background: tuple[int, ...]) -> Decoded:
    """Decode an image file, rotated as its EXIF data says.

    Args:
        path: of the file.
        mode: one of `MODES`.
        background: what is seen through transparent pixels, per channel, in 0 to 255.

    Raises:
        UsageError: there is no such file, or it is no image or a damaged one.
    """
    with _opened(path) as file:
        bits = _sample_bits(file)
        upright = ImageOps.exif_transpose(file)
        deepest = int(np.asarray(upright).max()) if upright.mode.startswith("I;16") else 0
        image, is_transparent = _unified(upright, bits, mode, background)
        return Decoded(image, deepest, is_transparent)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file, not decoded yet; whatever goes wrong in the block becomes one line."""
    try:
        if stat.S_ISFIFO(path.stat().st_mode):  # Pillow would wait for a writer
            raise UsageError(f"{path} is not a regular file")
        # Given a path, Pillow would map the pixels, and garble a TIFF that is on its side.
        with path.open("rb") as stream:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we say it
                file = Image.open(stream)
            with file:
                _check_header(path, file)
                yield file
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except Image.DecompressionBombError:
        raise UsageError(f"{path} is too large: the most is {MOST_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise UsageError(f"{path} is not an image, or not in a format that Pillow reads") from None
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise UsageError(f"{path} cannot be read: {reason}") from error
    except Exception as error:  # each of Pillow's formats has damages and errors of its own
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} cannot be read: {reason}") from error


def _check_header(path: Path, image: Image.Image) -> None:
    """Refuse PostScript, which is a program, and an image too large, before any pixel is read."""
    if image.format == "EPS":
        raise UsageError(f"{path} is PostScript, which is not run; save it as PNG")
    if image.width * image.height > MOST_PIXELS:
        raise UsageError(
            f"{path} is {image.width} pixels wide and {image.height} high: too large, the most is"
            f" {MOST_PIXELS:,} pixels"
        )


def _sample_bits(file: Image.Image) -> int:
    """Bits of a sample as the file stores it, which a transparent value is given in."""
    stored = _png_rawmode(file)
    if stored == "1":
        return 1
    _, _, depth = stored.partition(";")
    digits = depth.rstrip("B")
    return int(digits) if digits.isdecimal() else 8


def _png_rawmode(file: Image.Image) -> str:
    """Pillow's name of how a PNG's samples lie in the file, "I;16B" say; "" of other formats."""
    tiles = getattr(file, "tile", ()) if file.format == "PNG" else ()
    return str(tiles[-1][3]) if tiles else ""


def _unified(
    image: Image.Image, bits: int, mode: str, background: tuple[int, ...]
) -> tuple[Image.Image, bool]:
    """The image with 8 bits a channel in a mode, on the background where it is transparent.

    Args:
        image: decoded, in whatever mode.
        bits: of a sample as its file stores it.
        mode: one of `MODES`.
        background: per channel, in 0 to 255.

    Returns:
        The image, and whether it is transparent anywhere.

    Raises:
        ValueError: it is in a mode that cannot be converted.
    """
    if image.mode in _NUMBERS:
        raise ValueError(f"its pixels are numbers ({image.mode}); save it with 8 bits a channel")
    opaque = _opaque_where(image, bits)
    if image.mode.startswith("I;16"):  # which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if opaque is None:
        if not image.has_transparency_data:
            return image.convert(mode), False
        image = image.convert("RGBA")
        opaque = image.getchannel("A")
    else:
        image.info.pop("transparency", None)  # in other units than the pixels
    canvas = Image.new(mode, image.size, background if len(background) > 1 else background[0])
    canvas.paste(image.convert(mode), mask=opaque)
    return canvas, bool((np.asarray(opaque) < 255).any())


def _opaque_where(image: Image.Image, bits: int) -> Image.Image | None:
    """White where a pixel is not the one value that is transparent; None if there is none.

    A PNG gives that value in the bits that it stores, Pillow the pixels in 8 or 16.
    """
    key = image.info.get("transparency")
    if isinstance(key, int) and (image.mode in ("1", "L") or image.mode.startswith("I;16")):
        levels = np.asarray(image).astype(np.int64)
        if image.mode == "1":
            key = int(key > 0)
        elif image.mode == "L":
            key = key * 255 // (2**bits - 1)
        is_key = levels == key
    elif isinstance(key, tuple) and image.mode == "RGB":
        shift = max(0, bits - 8)  # of 16 bits Pillow keeps the upper eight
        is_key = (np.asarray(image) == [level >> shift for level in key]).all(-1)
    else:
        return None
    return Image.fromarray(np.where(is_key, np.uint8(0), np.uint8(255)))
