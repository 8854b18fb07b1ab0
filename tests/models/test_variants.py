"""A variant of a model is a name: how it is written, and that the model is what the name says."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stn_core.errors import UsageError
from stn_core.layers.coordconv import CoordConv2d
from stn_core.layers.spatial_transformer import SpatialTransformer
from stn_core.models import (
    create_model,
    list_models,
    looks_like_variant,
    model_info,
    model_name,
)
from stn_core.models.saved_models import read_saved_model, save_model
from stn_core.models.variants import parse_variant, variant_name
from stn_core.registry import split_names
from tests.configurations import configuration_of
from tests.models.parts import layers_of

GREY = (1, 28, 35)

words = st.from_regex(r"[a-z_][a-z0-9_.-]{0,8}", fullmatch=True).filter(
    lambda word: word not in ("true", "false", "none")
)
scalars = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    words,
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
options = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), values)


@given(options)
def test_a_variants_name_parses_to_its_options(given_options: dict[str, object]) -> None:
    name = variant_name("stn", given_options)
    if len(name) <= 500:
        assert parse_variant(name) == ("stn", given_options)
        assert variant_name(*parse_variant(name)) == name
        assert looks_like_variant(name) is bool(given_options)
        assert split_names(f"cnn,{name} , vit") == ["cnn", name, "vit"]
        assert not set(name) & {"/", " ", "\n"}


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("stn", "stn"),
        ("stn[]", "stn"),
        (" stn [ warp = tps ] ".strip(), "stn[warp=tps]"),
        ("stn[warp=tps,sampler=linearized]", "stn[sampler=linearized,warp=tps]"),
        ("stn[sampler=bilinear,warp=affine]", "stn"),
        ("stn[hidden=064]", "stn[hidden=64]"),
        ("stn[hidden=6.4e1]", "stn[hidden=64]"),
        ("stn[coordconv_classifier=True]", "stn[coordconv_classifier=true]"),
        ("stn[coordconv_classifier=false]", "stn"),
        ("cnn[channels=( 16, 32 ),kernels=(5,5)]", "cnn[channels=(16,32)]"),
        ("cnn[channels=(16,),kernels=(3)]", "cnn[channels=(16,),kernels=(3,)]"),
        ("ic_stn[steps=2]", "ic_stn[steps=2]"),
        ("vit[patch=None]", "vit"),
    ],
)
def test_two_spellings_of_a_variant_are_one_name(spelling: str, name: str) -> None:
    assert model_name(spelling) == name
    assert model_name(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stn[warp", "malformed model name 'stn.warp'; a variant is written like stn.warp=tps"),
        ("stn[warp]", "malformed model name"),
        ("stn[warp=]", "malformed model name"),
        ("stn[warp=tps]x", "malformed model name"),
        ("stn[warp=tps,]", "malformed model name"),
        ("stn[=tps]", "malformed model name"),
        ("[warp=tps]", "malformed model name"),
        ("stn[channels=(10,(20)]", "malformed model name"),
        ("stn[warp=a/b]", "malformed model name"),
        ("stn[warp='tps']", "malformed model name"),
        ("stn[hidden=1e999]", "malformed model name"),
        ("stn[warp=t\nps]", "malformed model name"),
        ("stn[warp=tps,warp=cpab]", "the option 'warp' is given twice"),
        ("stn[wrap=tps]", "model 'stn' has no option 'wrap'; its options: channels, .*, warp$"),
        ("stn_tps[warp=affine]", "model 'stn_tps' has no option 'warp'"),
        ("stnn[warp=tps]", "unknown model 'stnn'; did you mean stn"),
        ("stn[hidden=" + "9" * 600 + "]", "has 612 characters, more than 500"),
        ("stn[coordconv_classifier=yes]", "coordconv_classifier is true or false, not 'yes'"),
    ],
)
def test_a_malformed_or_unknown_name_gets_one_clear_line(name: str, message: str) -> None:
    for ask in (model_info, model_name, lambda name: create_model(name, GREY, 10)):
        with pytest.raises(UsageError, match=message) as mistake:
            ask(name)
        assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stn[warp=tsp]", "model 'stn.warp=tsp.': unknown warp 'tsp'; did you mean tps"),
        ("stn[warp=3]", "a warp is one of"),
        ("stn[sampler=3]", "a sampler is one of"),
        ("stn[head=3]", "unknown head '3'"),
        ("cnn[channels=10]", r"channels has one number for each stage, like \(10,20\), not 10"),
        ("cnn[channels=()]", "channels has one number for each stage"),
        ("cnn[channels=(10,x)]", "each of channels must be a whole number of at least 1; got 'x'"),
        ("cnn[kernels=(5,0)]", "each of kernels must be a whole number of at least 1; got 0"),
        ("cnn[channels=(8,8,8)]", "channels has 3 numbers and kernels 2; give one of each"),
        ("cnn[hidden=0]", "hidden must be a whole number of at least 1; got 0"),
        ("cnn[hidden=2.5]", "hidden must be a whole number of at least 1; got 2.5"),
        ("cnn[hidden=true]", "hidden must be a whole number of at least 1; got True"),
        ("vit[patch=true]", "a patch's side must be a whole number of at least 1; got True"),
        ("stn[localisation_hidden=wide]", "localisation_hidden must be a whole number"),
        ("stn[localisation_kernels=(7,)]", "localisation_channels has 2 .* localisation_kernels 1"),
        ("stn[head=spinal,hidden=9]", "a spinal head has no hidden layer"),
        ("cnn[kernels=(13,13)]", "28x35 is too small; the smallest is 40x40"),
        ("polar[kernels=(5,4)]", "odd sides"),
        ("st_fcn_affine[transformers=0]", "transformers must be a whole number"),
        ("resnext[weights=3]", "weights is the path of a file, not 3"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_reported_with_the_model(
    name: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as mistake:
        create_model(name, GREY, 10)
    assert str(mistake.value).startswith(f"model {name!r}: ")
    assert "\n" not in str(mistake.value)


def test_an_option_in_the_name_and_beside_it_is_refused() -> None:
    with pytest.raises(UsageError, match="the option 'warp' is given twice"):
        create_model("stn[warp=tps]", GREY, 10, warp="cpab")
    model = create_model("stn[warp=tps]", GREY, 10, sampler="nearest")
    (transformer,) = layers_of(model, SpatialTransformer)
    assert (transformer.warp.name, transformer.sampler) == ("tps", "nearest")


def test_a_variant_has_its_models_information_and_is_not_core() -> None:
    info = model_info("stn[warp=tps]")
    assert (info.family, info.channels_last, info.core) == ("stn", True, False)
    assert model_info("stn[]") == model_info("stn")
    assert "stn[warp=tps]" not in list_models()


def test_a_variant_is_the_model_that_its_options_describe() -> None:
    torch.manual_seed(0)
    by_name = create_model("stn[sampler=linearized,warp=tps]", GREY, 10)
    torch.manual_seed(0)
    by_keyword = create_model("stn_tps", GREY, 10, sampler="linearized")
    assert repr(by_name) == repr(by_keyword)
    for ours, theirs in itertools.zip_longest(by_name.parameters(), by_keyword.parameters()):
        assert torch.equal(ours, theirs)


def convolutions_of(model: nn.Module) -> list[tuple[int, int]]:
    return [(conv.out_channels, conv.kernel_size[0]) for conv in layers_of(model, nn.Conv2d)]


@pytest.mark.parametrize(
    ("base", "localises"),
    [
        ("cnn", False),
        ("coordconv_cnn", False),
        ("stn", True),
        ("stn_coordboth", True),
        ("stn_cpab", True),
        ("ic_stn", True),
    ],
)
def test_widths_and_kernels_are_the_networks(base: str, localises: bool) -> None:
    name = f"{base}[channels=(6,7,8),kernels=(3,3,2),hidden=11]"
    sizes = [(6, 3), (7, 3), (8, 2)]
    if localises:
        name = name[:-1] + ",localisation_channels=(4,),localisation_kernels=(9,)"
        name += ",localisation_hidden=13]"
        sizes = [(4, 9), *sizes]
    model = create_model(name, GREY, 10).eval()
    assert convolutions_of(model) == sizes
    widths = {layer.out_features for layer in layers_of(model, nn.Linear)}
    assert {10, 11} <= widths
    assert (13 in widths) is localises
    assert model(torch.zeros(2, *GREY)).shape == (2, 10)
    dropouts = [layer.p for layer in layers_of(model, nn.Dropout2d)]
    assert dropouts == [0.5]


@pytest.mark.parametrize(
    "name",
    [
        "deform_cnn[channels=(3,4),kernels=(3,3),hidden=9]",
        "polar[channels=(3,4),kernels=(3,3),hidden=9]",
        "stn_shared[channels=(3,4),kernels=(3,3),hidden=9,localisation_hidden=5,warp=tps]",
        "spinal[channels=(3,4),kernels=(3,3)]",
        "spinal_stn_coordcls[channels=(3,4),localisation_hidden=5,warp=similarity]",
    ],
)
def test_the_other_models_of_the_backbone_take_its_sizes(name: str) -> None:
    model = create_model(name, (2, 30, 35), 5).eval()
    assert model(torch.zeros(2, 2, 30, 35)).shape == (2, 5)
    assert {3, 4} <= {out_channels for out_channels, _ in convolutions_of(model)}
    assert "hidden=9" not in name or 9 in {m.out_features for m in layers_of(model, nn.Linear)}


def test_coordconv_is_an_option_of_the_stn() -> None:
    model = create_model("stn[coordconv_localisation=true]", GREY, 10)
    (transformer,) = layers_of(model, SpatialTransformer)
    assert len(layers_of(transformer, CoordConv2d)) == len(layers_of(model, CoordConv2d)) == 2


def test_a_saved_variant_is_loaded_by_its_name(tmp_path: Path) -> None:
    name = "stn[channels=(3,4),warp=similarity]"
    model = create_model(name, GREY, 10, 0.25).eval().to(memory_format=torch.channels_last)
    images = torch.rand(3, *GREY)
    configuration = configuration_of(name, GREY, 10, background=(0.25,))
    save_model(tmp_path / "model.safetensors", model, configuration)
    saved = read_saved_model(tmp_path / "model.safetensors")
    assert saved.configuration.model == name
    assert torch.equal(saved.model(images), model(images))


def test_a_shell_pattern_does_not_look_like_a_variant() -> None:
    assert not any(map(looks_like_variant, ("stn", "stn_[ct]*", "stn*", "[ct]nn", "stn_[!c]")))
    assert all(map(looks_like_variant, ("stn[warp=tps]", "stn[]", "stn[a=1,b=(2,3)]")))
