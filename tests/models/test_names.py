"""A registered name is made of the parts it speaks of: its warp, its convolutions, its head."""

from __future__ import annotations

import pytest

from stn_core.geometry.warps import create_warp
from stn_core.layers.coordconv import CoordConv2d
from stn_core.layers.spatial_transformer import SpatialTransformer
from stn_core.layers.spinal import SpinalHead
from stn_core.models import create_model, list_models, model_info
from tests.models.parts import layers_of

WARPS = {
    "ic_stn": "affine",
    "resnext_stn": "attention",
    "spinal_stn_coordcls": "affine",
    "st_cnn_affine": "affine",
    "st_cnn_homography": "homography",
    "st_cnn_tps": "tps",
    "st_fcn_affine": "affine",
    "st_fcn_double": "affine",
    "st_fcn_homography": "homography",
    "st_fcn_tps": "tps",
    "stn": "affine",
    "stn_attention": "attention",
    "stn_coordboth": "affine",
    "stn_coordcls": "affine",
    "stn_coordloc": "affine",
    "stn_cpab": "cpab",
    "stn_diffeo": "affine_diffeo",
    "stn_diffeo_coordboth": "affine_diffeo",
    "stn_homography": "homography",
    "stn_homography_diffeo": "homography_diffeo",
    "stn_shared": "affine",
    "stn_similarity": "similarity",
    "stn_tps": "tps",
    "stn_translation": "translation",
}
COORDCONV_LOCALISES = {"stn_coordloc", "stn_coordboth", "stn_diffeo_coordboth"}
COORDCONV_CLASSIFIES = {
    "coordconv_cnn",
    "spinal_stn_coordcls",
    "stn_coordcls",
    "stn_coordboth",
    "stn_diffeo_coordboth",
}
SPINAL = {"spinal", "spinal_stn_coordcls", "spinal_vit"}
OF_PICTURES = sorted({*list_models()} - {*list_models("coordinates_*")})


@pytest.mark.parametrize("name", OF_PICTURES)
def test_a_variants_name_decides_how_the_model_is_built(name: str) -> None:
    small = {"blocks": (1, 1, 1, 1)} if model_info(name).family == "resnext" else {}
    model = create_model(name, (2, 56, 42), num_classes=10, **small)
    transformers = layers_of(model, SpatialTransformer)
    warps = {create_warp(WARPS[name]).name} if name in WARPS else set()
    assert {transformer.warp.name for transformer in transformers} == warps
    localising = [conv for layer in transformers for conv in layers_of(layer, CoordConv2d)]
    assert bool(localising) is (name in COORDCONV_LOCALISES)
    classifying = len(layers_of(model, CoordConv2d)) > len(localising)
    assert classifying is (name in COORDCONV_CLASSIFIES)
    assert bool(layers_of(model, SpinalHead)) is (name in SPINAL)


def test_every_model_with_a_transformer_is_mentioned() -> None:
    starting_at_the_identity = {n for n in list_models() if model_info(n).starts_at_identity}
    assert set(WARPS) == starting_at_the_identity <= set(OF_PICTURES)
