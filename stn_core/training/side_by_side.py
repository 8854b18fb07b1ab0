"""Images for a person to look at: enlarged, and side by side."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stn_core.errors import needs_extra

with needs_extra("suite"):
    from PIL import Image

_SEEN_SIZE = 224
"""About how high a small picture is shown, in pixels."""

_GAP = 8
_GAP_GREY = 128


def side_by_side(images: Sequence[Tensor]) -> Image.Image:
    """Pictures of images, uint8 ``(C, h, w)``, from left to right; small ones are enlarged.

    Each pixel becomes a square of whole pixels, so nothing is blurred.
    """
    pictures = [_enlarged(image) for image in images]
    width = sum(picture.width for picture in pictures) + _GAP * (len(pictures) - 1)
    height = max(picture.height for picture in pictures)
    canvas = Image.new("RGB", (width, height), (_GAP_GREY,) * 3)
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width + _GAP
    return canvas


def _enlarged(image: Tensor) -> Image.Image:
    channels, height, width = image.shape
    factor = max(1, round(_SEEN_SIZE / height))
    pixels = image.permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
    return picture.resize((factor * width, factor * height), Image.Resampling.NEAREST)
