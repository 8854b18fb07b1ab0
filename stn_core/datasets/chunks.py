"""How many images are computed on at a time: fewer of large ones, so that memory is bounded."""

from __future__ import annotations

_LARGEST_HW = (112, 112)
"""Height and width up to which the size of the images does not count."""


def images_at_once(most: int, size_hw: tuple[int, int]) -> int:
    """How many images are taken at a time: of large ones, as many as have the same pixels in all.

    Args:
        most: how many of images of up to 112x112 pixels.
        size_hw: height and width of the images.

    Returns:
        At least 1.

    >>> [images_at_once(500, size_hw) for size_hw in ((28, 28), (112, 112), (448, 448))]
    [500, 500, 31]
    """
    height, width = size_hw
    return max(1, min(most, most * _LARGEST_HW[0] * _LARGEST_HW[1] // (height * width)))
