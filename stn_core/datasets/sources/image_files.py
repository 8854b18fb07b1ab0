"""Image files of a user's own, read as the uint8 images that a model takes."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stn_core.errors import UsageError, needs_extra

with needs_extra("data"):
    from PIL import Image, ImageOps, UnidentifiedImageError

MODES = {1: "L", 3: "RGB"}
"""Pillow's names of grey and of coloured pixels, by how many channels an image has."""

MOST_PIXELS = 2**26
"""Of an image file: 256 MiB in four channels."""

_NUMBERS = ("I", "F")
"""Pillow's modes of numbers: nobody says which of them are black and white."""


def read_image(
    path: Path, in_shape: tuple[int, int, int], background: Sequence[float], *, resize: bool = False
) -> Tensor:
    """Read an image file, turned upright where it says so, as a model's image.

    Args:
        path: of a file in any format that Pillow reads; of several pictures in it the first counts.
        in_shape: channels (1: grey, or 3: red, green and blue), height and width of the result.
        background: what is seen through transparent pixels, per channel, in 0 to 255.
        resize: stretch or shrink an image of another size (bilinear, antialiased).

    Returns:
        uint8 ``in_shape``.

    Raises:
        UsageError: there is no such file, it is no image or a damaged one, or it is of another size
            and `resize` is not asked for.
    """
    channels, height, width = in_shape
    image = _decoded(path, MODES[channels], tuple(map(round, background)))
    if image.size != (width, height) and not resize:
        raise UsageError(
            f"{path} is {image.width} pixels wide and {image.height} high, the model's images are"
            f" {width} and {height}; --resize makes it fit"
        )
    pixels = image.resize((width, height), Image.Resampling.BILINEAR)
    rows = np.array(pixels).reshape(height, width, channels)
    return torch.from_numpy(rows).permute(2, 0, 1).contiguous()


def _decoded(path: Path, mode: str, background: tuple[int, ...]) -> Image.Image:
    try:
        if stat.S_ISFIFO(path.stat().st_mode):  # Pillow would wait for a writer
            raise UsageError(f"{path} is not a regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we say it ourselves
            file = Image.open(path)
        with file:
            _check_size(path, file)
            return _opaque(ImageOps.exif_transpose(file), mode, background)
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except Image.DecompressionBombError:
        raise UsageError(f"{path} is too large: the most is {MOST_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise UsageError(f"{path} is no image, or in no format that Pillow reads") from None
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise UsageError(f"{path} cannot be read: {reason}") from error
    except Exception as error:  # each of Pillow's formats has damages and errors of its own
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} cannot be read: {reason}") from error


def _check_size(path: Path, image: Image.Image) -> None:
    """Refuse an image by what its header says, before memory is taken for its pixels."""
    if image.width * image.height > MOST_PIXELS:
        raise UsageError(
            f"{path} is {image.width} pixels wide and {image.height} high: too large, the most is"
            f" {MOST_PIXELS:,} pixels"
        )


def _opaque(image: Image.Image, mode: str, background: tuple[int, ...]) -> Image.Image:
    """The image with 8 bits a channel in a mode, on the background where it is transparent.

    Raises:
        ValueError: it is in a mode that cannot be converted.
    """
    if image.mode in _NUMBERS:
        raise ValueError(f"its pixels are numbers ({image.mode}); save it with 8 bits a channel")
    if image.mode.startswith("I;16"):  # which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert(mode)
    image = image.convert("RGBA")
    canvas = Image.new(mode, image.size, background if len(background) > 1 else background[0])
    canvas.paste(image.convert(mode), mask=image.getchannel("A"))
    return canvas
