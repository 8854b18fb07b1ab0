"""Warps: families of maps that say where each output pixel looks in the input."""

from __future__ import annotations

import inspect
from typing import Any

from stn_core.errors import UsageError
from stn_core.warps.affine import Affine, Attention, Rotation, Similarity, Translation
from stn_core.warps.base import Warp
from stn_core.warps.cpab import CPAB
from stn_core.warps.diffeomorphic import AffineDiffeo, HomographyDiffeo
from stn_core.warps.families import FAMILIES, family_named
from stn_core.warps.homography import Homography
from stn_core.warps.thin_plate_spline import ThinPlateSpline


def register_warp(family: type[Warp]) -> type[Warp]:
    """Class decorator: make a family available to ``create_warp`` under its ``name``.

    Args:
        family: a subclass of ``Warp`` whose options all have defaults.

    Raises:
        UsageError: the name is taken.
    """
    FAMILIES.add(family.name, family)
    return family


def create_warp(name: str, **options: Any) -> Warp:
    """Build a warp.

    Args:
        name: one of ``list_warps()``.
        **options: the family's own; its class documents them.

    Raises:
        UsageError: an unknown name, an unknown option, or a value the family refuses.
    """
    family = family_named(name)
    allowed = [
        option.name
        for option in inspect.signature(family).parameters.values()
        if option.kind in (option.POSITIONAL_OR_KEYWORD, option.KEYWORD_ONLY)
    ]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise UsageError(
            f"the warp {name!r} has no option {', '.join(unknown)};"
            f" its options: {', '.join(allowed) or 'none'}"
        )
    return family(**options)


def list_warps(pattern: str = "*") -> list[str]:
    """The names of all families that match a shell pattern, sorted."""
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
]
