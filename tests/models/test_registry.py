"""Registering a model, and the messages for mistakes in asking for one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from stn_core.errors import UsageError
from stn_core.layers.spinal import SpinalHead
from stn_core.models import (
    ModelInfo,
    convnet,
    create_model,
    list_models,
    model_info,
    register_model,
)
from tests.models.parts import layers_of

CORE = [
    "cnn",
    "coordconv_cnn",
    "spinal",
    "spinal_stn_coordcls",
    "stn",
    "stn_coordboth",
    "stn_coordcls",
    "stn_coordloc",
    "vit",
]


def linear(in_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(in_shape), num_classes))


def test_the_nine_are_core() -> None:
    assert list_models(core=True) == CORE


def test_a_pattern_selects_and_sorts() -> None:
    assert list_models("stn_coord*") == ["stn_coordboth", "stn_coordcls", "stn_coordloc"]
    assert list_models("nothing") == []


def test_the_bare_decorator_needs_no_metadata() -> None:
    assert register_model(linear) is linear
    assert model_info("linear") == ModelInfo()
    assert "linear" in list_models(core=False)
    model = create_model("linear", (2, 5, 4), num_classes=3, background=0.5)
    assert model(torch.zeros(1, 2, 5, 4)).shape == (1, 3)


def test_metadata_is_kept() -> None:
    decorate = register_model(
        family="mlp", source="me", fits=["mnist*", "digits"], starts_at_identity=True, core=True
    )
    decorate(linear)
    info = model_info("linear")
    assert info == ModelInfo("mlp", "me", ("mnist*", "digits"), True, True)
    assert [info.suits(name) for name in ("mnist_rts", "digits", "birds")] == [True, True, False]


def test_a_pattern_can_leave_datasets_out() -> None:
    register_model(fits=["*", "!mnist*"])(linear)
    info = model_info("linear")
    assert [info.suits(name) for name in ("digits", "mnist", "mnist_rts")] == [True, False, False]
    assert not ModelInfo(fits=("!mnist*",)).suits("digits")  # nothing was put in


def test_images_suit_every_model_that_says_nothing_and_coordinates_none() -> None:
    assert ModelInfo().suits("birds")
    assert not ModelInfo().suits("coordinates_uniform")


def test_a_model_can_have_another_name_than_its_builder() -> None:
    register_model(name="straight")(linear)
    assert "straight" in list_models()
    assert "linear" not in list_models()


def test_one_pattern_is_not_a_tuple_of_letters() -> None:
    register_model(fits="birds")(linear)
    assert model_info("linear").fits == ("birds",)


@pytest.mark.parametrize("tags", ["acme nets", ["acme nets"]])
def test_one_tag_is_not_a_tuple_of_letters_either(tags: str | list[str]) -> None:
    register_model(tags=tags)(linear)
    assert model_info("linear").tags == ("acme nets",)


@pytest.mark.parametrize("tag", ["", "two\nlines", "a/b", 3])
def test_a_tag_that_cannot_name_a_group_is_refused(tag: object) -> None:
    with pytest.raises(UsageError, match=r"the tag .* needs a name"):
        register_model(tags=[tag])(linear)


def test_a_class_is_a_builder_too() -> None:
    @register_model
    class Constant(nn.Module):
        def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
            super().__init__()

    assert isinstance(create_model("Constant", (1, 2, 3), 4), Constant)


def test_an_option_of_ones_own_called_pretrained_reaches_the_builder() -> None:
    seen = []

    @register_model
    def wrapped(in_shape, num_classes, pretrained=False):  # type: ignore[no-untyped-def]
        seen.append(pretrained)
        return nn.Flatten()

    create_model("wrapped", (1, 8, 9), 3, pretrained=True)
    create_model("wrapped[pretrained=true]", (1, 8, 9), 3)
    create_model("wrapped", (1, 8, 9), 3)
    assert seen == [True, True, False]


@pytest.mark.parametrize("taken", ["name", "num_classes"])
def test_an_option_called_like_an_argument_of_create_model_is_refused(taken: str) -> None:
    with pytest.raises(UsageError, match=f"create_model has an argument '{taken}' of its own"):
        register_model(name="clashing", options={taken: 1})(lambda shape, classes, **more: None)
    assert "clashing" not in list_models()


def test_options_and_background_reach_the_builder() -> None:
    seen = {}

    @register_model
    def curious(shape, classes, background=None, width=1, **more):  # type: ignore[no-untyped-def]
        seen.update(shape=shape, background=background, width=width, **more)
        return nn.Identity()

    create_model("curious", (2, 8, 9), 3, background=(1.0, 2.0), width=5, other=6)
    assert seen == {"shape": (2, 8, 9), "background": (1.0, 2.0), "width": 5, "other": 6}


def test_an_option_without_a_default_must_be_given() -> None:
    @register_model
    def wide(in_shape, num_classes, width):  # type: ignore[no-untyped-def]
        return nn.Linear(1, width)

    with pytest.raises(UsageError, match="model 'wide' needs the option 'width'"):
        create_model("wide", (1, 2, 3), 4)
    assert isinstance(create_model("wide", (1, 2, 3), 4, width=5), nn.Linear)


def test_a_builder_that_passes_options_on_names_them() -> None:
    switches = ("coordconv_classifier", "coordconv_localisation")

    @register_model(options={**dict.fromkeys(switches, False), "sampler": "bilinear"})
    def stn_spinal(in_shape, num_classes, background, **options):  # type: ignore[no-untyped-def]
        return convnet(in_shape, num_classes, background, warp="affine", head="spinal", **options)

    model = create_model("stn_spinal", (1, 28, 28), 10, sampler="antialiased")
    assert layers_of(model, SpinalHead)
    assert model.get_submodule("transformer").sampler == "antialiased"
    options = "coordconv_classifier, coordconv_localisation, sampler"
    with pytest.raises(UsageError, match=f"has no option 'head'; its options: {options}$"):
        create_model("stn_spinal", (1, 28, 28), 10, head="dense")


def test_a_name_is_registered_once() -> None:
    register_model(linear)
    with pytest.raises(UsageError, match="'linear' is registered already"):
        register_model(linear)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "stn_cordloc"}, "unknown model 'stn_cordloc'; did you mean stn_coordloc"),
        ({"name": None}, "a model is one of cnn, .*; not None"),
        ({"name": "fcn", "patch": 7}, "model 'fcn' has no option 'patch'; its options: none"),
        ({"name": "cnn", "patch": 7}, "no option 'patch'; its options: channels, hidden, kernels"),
        ({"name": "vit", "pach": 7}, "model 'vit' has no option 'pach'; its options: patch"),
        ({"name": "cnn", "in_shape": (28, 28)}, r"in_shape is \(channels, height, width\)"),
        ({"name": "cnn", "in_shape": (0, 28, 28)}, r"each at least 1, not \(0, 28, 28\)"),
        ({"name": "cnn", "num_classes": 0}, "num_classes is at least 1, not 0"),
        ({"name": "cnn", "num_classes": True}, "num_classes is at least 1, not True"),
        ({"name": "stn", "background": True}, "background is a finite number, .*, not True"),
        ({"name": "resnext[blocks=(true,1,1,1)]"}, "blocks are four whole numbers"),
        ({"name": "stn", "background": (0.0, 0.1)}, r"2 values for images of 1 channel\(s\)"),
    ],
)
def test_a_mistake_gets_one_clear_line(arguments: dict[str, object], message: str) -> None:
    given = {"in_shape": (1, 28, 28), "num_classes": 10, **arguments}
    with pytest.raises(UsageError, match=message) as mistake:
        create_model(**given)  # type: ignore[arg-type]
    assert "\n" not in str(mistake.value)
