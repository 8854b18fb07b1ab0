"""The pictures of a report: images with captions, their warps, and films of a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stn_core.errors import needs_extra
from stn_core.report.svg import COLOURS, WIDTH, new_figure
from stn_core.session.artifacts import WarpPictures

with needs_extra("report"):
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

MOST_PIXELS = 72
"""Larger images are scaled down, to keep the page small."""
FILM_ROWS, FILM_COLUMNS = 6, 8
"""How many moments and how many images of a film are shown."""
_GAP = 0.12
"""Between images, as a share of their side."""
_GRID_LINES = 7
"""How many lines of the sampling grid are drawn in each direction."""


def gallery(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    warped: NDArray[np.uint8] | None = None,
    columns: int = 6,
) -> Figure:
    """Images with a caption each, above their warped versions.

    Args:
        images: uint8 (N, C, H, W), N at least 1.
        captions: N of them, each of a few lines.
        warped: uint8 (N, C, h, w); None or empty without a transformer.
        columns: images per row.
    """
    tiles = _as_rgba(images)
    if warped is not None and len(warped):
        tiles = np.concatenate([tiles, _resized(_as_rgba(warped), tiles.shape[1:3])], axis=1)
    columns = min(columns, len(tiles))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    lines = max(caption.count("\n") + 1 for caption in captions)
    share = (0.2 * lines + 0.05) * tiles.shape[2] / tiles.shape[1]
    figure, axes, (step_y, step_x) = _mosaic(rows, caption_share=share)
    height = tiles.shape[1]
    for number, caption in enumerate(captions):
        row, column = divmod(number, columns)
        place = (column * step_x + tiles.shape[2] / 2, row * step_y + height * 1.02)
        axes.text(*place, caption, ha="center", va="top", fontsize=6.5)
    return figure


def warp_figure(warps: WarpPictures, class_names: Sequence[str]) -> Figure:
    """Images before, with the sampling grid over them, and after; and the Jacobian's determinant.

    Args:
        warps: of a run.
        class_names: of its dataset.
    """
    before, after = _as_rgba(warps.batch), _as_rgba(warps.warped)
    height, width = before.shape[1:3]
    after = _resized(after, (height, width))
    areas = _resized(_area_colours(warps.det), (height, width))
    figure, axes, (step_y, step_x) = _mosaic([before, after, areas], caption_share=0.0)
    for number, grid in enumerate(warps.grid):
        x, y = _grid_lines(grid)
        axes.plot((x + 1) / 2 * width - 0.5 + number * step_x, (y + 1) / 2 * height - 0.5,
                  color=COLOURS[4], linewidth=0.5)  # fmt: skip
    _label_rows(axes, ["before", "after", "log₂ det J"], step_y, height)
    names = [class_names[label] for label in warps.batch_labels]
    axes.set_xticks(np.arange(len(names)) * step_x + width / 2, names)
    axes.tick_params(axis="x", labeltop=True, labelbottom=False, labelsize=7)
    return figure


def film_strip(warps: WarpPictures) -> Figure:
    """Some images of the warped batch during training, one row per moment."""
    moments = np.unique(np.linspace(0, len(warps.film) - 1, FILM_ROWS).round().astype(int))
    frames = [_as_rgba(warps.film[moment, :FILM_COLUMNS]) for moment in moments]
    figure, axes, (step_y, _) = _mosaic(frames, caption_share=0.0)
    epochs = warps.film_epochs[moments]
    names = [f"epoch {epoch}" if epoch else "untrained" for epoch in epochs]
    if len(epochs) > 1 and epochs[-1] <= epochs[-2]:
        names[-1] = f"kept: {epochs[-1]}"
    _label_rows(axes, names, step_y, frames[0].shape[1])
    return figure


def _area_colours(det: NDArray[np.float32]) -> NDArray[np.uint8]:
    """log₂ det J from -2 (blue: the input is enlarged) to 2 (red); black where the warp folds."""
    folded = det <= 0
    shade = np.clip(np.log2(np.where(folded, 1.0, det)) / 4 + 0.5, 0, 1)
    colours = (255 * colormaps["RdBu_r"](shade)).round().astype(np.uint8)
    colours[folded] = (0, 0, 0, 255)
    return colours


def _grid_lines(grid: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Some rows and columns of a sampling grid (h, w, 2) as one line with breaks (NaN)."""
    parts = []
    for lines in (grid, grid.swapaxes(0, 1)):
        chosen = np.linspace(0, len(lines) - 1, min(_GRID_LINES, len(lines))).round().astype(int)
        along = np.linspace(0, lines.shape[1] - 1, min(15, lines.shape[1])).round().astype(int)
        kept = lines[np.ix_(chosen, along)].astype(np.float64)
        parts.append(np.pad(kept, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan).reshape(-1, 2))
    points = np.concatenate(parts)
    points[np.abs(points).max(1) > 1 + _GAP] = np.nan  # it would run into the neighbour
    return points[:, 0], points[:, 1]


def _label_rows(axes: Axes, names: Sequence[str], step_y: float, height: int) -> None:
    axes.set_yticks(np.arange(len(names)) * step_y + height / 2, names)
    axes.tick_params(axis="y", labelsize=7)


def _mosaic(
    rows: Sequence[NDArray[np.uint8]], caption_share: float
) -> tuple[Figure, Axes, tuple[int, int]]:
    """A figure of rows of RGBA tiles (B, h, w, 4), and the pixels from one to the next."""
    count = max(map(len, rows))
    height, width = rows[0].shape[1:3]
    step_x = width + max(1, round(_GAP * width))
    step_y = height + max(1, round((_GAP + caption_share) * height))
    sheet = np.zeros((step_y * len(rows), step_x * count, 4), np.uint8)
    for y, tiles in enumerate(rows):
        for x, tile in enumerate(tiles):
            sheet[y * step_y : y * step_y + height, x * step_x : x * step_x + width] = tile
    inches = min(WIDTH - 0.8, 0.7 * count)
    figure, axes = new_figure(inches + 0.8, inches * sheet.shape[0] / sheet.shape[1] + 0.3)
    axes.imshow(sheet)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return figure, axes, (step_y, step_x)


def _as_rgba(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (B, C, H, W) as (B, h, w, 4), no side longer than `MOST_PIXELS`.

    If the channels are neither grey nor RGB, the first one is shown.
    """
    channels = images if images.shape[1] == 3 else np.repeat(images[:, :1], 3, axis=1)
    pixels = np.moveaxis(channels, 1, -1)
    opaque = np.full((*pixels.shape[:3], 1), 255, np.uint8)
    rgba = np.concatenate([pixels, opaque], axis=-1)
    height, width = rgba.shape[1:3]
    factor = min(1.0, MOST_PIXELS / max(height, width))
    return _resized(rgba, (max(1, round(height * factor)), max(1, round(width * factor))))


def _resized(tiles: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    if tiles.shape[1:3] == size_hw:
        return tiles
    height, width = size_hw
    resized = [
        Image.fromarray(tile).resize((width, height), Image.Resampling.BOX) for tile in tiles
    ]
    return np.stack([np.asarray(tile) for tile in resized])
