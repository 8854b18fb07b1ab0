"""Places for the labels of a chart's points, so that none covers another one or a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MARKER = 4.0
"""Half the side of the square that a point covers."""

_DIRECTIONS = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
_STEP = 5.0
"""From one ring of places round a point to the next."""


def place_labels(
    points: FloatArray, sizes: FloatArray, frame: tuple[float, float]
) -> list[FloatArray | None]:
    """The lower left corner of each label, as near to its point as possible.

    All in one unit, say pixels. Labels are placed in their order, so that the first ones lie
    nearest.

    Args:
        points: (N, 2), x to the right, y up, from the frame's lower left corner.
        sizes: (N, 2), widths and heights of the labels.
        frame: width and height; no label leaves it.

    Returns:
        N corners; None for a label that does not fit.
    """
    markers = np.concatenate([points - MARKER, points + MARKER], axis=1)
    taken = [markers]
    corners: list[FloatArray | None] = []
    for point, size in zip(points, sizes, strict=True):
        places = _places_round(point, size, frame)
        boxes = np.concatenate([places, places + size], axis=1)
        inside = np.all((boxes[:, :2] >= 0) & (boxes[:, 2:] <= frame), axis=1)
        free = inside & ~_overlap(boxes, np.concatenate(taken))
        if free.any():
            chosen = int(np.argmax(free))
            corners.append(places[chosen])
            taken.append(boxes[chosen : chosen + 1])
        else:
            corners.append(None)
    return corners


def _places_round(point: FloatArray, size: FloatArray, frame: Sequence[float]) -> FloatArray:
    """Corners of a label beside a point, the nearest first."""
    rings = np.arange(MARKER + 1, max(frame), _STEP)[:, None, None]
    directions = np.array(_DIRECTIONS, dtype=np.float64)
    corners: FloatArray = point + rings * directions + (directions - 1) / 2 * size
    return corners.reshape(-1, 2)


def _overlap(boxes: FloatArray, others: FloatArray) -> NDArray[np.bool_]:
    """Whether each box (left, bottom, right, top) shares an area with any of the others."""
    below = boxes[:, None, :2] < others[:, 2:]
    above = boxes[:, None, 2:] > others[:, :2]
    return np.asarray(np.any(np.all(below & above, axis=2), axis=1))
