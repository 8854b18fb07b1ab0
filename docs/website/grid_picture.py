"""The picture of the grid convention, with numbers that the library computes."""

from __future__ import annotations

import torch
from torch import Tensor

from docs.website.drawing import BLUE, ORANGE, PALE, arrow, box, element, picture, text
from stn_core import create_warp
from stn_core.geometry.grids import base_grid, normalised_to_pixel

SIZE = (3, 4)
PIXEL = 92
TOP, LEFT, GAP = 70, 60, 130


def grid_picture() -> str:
    """An output image of 3 × 4 pixels beside the input, with where a zoom reads it."""
    height, width = SIZE
    centres = base_grid(SIZE)
    zoom = torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.5, 0.0]])
    read = create_warp("affine").grid(zoom, SIZE)[0]
    right = LEFT + width * PIXEL + GAP
    parts = [
        *_panel(LEFT, "output: the centres of its pixels, (x, y)"),
        *_panel(right, "input: where a warp of 0.5 · (x, y) reads it"),
        *_points(LEFT, centres, BLUE, labelled=True),
        *_points(right, read, ORANGE, labelled=False),
    ]
    x1, y1 = _place(LEFT, centres[0, 3])
    x2, y2 = _place(right, read[0, 3])
    parts += [
        arrow(x1 + 8, y1, x2 - 8, y2),
        text(x2 + 8, y2 - 6, _pair(read[0, 3]), fill=ORANGE),
        text((x1 + x2) / 2 - 22, (y1 + y2) / 2 - 14, "warp"),
    ]
    return picture(
        right + width * PIXEL + 60,
        TOP + height * PIXEL + 60,
        "Pixel centres in normalised coordinates, and the places that a warp reads",
        parts,
    )


def _panel(left: float, title: str) -> list[str]:
    """The pixels of an image, its edges at -1 and 1, and the two axes."""
    height, width = SIZE
    right, bottom = left + width * PIXEL, TOP + height * PIXEL
    pixels = [
        box(left + column * PIXEL, TOP + row * PIXEL, PIXEL, PIXEL, fill=PALE, stroke="white")
        for row in range(height)
        for column in range(width)
    ]
    return [
        *pixels,
        text(left, TOP - 46, title, 15),
        arrow(left, TOP - 8, right, TOP - 8),
        text(left - 8, TOP - 18, "-1"),
        text(right - 36, TOP - 18, "x = 1"),
        arrow(left - 8, TOP, left - 8, bottom),
        text(left - 36, TOP + 14, "-1"),
        text(left - 44, bottom, "y = 1"),
    ]


def _points(left: float, grid: Tensor, colour: str, *, labelled: bool) -> list[str]:
    parts = []
    for point in grid.reshape(-1, 2):
        x, y = _place(left, point)
        parts.append(element("circle", cx=x, cy=y, r=4, fill=colour))
        if labelled:
            parts.append(text(x, y + 20, _pair(point), 11, text_anchor="middle"))
    return parts


def _place(left: float, xy: Tensor) -> tuple[float, float]:
    """Where a point in normalised coordinates is drawn: pixel i is centred at i + 1/2 pixels."""
    column, row = (normalised_to_pixel(xy, SIZE) + 0.5).tolist()
    return left + column * PIXEL, TOP + row * PIXEL


def _pair(xy: Tensor) -> str:
    x, y = xy.tolist()
    return f"({x:.3g}, {y:.3g})"
