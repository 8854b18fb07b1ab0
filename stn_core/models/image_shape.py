"""What a model is built for, checked before it is: the images' shape, classes and background."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stn_core.errors import UsageError
from stn_core.geometry.option_values import is_number, is_whole_number


def check_images(in_shape: object, num_classes: object, background: object) -> None:
    """See that images, classes and background are what a model can be built for.

    Args:
        in_shape: should be (channels, height, width).
        num_classes: should be a whole number from 1.
        background: should be a number, or one per channel.

    Raises:
        UsageError: one of them is not.
    """
    sides = list(in_shape) if isinstance(in_shape, Sequence) else []
    if len(sides) != 3 or not all(map(_counts, sides)):
        raise UsageError(f"in_shape is (channels, height, width), each at least 1, not {in_shape}")
    if not _counts(num_classes):
        raise UsageError(f"num_classes is at least 1, not {num_classes!r}")
    values = list(background) if isinstance(background, Sequence) else [background]
    if not all(map(_is_finite, values)):
        raise UsageError(f"background is a finite number, or one per channel, not {background!r}")
    if isinstance(background, Sequence) and len(values) != sides[0]:
        raise UsageError(
            f"background has {len(values)} values for images of {sides[0]} channel(s); "
            "give one number or one per channel"
        )


def _counts(value: object) -> bool:
    return is_whole_number(value) and value >= 1


def _is_finite(value: object) -> bool:
    return is_number(value) and math.isfinite(value)
