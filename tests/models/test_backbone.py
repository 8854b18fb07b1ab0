"""The backbone's switches, and the predecessors' parameter counts."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.grids import normalised_to_pixel
from stn_core.geometry.warps import create_warp, list_warps
from stn_core.layers.coordconv import CoordConv2d
from stn_core.layers.spinal import SpinalHead
from stn_core.models import TransformsImages, convnet, create_model
from stn_core.models.backbone import Stage, conv_stack, flat_width, smallest_side
from tests.models.parts import layers_of

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# The counts at 1x28x28, and those of stn and stn_coordboth at 3x32x32, are the predecessors'. The
# others at 3x32x32 follow: 500 flat features for 320 and 160 in the localisation network for 90.
@pytest.mark.parametrize(
    ("name", "grey", "colour"),
    [
        ("cnn", 21_840, 31_340),
        ("coordconv_cnn", 23_340, 32_840),
        ("stn", 27_360, 39_884),
        ("stn_coordcls", 28_860, 41_384),
        ("stn_coordloc", 28_644, 41_168),
        ("stn_coordboth", 30_144, 42_668),
        ("spinal", 13_818, 18_638),
        ("spinal_stn_coordcls", 20_838, 28_682),
        ("vit", 205_962, 215_114),
        ("stn_diffeo", 27_360, 39_884),
        ("stn_homography", 27_426, 39_950),
    ],
)
def test_parameters_are_those_of_the_predecessors(name: str, grey: int, colour: int) -> None:
    assert count(create_model(name, GREY, num_classes=10)) == grey
    assert count(create_model(name, COLOUR, num_classes=10)) == colour


@pytest.mark.parametrize("name", list_warps())
def test_a_warp_costs_one_output_a_parameter(name: str) -> None:
    warp = create_warp(name)
    without_output = 27_360 - 33 * 6
    assert count(convnet(GREY, 10, warp=warp)) == without_output + 33 * warp.num_params


@pytest.mark.parametrize("name", list_warps())
def test_every_warp_starts_at_its_identity(name: str) -> None:
    warp, images = create_warp(name), torch.rand(4, 1, 28, 35)
    model = convnet((1, 28, 35), 10, warp=warp)
    assert isinstance(model, TransformsImages)
    theta = model.transform(images).theta
    assert torch.equal(theta, warp.identity().expand(4, -1))


@pytest.mark.parametrize(
    "switches", list(itertools.product((None, "affine"), (False, True), (False, True))), ids=str
)
@pytest.mark.parametrize("head", ["dense", "spinal"])
def test_every_combination_of_switches_is_what_it_says(
    switches: tuple[str | None, bool, bool], head: str
) -> None:
    warp, in_localisation, in_classifier = switches
    in_localisation = in_localisation and warp is not None
    model = convnet(
        (2, 30, 26),
        5,
        warp=warp,
        coordconv_localisation=in_localisation,
        coordconv_classifier=in_classifier,
        head=head,
    )
    assert model(torch.zeros(3, 2, 30, 26)).shape == (3, 5)
    assert isinstance(model, TransformsImages) is (warp is not None)
    assert len(layers_of(model, CoordConv2d)) == 2 * in_localisation + 2 * in_classifier
    assert bool(layers_of(model, SpinalHead)) is (head == "spinal")


def test_layers_stand_in_the_order_of_the_predecessors() -> None:
    model = create_model("stn", GREY, num_classes=10)
    layers = [type(layer) for layer in model.classifier.features]
    stage = [nn.Conv2d, nn.MaxPool2d, nn.ReLU]
    assert layers == [*stage, nn.Conv2d, nn.Dropout2d, nn.MaxPool2d, nn.ReLU]
    assert [type(layer) for layer in model.transformer.localisation.features] == [*stage, *stage]
    dense = [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [type(layer) for layer in model.classifier.head] == dense
    dropouts = (nn.Dropout, nn.Dropout2d)
    rates = [layer.p for layer in model.modules() if isinstance(layer, dropouts)]
    assert rates == [0.5, 0.5]


stages = st.lists(st.builds(Stage, st.integers(1, 3), st.integers(1, 7)), min_size=1, max_size=3)


@settings(max_examples=30, deadline=None)
@given(stages, st.integers(0, 9), st.integers(0, 9))
def test_arithmetic_knows_what_the_stages_leave(
    stages: list[Stage], more_rows: int, more_columns: int
) -> None:
    smallest = smallest_side(stages)
    height, width = smallest + more_rows, smallest + more_columns
    features = conv_stack(1, stages, coordconv=False)(torch.zeros(1, 1, height, width))
    assert features.numel() == flat_width(stages, (height, width)) > 0
    assert flat_width(stages, (smallest - 1, width)) <= 0


@pytest.mark.parametrize("size", [(17, 40), (40, 17)])
def test_either_side_can_be_too_small(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=rf"{size[0]}x{size[1]} is too small.*18x18"):
        create_model("stn", (1, *size), num_classes=10)


def zoom_out(model: nn.Module) -> None:
    """Let every theta read from three times as far, so that the picture's rim is outside."""
    assert isinstance(model, TransformsImages)
    with torch.no_grad():
        model.transformer.localisation.residual.bias[[0, 4]] += 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("background", [-0.5, (-0.5, 0.25, 2.0)])
def test_outside_of_a_warped_image_is_the_background(
    background: float | tuple[float, ...],
) -> None:
    model = create_model("stn", (3, 28, 35), num_classes=10, background=background)
    zoom_out(model)
    assert isinstance(model, TransformsImages)
    image = model.transform(torch.ones(2, 3, 28, 35)).image
    expected: Tensor = torch.tensor(background).expand(2, 3)
    for corner in (image[..., 0, 0], image[..., -1, -1], image[..., 0, -1], image[..., -1, 0]):
        torch.testing.assert_close(corner, expected)


def test_coordconv_without_a_localisation_network_is_refused() -> None:
    with pytest.raises(UsageError, match="coordconv_localisation needs a warp"):
        convnet(GREY, 10, coordconv_localisation=True)


def test_an_unknown_head_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown head 'spinel'; did you mean spinal"):
        convnet(GREY, 10, head="spinel")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stn_similarity", {}),
        ("ic_stn", {"warp": "similarity"}),
        ("stn_shared", {"warp": "rotation"}),
    ],
)
def test_a_network_for_non_square_images_turns_them_rigidly(name, options):
    warp = create_model(name, (1, 28, 56), num_classes=10, **options).transformer.warp
    theta = warp.identity(dtype=torch.float64)
    theta[{"rotation": 0, "similarity": 1}[warp.name]] = torch.pi / 4
    ends = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]], dtype=torch.float64)
    centre, right, down = normalised_to_pixel(warp.points(theta[None], ends)[0], (28, 56))
    across, along = right - centre, down - centre
    assert abs(across @ along) < 1e-9
    torch.testing.assert_close(across.norm(), 2 * along.norm())
