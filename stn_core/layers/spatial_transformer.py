"""The spatial transformer: localise, warp, sample (Jaderberg et al. 2015, arXiv 1506.02025)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.option_values import size_in_pixels
from stn_core.geometry.precision import working_dtype
from stn_core.geometry.sampling import Padding, check_sampler
from stn_core.geometry.sampling.padding import parse_padding
from stn_core.geometry.warp_image import warp_and_sample
from stn_core.geometry.warps import create_warp
from stn_core.geometry.warps.base import Warp


class WarpedImages(NamedTuple):
    """What a spatial transformer made of a batch: the images, and where they were read.

    Attributes:
        image: (B, C, h, w), the warped images.
        grid: (B, h, w, 2), the input coordinates (x, y) that each output pixel was read from.
        theta: (B, P), the parameters of the warp.
    """

    image: Tensor
    grid: Tensor
    theta: Tensor


def zero_residual_head(in_features: int, warp: Warp | str) -> nn.Linear:
    """The last layer of a localisation network: it predicts no residual until it has learnt.

    Args:
        in_features: width of the features before it.
        warp: the warp whose parameters it predicts, or its name.

    Returns:
        A linear layer from (B, in_features) to (B, P) whose weights and biases are 0, so
        that a spatial transformer starts exactly at the identity.

    Raises:
        UsageError: an unknown warp.
    """
    head = nn.Linear(in_features, _made(warp).num_params)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def _made(warp: Warp | str) -> Warp:
    return warp if isinstance(warp, Warp) else create_warp(warp)


class SpatialTransformer(nn.Module):
    """Lets a network move its input: theta = identity + localisation(image), then warp and sample.

    Args:
        warp: a family of warps, from ``stn_core.create_warp``, or its name. Images that are not
            square need ``stn_core.geometry.warps.warp_for`` if a warp is to turn them rigidly.
        localisation: from images (B, C, H, W) to residuals (B, P); end it with
            ``zero_residual_head`` to start at the identity.
        sampler: one of ``stn_core.geometry.sampling.list_samplers()``.
        padding: what lies outside the image, as in ``stn_core.geometry.sampling.sample``.
        out_size: (h, w) of the warped image; the input's by default.

    Raises:
        UsageError: an unknown warp, sampler or padding, a fill that is not finite, or an
            ``out_size`` that is no size.
    """

    identity: Tensor
    fill: Tensor | None

    def __init__(
        self,
        warp: Warp | str,
        localisation: nn.Module,
        sampler: str = "bilinear",
        padding: Padding = "zeros",
        out_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        # So that mistakes are reported here, not at the first batch.
        check_sampler(sampler)
        self.warp = _made(warp)
        self.localisation = localisation
        self.sampler = sampler
        self.out_size = None if out_size is None else size_in_pixels("out_size", out_size)
        # Buffers, so that both move with the module; not saved, for they are not learnt.
        self.register_buffer("identity", self.warp.identity(), persistent=False)
        self.register_buffer("fill", None, persistent=False)
        self.edge, self._fill_values = parse_padding(padding)
        if any(self._fill_values):
            self.fill = torch.tensor(self._fill_values)

    def forward(self, image: Tensor) -> Tensor:
        """Warp a batch: (B, C, H, W) to (B, C, h, w)."""
        return self.transform(image).image

    def transform(self, image: Tensor) -> WarpedImages:
        """Warp a batch and tell how.

        Args:
            image: (B, C, H, W).

        Returns:
            The warped images, the grid they were read from, and theta.

        Raises:
            UsageError: the localisation network's output does not fit the warp.
        """
        residual = self.localise(image)
        theta = self.identity + residual
        return self.warp_by(theta, image)

    def localise(self, image: Tensor) -> Tensor:
        """The localisation network's residuals (B, P) for images (B, C, H, W), their shape checked.

        Raises:
            UsageError: it does not fit the warp.
        """
        residual: Tensor = self.localisation(image)
        expected = (image.shape[0], self.warp.num_params)
        if tuple(residual.shape) != expected:
            raise UsageError(
                f"the localisation network gave {tuple(residual.shape)}, but the warp "
                f"{self.warp.name!r} has {expected[1]} parameters: it must give {expected}"
            )
        return residual

    def warp_by(self, theta: Tensor, image: Tensor) -> WarpedImages:
        """Images (B, C, H, W) warped by theta (B, P), with their grid and theta."""
        height, width = self.out_size or image.shape[-2:]
        padding = self.edge if self.fill is None else self.fill
        warped, grid = warp_and_sample(
            image, self.warp, theta, (height, width), self.sampler, padding
        )
        return WarpedImages(warped, grid, theta)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch has no types for it
        # Made again on the new device: module.to_empty() leaves buffers without values, and no
        # saved state has these. The identity, and with it theta, stays float32 at least: bfloat16
        # has no number between 1 and 1.0078.
        dtype = working_dtype(self.identity)
        self.identity = self.warp.identity(device=self.identity.device, dtype=dtype)
        if self.fill is not None:
            self.fill = self.fill.new_tensor(self._fill_values)
        return self

    def extra_repr(self) -> str:
        """The warp and the sampler, for ``print(model)``."""
        return f"warp={self.warp.name}, sampler={self.sampler}, out_size={self.out_size}"
