"""The site's pictures show what the library does."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from docs.website.grid_picture import PIXEL, grid_picture
from docs.website.structure import IMAGE, core_models, structure_picture
from stn_core import create_model

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    return [str(one.text) for one in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_the_grid_picture_names_the_centres_of_all_pixels() -> None:
    expected = {
        f"({(2 * column + 1) / 4 - 1:.3g}, {(2 * row + 1) / 3 - 1:.3g})"
        for row in range(3)
        for column in range(4)
    }
    assert expected <= set(texts(grid_picture()))


def test_the_warp_of_the_grid_picture_reads_the_middle_half_of_the_input() -> None:
    circles = list(ElementTree.fromstring(grid_picture()).iter(f"{SVG}circle"))
    output, read = circles[:12], circles[12:]
    for axis, side in (("cx", 4), ("cy", 3)):
        drawn = [float(one.attrib[axis]) for one in output]
        halved = [float(one.attrib[axis]) for one in read]
        assert max(drawn) - min(drawn) == pytest.approx((side - 1) * PIXEL)
        assert max(halved) - min(halved) == pytest.approx((side - 1) * PIXEL / 2)


def test_there_is_a_structure_of_each_core_model() -> None:
    assert len(core_models()) == 9


@pytest.mark.parametrize("name", ["cnn", "stn", "vit"])
def test_a_structure_shows_every_layers_parameters(name: str) -> None:
    rows = texts(structure_picture(name))
    model = create_model(name, IMAGE, 10)
    for layer in model.modules():
        count = sum(parameter.numel() for parameter in layer.parameters())
        if count and not list(layer.children()):
            assert any(row.startswith(f"{type(layer).__name__} ") for row in rows)
            assert any(row.startswith(f"{count:,} parameters") for row in rows)
    assert rows[0].endswith("28")


def test_a_transformer_samples_after_its_localisation_and_before_the_classifier() -> None:
    rows = texts(structure_picture("stn"))
    places = [
        next(place for place, row in enumerate(rows) if row.startswith(begins))
        for begins in ("Linear residual", "theta → affine grid → bilinear", "Sequential classifier")
    ]
    assert places == sorted(places)
