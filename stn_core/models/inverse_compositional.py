"""The inverse compositional STN: one localisation network, which looks again at what it warped."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.option_values import whole_number
from stn_core.geometry.sampling import Padding
from stn_core.geometry.warps import Warp, create_warp, list_warps, warp_for
from stn_core.layers.spatial_transformer import SpatialTransformer, WarpedImages
from stn_core.models.backbone import (
    CHANNELS,
    HIDDEN,
    KERNELS,
    LOCALISATION_CHANNELS,
    LOCALISATION_HIDDEN,
    LOCALISATION_KERNELS,
    check_size,
    classifier,
    classifier_stages,
    localisation,
    localisation_stages,
    smallest_side,
)
from stn_core.models.registry import Background, ImageShape, register_model
from stn_core.models.transformed import TransformedClassifier


class InverseCompositionalTransformer(SpatialTransformer):
    """Corrects its warp step by step (Lin & Lucey 2017, arXiv 1612.03897).

    Every step looks at the image as warped so far and predicts a small warp of what it sees. What
    is handed on are parameters, not pixels: each time the ORIGINAL image is sampled, by the
    composition of all steps. So nothing is lost that left the picture on the way, and the image is
    interpolated once, however many steps there are.

    A step is the identity plus the network's residual divided by the number of steps, so that one
    learning rate moves the whole warp about as far however many there are. (The authors' code does
    not divide, but trains this network at a hundredth of the STN's learning rate.)

    Convention:
        order: theta <- theta ∘ step, ``warp.compose(theta, step)``. What was seen is image ∘ theta;
            warping it by the step gives (image ∘ theta) ∘ step = image ∘ (theta ∘ step). So the
            step comes first, on output coordinates, the frame in which the network looks. That is
            the inverse compositional update p <- p ∘ Δp⁻¹ (Baker & Matthews 2004), whose Δp⁻¹ the
            network predicts as such.

    Args:
        warp: a family closed under composition.
        localisation: from images (B, C, H, W) to residuals (B, P), the same at every step.
        steps: how often it looks, at least 1; with 1 this is a ``SpatialTransformer``.
        sampler: as in ``SpatialTransformer``.
        padding: as in ``SpatialTransformer``.

    Raises:
        UsageError: the family is not closed under composition, ``steps`` is below 1, or as in
            ``SpatialTransformer``.
    """

    def __init__(
        self,
        warp: Warp,
        localisation: nn.Module,
        steps: int,
        sampler: str = "bilinear",
        padding: Padding = "zeros",
    ) -> None:
        if not warp.closed_under_composition:
            closed = [name for name in list_warps() if create_warp(name).closed_under_composition]
            raise UsageError(
                f"two {warp.name!r} warps in a row are not a warp of that family, so steps cannot "
                f"be composed; use {', '.join(closed[:-1])} or {closed[-1]}"
            )
        super().__init__(warp, localisation, sampler, padding)
        self.steps = whole_number("steps", steps, least=1)

    def transform(self, image: Tensor) -> WarpedImages:
        """Warp a batch and tell how.

        Args:
            image: (B, C, H, W).

        Returns:
            The warped images, the grid they were read from, and theta: all steps in one.
        """
        theta, seen = self.identity, image
        for _ in range(self.steps):
            step = self.identity + self.localise(seen) / self.steps
            theta = self.warp.compose(theta, step)
            warped = self.warp_by(theta, image)
            seen = warped.image
        return warped

    def extra_repr(self) -> str:
        """The warp, the sampler and the steps, for ``print(model)``."""
        return f"{super().extra_repr()}, steps={self.steps}"


@register_model(
    family="ic_stn",
    source="Lin & Lucey 2017, arXiv 1612.03897",
    starts_at_identity=True,
    channels_last=True,
)
def ic_stn(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    warp: str | Warp = "affine",
    steps: int = 4,
    sampler: str = "bilinear",
    channels: Sequence[int] = CHANNELS,
    kernels: Sequence[int] = KERNELS,
    hidden: int = HIDDEN,
    localisation_channels: Sequence[int] = LOCALISATION_CHANNELS,
    localisation_kernels: Sequence[int] = LOCALISATION_KERNELS,
    localisation_hidden: int = LOCALISATION_HIDDEN,
) -> nn.Module:
    """The STN whose localisation network looks ``steps`` times; with one step, the STN itself."""
    seeing = classifier_stages(channels, kernels)
    locating = localisation_stages(localisation_channels, localisation_kernels)
    check_size(in_shape[1:], max(smallest_side(seeing), smallest_side(locating)))
    classify = classifier(in_shape, num_classes, stages=seeing, hidden=hidden)
    family = warp_for(warp, in_shape[1:])
    locate = localisation(in_shape, family, stages=locating, hidden=localisation_hidden)
    transformer = InverseCompositionalTransformer(
        family, locate, steps, sampler, padding=background
    )
    return TransformedClassifier(transformer, classify)
