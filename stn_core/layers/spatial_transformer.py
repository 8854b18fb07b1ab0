"""The spatial transformer: localise, warp, sample (Jaderberg et al. 2015, arXiv 1506.02025)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.sampling import SAMPLERS, Padding, sample
from stn_core.sampling.padding import edge_named
from stn_core.warps.base import Warp


class Warped(NamedTuple):
    """What a spatial transformer made of a batch.

    Attributes:
        image: (B, C, h, w), the warped images.
        grid: (B, h, w, 2), the input coordinates (x, y) that each output pixel was read from.
        theta: (B, P), the parameters of the warp.
    """

    image: Tensor
    grid: Tensor
    theta: Tensor


def zero_residual_head(in_features: int, warp: Warp) -> nn.Linear:
    """The last layer of a localisation network: it predicts no residual until it has learnt.

    Args:
        in_features: width of the features before it.
        warp: the warp whose parameters it predicts.

    Returns:
        A linear layer from (B, in_features) to (B, P) whose weights and biases are 0, so
        that a spatial transformer starts exactly at the identity.
    """
    head = nn.Linear(in_features, warp.num_params)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class SpatialTransformer(nn.Module):
    """Lets a network move its input: theta = identity + localisation(image), then warp and sample.

    Args:
        warp: a family of warps, from ``stn_core.warps.create_warp``.
        localisation: from images (B, C, H, W) to residuals (B, P); end it with
            ``zero_residual_head`` to start at the identity.
        sampler: one of ``stn_core.sampling.list_samplers()``.
        padding: what lies outside the image, as in ``stn_core.sampling.sample``.
        out_size: (h, w) of the warped image; the input's by default.

    Raises:
        UsageError: an unknown sampler or padding.
    """

    identity: Tensor
    fill: Tensor | None

    def __init__(
        self,
        warp: Warp,
        localisation: nn.Module,
        sampler: str = "bilinear",
        padding: Padding = "zeros",
        out_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        SAMPLERS[sampler]  # an unknown name is told here, not at the first batch
        self.warp = warp
        self.localisation = localisation
        self.sampler = sampler
        self.out_size = out_size
        # Buffers, so that both move with the module; not saved, for they are not learnt.
        self.register_buffer("identity", warp.identity(), persistent=False)
        self.register_buffer("fill", None, persistent=False)
        self.edge = edge_named(padding) if isinstance(padding, str) else "zeros"
        if not isinstance(padding, str):
            fill = torch.as_tensor(padding, dtype=torch.get_default_dtype()).detach().clone()
            if fill.any():
                self.fill = fill

    def forward(self, image: Tensor) -> Tensor:
        """Warp a batch: (B, C, H, W) to (B, C, h, w)."""
        return self.transform(image).image

    def transform(self, image: Tensor) -> Warped:
        """Warp a batch and tell how.

        Args:
            image: (B, C, H, W).

        Returns:
            The warped images, the grid they were read from, and theta.

        Raises:
            UsageError: the localisation network's output does not fit the warp.
        """
        residual = self.localisation(image)
        expected = (image.shape[0], self.warp.num_params)
        if tuple(residual.shape) != expected:
            raise UsageError(
                f"the localisation network gave {tuple(residual.shape)}, but the warp "
                f"{self.warp.name!r} has {expected[1]} parameters: it must give {expected}"
            )
        theta = self.identity + residual
        height, width = self.out_size or image.shape[-2:]
        grid = self.warp.grid(theta, (height, width))
        padding = self.edge if self.fill is None else self.fill
        return Warped(sample(image, grid, self.sampler, padding), grid, theta)

    def extra_repr(self) -> str:
        """The warp and the sampler, for ``print(model)``."""
        return f"warp={self.warp.name}, sampler={self.sampler}, out_size={self.out_size}"
