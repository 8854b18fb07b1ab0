"""Spatial transformer networks: the CNN behind a warp of its input."""

from __future__ import annotations

from typing import Any

from stn_core.models.backbone import convnet
from stn_core.models.registry import register_model

STN = "Jaderberg et al. 2015, arXiv 1506.02025"
COORDCONV = "Liu et al. 2018, arXiv 1807.03247"
DIFFEO = f"{STN}; Detlefsen et al. 2018, CVPR"
CPAB = f"{DIFFEO}; Freifeld et al. 2017, IEEE TPAMI 39(12)"

CORE: dict[str, tuple[str, dict[str, Any]]] = {
    "stn": (STN, {"warp": "affine"}),
    "stn_coordcls": (f"{STN}; {COORDCONV}", {"warp": "affine", "coordconv_classifier": True}),
    "stn_coordloc": (f"{STN}; {COORDCONV}", {"warp": "affine", "coordconv_localisation": True}),
    "stn_coordboth": (
        f"{STN}; {COORDCONV}",
        {"warp": "affine", "coordconv_localisation": True, "coordconv_classifier": True},
    ),
}
"""The STNs of a default run: name to source and switches of `convnet`."""

OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "stn_translation": (STN, {"warp": "translation"}),
    "stn_similarity": (STN, {"warp": "similarity"}),
    "stn_attention": (STN, {"warp": "attention"}),
    "stn_diffeo": (DIFFEO, {"warp": "affine_diffeo"}),
    "stn_diffeo_coordboth": (
        f"{DIFFEO}; {COORDCONV}",
        {"warp": "affine_diffeo", "coordconv_localisation": True, "coordconv_classifier": True},
    ),
    "stn_homography": (STN, {"warp": "homography"}),
    "stn_homography_diffeo": (DIFFEO, {"warp": "homography_diffeo"}),
    "stn_tps": (STN, {"warp": "tps"}),
    "stn_cpab": (CPAB, {"warp": "cpab"}),
}

for _name, (_source, _switches) in {**CORE, **OTHERS}.items():
    register_model(
        name=_name,
        family="stn",
        source=_source,
        starts_at_identity=True,
        core=_name in CORE,
        channels_last=True,
        switches=_switches,
    )(convnet)
