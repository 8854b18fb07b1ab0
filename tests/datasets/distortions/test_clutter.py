"""Clutter: a picture and patches on whole pixels, pixel by pixel what a plain loop makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stn_core.datasets import ClutterDistortion
from stn_core.datasets.keyed_random import Stream
from stn_core.errors import UsageError
from tests.datasets.pictures import BACKGROUND, CANVAS_HW, SOURCE_HW, noise_images

CLUTTER = ClutterDistortion(canvas_hw=CANVAS_HW, patch_size=5, num_patches=3)
LARGEST = 1 - 2.0**-53


def looped(images: NDArray, parameters: NDArray, background: tuple[float, ...]) -> NDArray:
    """The same canvases, a pixel at a time."""
    count, channels, *image_hw = images.shape
    fill = np.array(background)[:, None, None]
    canvases = np.broadcast_to(fill, (count, channels, *CANVAS_HW)).copy()

    def cover(canvas: NDArray, picture: NDArray, corner: list[int]) -> None:
        for channel, y, x in np.ndindex(picture.shape):
            place = channel, corner[0] + y, corner[1] + x
            empty, seen = background[channel], float(picture[channel, y, x])
            if abs(seen - empty) > abs(canvas[place] - empty):
                canvas[place] = seen

    def corner(unit: NDArray, size_hw: list[int], frame_hw: tuple[int, ...]) -> list[int]:
        return [
            int(u * (frame - size + 1))
            for u, size, frame in zip(unit, size_hw, frame_hw, strict=True)
        ]

    for number, drawn in enumerate(parameters):
        cover(canvases[number], images[number], corner(drawn[:2], image_hw, CANVAS_HW))
        for patch in drawn[2:].reshape(-1, 5):
            others = [*range(number + 1, count), *range(number)]
            top, left = corner(patch[1:3], [5, 5], tuple(image_hw))
            piece = images[others[int(patch[0] * (count - 1))], :, top : top + 5, left : left + 5]
            cover(canvases[number], piece, corner(patch[3:], [5, 5], CANVAS_HW))
    return canvases


def test_canvases_equal_those_of_a_plain_loop() -> None:
    images, parameters = noise_images(12), CLUTTER.draw(12, 0, Stream.TRAIN_EPOCH)
    made = CLUTTER.apply(images, parameters, BACKGROUND)
    assert np.array_equal(made.numpy(), looped(images.numpy(), parameters, BACKGROUND))


@pytest.mark.parametrize(
    ("unit", "corner"),
    [
        ((0, 0), (0, 0)),
        ((0, LARGEST), (0, 20)),
        ((LARGEST, 0), (18, 0)),
        ((LARGEST, LARGEST), (18, 20)),
    ],
)
def test_the_outermost_places_touch_the_edges(
    unit: tuple[float, float], corner: tuple[int, int]
) -> None:
    image, (top, left), (height, width) = noise_images(1), corner, SOURCE_HW
    made = replace(CLUTTER, num_patches=0).apply(image, np.array([unit]), BACKGROUND)
    assert torch.equal(made[:, :, top : top + height, left : left + width], image)
    rest = made.clone()
    rest[:, :, top : top + height, left : left + width] = image.new_tensor(BACKGROUND)[
        :, None, None
    ]
    assert torch.equal(rest, image.new_tensor(BACKGROUND)[None, :, None, None].expand_as(rest))


def test_patches_are_of_every_other_image_and_never_of_the_own() -> None:
    grey = torch.arange(1, 7, dtype=torch.uint8)[:, None, None, None] * 40
    images = grey.expand(6, 1, 5, 6)
    one_patch = ClutterDistortion(canvas_hw=(20, 9), patch_size=5, num_patches=1)
    found = [set() for _ in images]
    for index in range(60):
        parameters = one_patch.draw(6, 0, Stream.TRAIN_EPOCH, index)
        parameters[:, 0], parameters[:, 5] = 0.0, LARGEST  # picture above, patch below
        for greys, canvas in zip(found, one_patch.apply(images, parameters, (0.0,)), strict=True):
            greys.update(canvas[:, 15:].unique().tolist())
    # Each of five others is missed 60 times with a chance of (4/5)^60, one in 650,000.
    for number, greys in enumerate(found):
        assert greys == {0, 40, 80, 120, 160, 200, 240} - {40 * (number + 1)}


def test_ink_on_paper_is_cluttered_as_light_on_black() -> None:
    images, parameters = noise_images(12), CLUTTER.draw(12, 0, Stream.TEST)
    on_black = CLUTTER.apply(images, parameters, (0.0, 0.0))
    on_paper = CLUTTER.apply(255 - images, parameters, (255.0, 255.0))
    assert torch.equal(on_paper, 255 - on_black)


def test_an_image_alone_is_cluttered_with_itself() -> None:
    images, parameters = noise_images(1), CLUTTER.draw(1, 0, Stream.TEST)
    made = CLUTTER.apply(images, parameters, BACKGROUND)
    assert made.shape == (1, 2, *CANVAS_HW)


@pytest.mark.parametrize(("option", "value"), [("num_patches", -1), ("patch_size", 0)])
def test_fewer_patches_than_none_or_of_no_size_are_refused(option: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"{option} must be a whole number of at least"):
        replace(CLUTTER, **{option: value})


@pytest.mark.parametrize(
    ("clutter", "said"),
    [
        (replace(CLUTTER, canvas_hw=(30, 16)), "a canvas of (30, 16) holds no images of (12, 17)"),
        (replace(CLUTTER, canvas_hw=(11, 37)), "a canvas of (11, 37) holds no images of (12, 17)"),
        (replace(CLUTTER, patch_size=13), "images of (12, 17) hold no patches of 13 by 13 pixels"),
    ],
)
def test_sizes_that_do_not_fit_are_reported(clutter: ClutterDistortion, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        clutter.apply(noise_images(2), clutter.draw(2, 0, Stream.TEST), BACKGROUND)
    assert str(caught.value) == said
