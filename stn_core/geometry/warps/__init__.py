"""Warps: families of maps that say where each output pixel looks in the input."""

from __future__ import annotations

import inspect
from typing import Any

from stn_core.errors import UsageError
from stn_core.geometry.warps.affine import Affine, Attention, Rotation, Similarity, Translation
from stn_core.geometry.warps.base import Warp
from stn_core.geometry.warps.cpab import CPAB
from stn_core.geometry.warps.diffeomorphic import AffineDiffeo, HomographyDiffeo
from stn_core.geometry.warps.families import FAMILIES, family_named
from stn_core.geometry.warps.homography import Homography
from stn_core.geometry.warps.thin_plate_spline import ThinPlateSpline


def register_warp(family: type[Warp]) -> type[Warp]:
    """Class decorator: make a family available to ``create_warp`` under its ``name``.

    ::

        @register_warp
        class Shear(MatrixWarp):
            name = "shear"
            num_params = 1

            def _matrix(self, theta):
                unchanged = theta.new_tensor([[1.0, 0, 0], [0, 1, 0]])
                return unchanged + theta[..., None] * theta.new_tensor([[0.0, 1, 0], [0, 0, 0]])

            def _inverse(self, theta):
                return -theta

    >>> register_warp(Affine)
    Traceback (most recent call last):
    stn_core.errors.UsageError: the warp 'affine' is registered already; choose another name

    Args:
        family: a subclass of ``Warp`` whose options all have defaults.

    Raises:
        UsageError: the name is taken.
    """
    FAMILIES.add(family.name, family)
    return family


def create_warp(name: str, **options: Any) -> Warp:
    """Build a warp.

    >>> create_warp("tps", n=3)
    ThinPlateSpline(name='tps', num_params=18)

    Args:
        name: one of ``list_warps()``.
        **options: the family's own; its class documents them.

    Raises:
        UsageError: an unknown name, an unknown option, or a value the family refuses.
    """
    family = family_named(name)
    allowed = _options_of(family)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise UsageError(
            f"the warp {name!r} has no option {', '.join(unknown)};"
            f" its options: {', '.join(allowed) or 'none'}"
        )
    return family(**options)


def warp_for(warp: Warp | str, size_hw: tuple[int, int]) -> Warp:
    """A warp of images of that height and width.

    A family whose turns are rigid in a frame of some ``aspect`` gets the image's, so that a disc
    stays a disc on an image that is not square.

    >>> warp_for("rotation", (20, 30)).aspect
    1.5

    Args:
        warp: one that is made already, which is given back, or the name of a family.
        size_hw: height and width of the images in pixels.

    Raises:
        UsageError: an unknown name.
    """
    if isinstance(warp, Warp):
        return warp
    height, width = size_hw
    rigid = "aspect" in _options_of(family_named(warp))
    return create_warp(warp, **({"aspect": width / height} if rigid else {}))


def _options_of(family: type[Warp]) -> list[str]:
    return [
        option.name
        for option in inspect.signature(family).parameters.values()
        if option.kind in (option.POSITIONAL_OR_KEYWORD, option.KEYWORD_ONLY)
    ]


def list_warps(pattern: str = "*") -> list[str]:
    """The names of all families that match a shell pattern, sorted.

    >>> list_warps("*_diffeo")
    ['affine_diffeo', 'homography_diffeo']
    """
    return FAMILIES.names(pattern)


for _family in (
    Translation,
    Rotation,
    Similarity,
    Attention,
    Affine,
    AffineDiffeo,
    Homography,
    HomographyDiffeo,
    ThinPlateSpline,
    CPAB,
):
    register_warp(_family)

__all__ = [
    "CPAB",
    "Affine",
    "AffineDiffeo",
    "Attention",
    "Homography",
    "HomographyDiffeo",
    "Rotation",
    "Similarity",
    "ThinPlateSpline",
    "Translation",
    "Warp",
    "create_warp",
    "list_warps",
    "register_warp",
    "warp_for",
]
