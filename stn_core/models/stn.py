"""Spatial transformer networks: the CNN behind a warp of its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from stn_core.geometry.warps import Warp
from stn_core.models.backbone import CLASSIFIER_OPTIONS, LOCALISATION_OPTIONS, convnet
from stn_core.models.registry import Background, ImageShape, register_model

STN = "Jaderberg et al. 2015, arXiv 1506.02025"
COORDCONV = "Liu et al. 2018, arXiv 1807.03247"
DIFFEO = f"{STN}; Detlefsen et al. 2018, CVPR"
CPAB = f"{DIFFEO}; Freifeld et al. 2017, IEEE TPAMI 39(12)"

WIDTHS = {**CLASSIFIER_OPTIONS, **LOCALISATION_OPTIONS, "head": "dense"}
OPTIONS = {**WIDTHS, "coordconv_localisation": False, "coordconv_classifier": False}

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])


def _stn(
    source: str, *, core: bool = False, options: Mapping[str, Any] = OPTIONS
) -> Callable[[Builder], Builder]:
    return register_model(
        family="stn",
        source=source,
        starts_at_identity=True,
        core=core,
        channels_last=True,
        tags=("CoordConv",) if COORDCONV in source else (),
        options=options,
    )


@_stn(STN, core=True)
def stn(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    warp: str | Warp = "affine",
    **options: Any,
) -> nn.Module:
    """The CNN behind an affine warp, or any other."""
    return convnet(in_shape, num_classes, background, warp=warp, **options)


@_stn(f"{STN}; {COORDCONV}", core=True, options=WIDTHS)
def stn_coordcls(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    warp: str | Warp = "affine",
    **options: Any,
) -> nn.Module:
    """The STN with CoordConv in the classifier."""
    return convnet(
        in_shape, num_classes, background, warp=warp, coordconv_classifier=True, **options
    )


@_stn(f"{STN}; {COORDCONV}", core=True, options=WIDTHS)
def stn_coordloc(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    warp: str | Warp = "affine",
    **options: Any,
) -> nn.Module:
    """The STN with CoordConv in the localisation network."""
    return convnet(
        in_shape, num_classes, background, warp=warp, coordconv_localisation=True, **options
    )


@_stn(f"{STN}; {COORDCONV}", core=True, options=WIDTHS)
def stn_coordboth(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    warp: str | Warp = "affine",
    **options: Any,
) -> nn.Module:
    """The STN with CoordConv in both networks."""
    return convnet(
        in_shape,
        num_classes,
        background,
        warp=warp,
        coordconv_localisation=True,
        coordconv_classifier=True,
        **options,
    )


@_stn(STN)
def stn_translation(
    in_shape: ImageShape, num_classes: int, background: Background, **options: Any
) -> nn.Module:
    """The STN that shifts."""
    return convnet(in_shape, num_classes, background, warp="translation", **options)


@_stn(STN)
def stn_similarity(
    in_shape: ImageShape, num_classes: int, background: Background, **options: Any
) -> nn.Module:
    """The STN that turns, scales and shifts."""
    return convnet(in_shape, num_classes, background, warp="similarity", **options)


@_stn(STN)
def stn_attention(
    in_shape: ImageShape, num_classes: int, background: Background, **options: Any
) -> nn.Module:
    """The STN that zooms and shifts."""
    return convnet(in_shape, num_classes, background, warp="attention", **options)


@_stn(DIFFEO)
def stn_diffeo(
    in_shape: ImageShape, num_classes: int, background: Background, **options: Any
) -> nn.Module:
    """The STN whose affine warp is always invertible."""
    return convnet(in_shape, num_classes, background, warp="affine_diffeo", **options)


@_stn(f"{DIFFEO}; {COORDCONV}", options=WIDTHS)
def stn_diffeo_coordboth(
    in_shape: ImageShape, num_classes: int, background: Background, **options: Any
) -> nn.Module:
    """The STN whose affine warp is always invertible, with CoordConv in both networks."""
    return convnet(
        in_shape,
        num_classes,
        background,
        warp="affine_diffeo",
        coordconv_localisation=True,
        coordconv_classifier=True,
        **options,
    )


@_stn(STN)
def stn_homography(
    in_shape: ImageShape, num_classes: int, background: Background, **options: Any
) -> nn.Module:
    """The STN with a homography."""
    return convnet(in_shape, num_classes, background, warp="homography", **options)


@_stn(DIFFEO)
def stn_homography_diffeo(
    in_shape: ImageShape, num_classes: int, background: Background, **options: Any
) -> nn.Module:
    """The STN whose homography is always invertible."""
    return convnet(in_shape, num_classes, background, warp="homography_diffeo", **options)


@_stn(STN)
def stn_tps(
    in_shape: ImageShape, num_classes: int, background: Background, **options: Any
) -> nn.Module:
    """The STN with a thin-plate spline."""
    return convnet(in_shape, num_classes, background, warp="tps", **options)


@_stn(CPAB)
def stn_cpab(
    in_shape: ImageShape, num_classes: int, background: Background, **options: Any
) -> nn.Module:
    """The STN with a continuous piecewise-affine flow."""
    return convnet(in_shape, num_classes, background, warp="cpab", **options)
