"""Images warped: warp, then sample."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stn_core.errors import UsageError
from stn_core.geometry.sampling import Padding, sample
from stn_core.geometry.warps import warp_for
from stn_core.geometry.warps.base import Warp


@overload
def warp_image(
    image: Tensor,
    warp: Warp | str,
    theta: Tensor,
    size_hw: tuple[int, int] | None = ...,
    mode: str = ...,
    padding: Padding = ...,
) -> Tensor: ...
@overload
def warp_image(
    image: NDArray[np.uint8],
    warp: Warp | str,
    theta: Tensor | NDArray[Any],
    size_hw: tuple[int, int] | None = ...,
    mode: str = ...,
    padding: Padding = ...,
) -> NDArray[np.uint8]: ...
def warp_image(
    image: Any,
    warp: Warp | str,
    theta: Tensor | NDArray[Any],
    size_hw: tuple[int, int] | None = None,
    mode: str = "bilinear",
    padding: Padding = "zeros",
) -> Tensor | NDArray[np.uint8]:
    """Warp images by parameters given by hand.

    The values of theta are checked, which waits for the device; a network that predicts theta uses
    ``SpatialTransformer``, in which NaN flows through.

    >>> from stn_core import warp_image
    >>> photograph = np.arange(8, dtype=np.uint8).reshape(2, 4, 1)
    >>> half_a_width = np.array([1.0, 0.0])  # the picture moves to the left
    >>> warp_image(photograph, "translation", half_a_width, padding=99)[..., 0]
    array([[ 2,  3, 99, 99],
           [ 6,  7, 99, 99]], dtype=uint8)

    Args:
        image: a tensor (B, C, H, W), floating point; or one image as an array, uint8, (H, W, C) or
            (H, W), as Pillow, OpenCV and scikit-image have it.
        warp: a warp from ``create_warp``, or a family's name: then a turn is rigid in the image's
            pixels (see ``warp_for``).
        theta: (B, P), or (P,) or (1, P) for all images; of an array it may be an array.
        size_hw: height and width of the result in pixels; the image's by default.
        mode: one of ``list_samplers()``.
        padding: what lies outside the image, as in ``sample``; a fill of an array is in 0 to 255.

    Returns:
        The warped images (B, C, h, w), in the images' dtype; of an array an array, uint8, (h, w, C)
        or (h, w).

    Raises:
        UsageError: an unknown warp, mode or padding, theta of another family, of another batch or
            with a value that is not finite, a ``size_hw`` that is no size, or an image that
            ``sample`` refuses, or an array that is not uint8.
    """
    if isinstance(theta, np.ndarray):
        theta = _theta_of(theta)
    if isinstance(image, np.ndarray):
        pixels = _pixels_of(image)
        warped = warp_image(pixels, warp, theta, size_hw, mode, padding)
        return _array_of(warped, channels=image.shape[2:])
    if not isinstance(image, Tensor):
        kind = type(image).__name__
        raise UsageError(
            f"an image must be a tensor or a numpy array (np.asarray(image)); got a {kind}"
        )
    if image.ndim != 4:
        raise UsageError(f"warp_image needs images (B, C, H, W); got {tuple(image.shape)}")
    image_hw = (image.shape[-2], image.shape[-1])
    warp = warp_for(warp, image_hw)
    warp.validate(theta)
    batch = image.shape[0]
    if theta.ndim > 2 or (theta.ndim == 2 and theta.shape[0] not in (1, batch)):
        raise UsageError(
            f"theta must be ({warp.num_params},) or ({batch}, {warp.num_params}) for images of"
            f" {tuple(image.shape)}; got {tuple(theta.shape)}"
        )
    theta = theta.expand(batch, warp.num_params)
    size_hw = image_hw if size_hw is None else size_hw
    return warp_and_sample(image, warp, theta, size_hw, mode, padding)[0]


def _theta_of(theta: NDArray[Any]) -> Tensor:
    """Parameters copied into a tensor: an array may be read-only or have negative strides.

    Torch has no numbers of more than 64 bits, and none in the other byte order.
    """
    if theta.dtype.kind not in "fiu":
        raise UsageError(f"theta must hold numbers; got an array of {theta.dtype}")
    dtype = np.float64 if theta.dtype.itemsize > 8 else theta.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(theta, dtype, order="C"))


def _pixels_of(image: NDArray[np.uint8]) -> Tensor:
    """An array (H, W, C) or (H, W) as images (1, C, H, W)."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise UsageError(
            f"an image that is an array is uint8, (H, W, C) or (H, W); got {image.dtype} of shape "
            f"{image.shape}"
        )
    pixels = torch.from_numpy(np.array(image, np.float32, order="C"))  # a copy: it may be read-only
    return pixels.reshape(*image.shape[:2], -1).permute(2, 0, 1)[None]


def _array_of(pixels: Tensor, channels: tuple[int, ...]) -> NDArray[np.uint8]:
    """Images (1, C, H, W) as an array (H, W, C), or (H, W) without an axis of channels."""
    rounded = pixels[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    array: NDArray[np.uint8] = rounded.reshape(*rounded.shape[:2], *channels).numpy(force=True)
    return np.ascontiguousarray(array)


def warp_and_sample(
    image: Tensor,
    warp: Warp,
    theta: Tensor,
    size_hw: tuple[int, int],
    mode: str,
    padding: Padding,
) -> tuple[Tensor, Tensor]:
    """Warp images and tell where each pixel was read; the values of theta are not looked at.

    >>> from stn_core import create_warp
    >>> warp = create_warp("affine")
    >>> image, theta = torch.rand(1, 3, 4, 6), warp.identity()[None]
    >>> warped, grid = warp_and_sample(image, warp, theta, (2, 3), "bilinear", "zeros")
    >>> warped.shape, grid.shape
    (torch.Size([1, 3, 2, 3]), torch.Size([1, 2, 3, 2]))

    Args:
        image: (B, C, H, W).
        warp: the family.
        theta: (B, P).
        size_hw: height and width of the result.
        mode: as in ``sample``.
        padding: as in ``sample``.

    Returns:
        The warped images (B, C, h, w) and the grid (B, h, w, 2).
    """
    grid = warp.grid(theta, size_hw)
    if mode != "antialiased" or 1 not in size_hw:
        return sample(image, grid, mode, padding), grid
    # A single pixel has no neighbour to tell how much of the input it covers; its halves do.
    halves = [2 if n == 1 < m else 1 for n, m in zip(size_hw, image.shape[-2:], strict=True)]
    finer = warp.grid(theta, (size_hw[0] * halves[0], size_hw[1] * halves[1]))
    return F.avg_pool2d(sample(image, finer, mode, padding), halves), grid
