"""Images warped: warp, then sample."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stn_core.errors import UsageError
from stn_core.geometry.sampling import Padding, sample
from stn_core.geometry.warps import warp_for
from stn_core.geometry.warps.base import Warp


def warp_image(
    image: Tensor,
    warp: Warp | str,
    theta: Tensor,
    size_hw: tuple[int, int] | None = None,
    mode: str = "bilinear",
    padding: Padding = "zeros",
) -> Tensor:
    """Warp images by parameters given by hand.

    The values of theta are checked, which waits for the device; a network that predicts theta uses
    ``SpatialTransformer``, in which NaN flows through.

    Args:
        image: (B, C, H, W), floating point.
        warp: a warp from ``create_warp``, or a family's name: then a turn is rigid in the image's
            pixels (see ``warp_for``).
        theta: (B, P), or (P,) or (1, P) for all images.
        size_hw: height and width of the result in pixels; the image's by default.
        mode: one of ``list_samplers()``.
        padding: what lies outside the image, as in ``sample``.

    Returns:
        The warped images (B, C, h, w), in the images' dtype.

    Raises:
        UsageError: an unknown warp, mode or padding, theta of another family, of another batch or
            with a value that is not finite, a ``size_hw`` that is no size, or an image that
            ``sample`` refuses.
    """
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
    return warp_and_sample(image, warp, theta, size_hw or image_hw, mode, padding)[0]


def warp_and_sample(
    image: Tensor,
    warp: Warp,
    theta: Tensor,
    size_hw: tuple[int, int],
    mode: str,
    padding: Padding,
) -> tuple[Tensor, Tensor]:
    """Warp images and tell where each pixel was read; the values of theta are not looked at.

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
