"""Pictures among scraps of other pictures, at a random place of a larger canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_core.datasets.chunks import images_at_once
from stn_core.datasets.distortions.unit_numbers import whole
from stn_core.datasets.distortions.warped import CHUNK
from stn_core.datasets.keyed_random import Stream, uniform
from stn_core.errors import UsageError
from stn_core.geometry.option_values import size_in_pixels, whole_number

SizeHW = tuple[int, int]


@dataclass(frozen=True)
class ClutterDistortion:
    """A place on the canvas, and patches of other images (Jaderberg et al. 2015, appendix A.4).

    Convention: the picture and the patches lie on whole pixels, every place that holds them is as
    likely as any other, and so is every place that a patch is cut from, blank ones among them. They
    cover one another, and of two pixels the one that differs more from the background is seen: over
    black the brighter one. Each raw parameter row is uniform in [0, 1): row and column of the
    picture, then for each patch which of the other images it is from, its row and column there, and
    its row and column on the canvas.

    Patches are cut from the other images of the same call to `apply`, so a split is distorted as a
    whole and never shows a piece of another.

    Args:
        canvas_hw: height and width of the result, no smaller than the images.
        patch_size: height and width of a patch, no larger than the images.
        num_patches: how many there are, at least 0.

    Raises:
        UsageError: the canvas is no size, there are fewer than 0 patches, or they are smaller than
            1.
    """

    canvas_hw: tuple[int, int]
    patch_size: int
    num_patches: int

    def __post_init__(self) -> None:
        size_in_pixels("canvas_hw", self.canvas_hw)
        whole_number("patch_size", self.patch_size, least=1)
        whole_number("num_patches", self.num_patches, least=0)

    def draw(self, count: int, seed: int, stream: Stream, index: int = 0) -> NDArray[np.float64]:
        """Draw raw parameters ``(count, 2 + 5 num_patches)``; see `base.Distortion`."""
        return uniform((count, 2 + 5 * self.num_patches), seed, stream, index)

    def applied(
        self, parameters: NDArray[np.float64], source_hw: tuple[int, int]
    ) -> NDArray[np.int64]:
        """Where everything lies and what it is cut from, ``(N, 2 + 5 num_patches)``.

        Args:
            parameters: as many rows from `draw` as there are images.
            source_hw: height and width of the images.

        Returns:
            Upper left corner of the picture, row and column; then for each patch the number of the
            image that it is from, its upper left corner there and that on the canvas.

        Raises:
            UsageError: the images are larger than the canvas, or smaller than a patch.
        """
        self._check_fits(source_hw)
        count, size = len(parameters), self.patch_size
        patches = parameters[:, 2:].reshape(count, self.num_patches, 5)
        others = 1 + whole(patches[..., 0], count - 1)
        cut = _corners(patches[..., 1:3], source_hw, (size, size))
        laid = _corners(patches[..., 3:], self.canvas_hw, (size, size))
        source = (np.arange(count)[:, None] + others) % count
        placed = np.concatenate([source[..., None], cut, laid], axis=-1)
        placed = placed.reshape(count, 5 * self.num_patches)
        picture = _corners(parameters[:, :2], self.canvas_hw, source_hw)
        return np.concatenate([picture, placed], axis=-1)

    def apply(
        self, images: Tensor, parameters: NDArray[np.float64], background: tuple[float, ...]
    ) -> Tensor:
        """Put uint8 images among patches of each other; see `base.Distortion`.

        Raises:
            UsageError: as `applied`.
        """
        placed = self.applied(parameters, (images.shape[-2], images.shape[-1]))
        patch_hw = (self.patch_size, self.patch_size)
        fill = torch.tensor(background, device=images.device).round().to(torch.uint8)
        canvases = images.new_empty((*images.shape[:2], *self.canvas_hw))
        canvases[:] = fill[:, None, None]
        count = images_at_once(CHUNK, self.canvas_hw)
        for start in range(0, len(images), count):
            rows = slice(start, start + count)
            canvas, chunk = canvases[rows], placed[rows]
            _paste(images[rows], canvas, chunk[:, :2], fill)
            for patch in chunk[:, 2:].reshape(len(chunk), -1, 5).swapaxes(0, 1):
                pieces = _cut(images, patch[:, 0], patch[:, 1:3], patch_hw)
                _paste(pieces, canvas, patch[:, 3:], fill)
        return canvases

    def _check_fits(self, image_hw: SizeHW) -> None:
        height, width = image_hw
        if height > self.canvas_hw[0] or width > self.canvas_hw[1]:
            raise UsageError(f"a canvas of {self.canvas_hw} holds no images of {image_hw}")
        if min(image_hw) < self.patch_size:
            raise UsageError(
                f"images of {image_hw} hold no patches of {self.patch_size} by "
                f"{self.patch_size} pixels"
            )


def _corners(unit: NDArray[np.float64], frame_hw: SizeHW, size_hw: SizeHW) -> NDArray[np.int64]:
    """Upper left corners ``(..., 2)``, row and column, of windows at random places of a frame."""
    places = [
        whole(drawn, frame - size + 1)
        for drawn, frame, size in zip(np.moveaxis(unit, -1, 0), frame_hw, size_hw, strict=True)
    ]
    return np.stack(places, axis=-1)


def _cut(
    images: Tensor, sources: NDArray[np.int64], corners: NDArray[np.int64], size_hw: SizeHW
) -> Tensor:
    """Windows ``(n, C, *size_hw)`` of the images of these numbers."""
    rows, columns = _window(corners, size_hw, images.device)
    which = torch.from_numpy(sources).to(images.device)[:, None, None]
    return images.movedim(1, -1)[which, rows, columns].movedim(-1, 1)


def _paste(pictures: Tensor, canvas: Tensor, corners: NDArray[np.int64], fill: Tensor) -> None:
    """Cover canvases ``(n, C, H, W)`` with pictures, in place."""
    size_hw = (pictures.shape[-2], pictures.shape[-1])
    rows, columns = _window(corners, size_hw, canvas.device)
    which = torch.arange(len(canvas), device=canvas.device)[:, None, None]
    pixels, above = canvas.movedim(1, -1), pictures.movedim(1, -1)
    below = pixels[which, rows, columns]
    hides = _contrast(above, fill) > _contrast(below, fill)
    pixels[which, rows, columns] = torch.where(hides, above, below)


def _window(
    corners: NDArray[np.int64], size_hw: SizeHW, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Rows ``(n, h, 1)`` and columns ``(n, 1, w)`` of windows with these upper left corners."""
    rows, columns = (
        torch.from_numpy(corner[:, None] + np.arange(size)).to(device)
        for corner, size in zip(corners.T, size_hw, strict=True)
    )
    return rows[:, :, None], columns[:, None, :]


def _contrast(pixels: Tensor, fill: Tensor) -> Tensor:
    """By how much uint8 pixels ``(..., C)`` differ from the background."""
    return torch.maximum(pixels, fill) - torch.minimum(pixels, fill)
