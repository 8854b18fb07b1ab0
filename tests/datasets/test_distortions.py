"""Distortions: exact where they can be, and equal to scipy's everywhere else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from torch import Tensor

from stn_core.datasets import distortions
from stn_core.datasets.distortions import AffineDistortion
from stn_core.keyed_random import Stream

SOURCE_HW = (12, 17)
CANVAS_HW = (30, 37)
BACKGROUND = (10.0, 200.0)
RTS = AffineDistortion(
    canvas_hw=CANVAS_HW, max_rotation_degrees=45.0, scale_range=(0.7, 1.2), random_place=True
)


def noise_images(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, len(BACKGROUND), *SOURCE_HW)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def row(angle: float = 0.0, scale: float = 1.0, place: tuple[float, float] = (0.0, 0.0)) -> NDArray:
    return np.array([[angle, scale, *place]])


def scipy_distorted(image: NDArray, parameters: NDArray) -> NDArray:
    """The same picture by the forward formula, in pixel indices, interpolated by scipy."""
    angle, scale, *place = parameters
    source_wh, canvas_wh = np.array(SOURCE_HW[::-1]), np.array(CANVAS_HW[::-1])
    forward = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    middle_of_box = canvas_wh / 2 + np.array(place) * (canvas_wh - scale * source_wh) / 2
    y, x = np.mgrid[: CANVAS_HW[0], : CANVAS_HW[1]]
    from_middle = np.stack([x.ravel(), y.ravel()]) + 0.5 - middle_of_box[:, None]
    source_x, source_y = np.linalg.solve(forward, from_middle) + source_wh[:, None] / 2 - 0.5
    channels = [
        map_coordinates(
            channel.astype(np.float64),
            [source_y, source_x],
            order=1,
            mode="grid-constant",
            cval=fill,
        ).reshape(CANVAS_HW)
        for channel, fill in zip(image, BACKGROUND, strict=True)
    ]
    return np.stack(channels)


def test_distorted_images_equal_scipys() -> None:
    images = noise_images(40)
    parameters = RTS.draw(40, 1, Stream.TRAIN_EPOCH)
    ours = RTS.apply(images, parameters, BACKGROUND).numpy().astype(np.float64)
    oracle = np.stack(
        [scipy_distorted(*pair) for pair in zip(images.numpy(), parameters, strict=True)]
    )
    # Half a level from rounding. Positions in float32 are off by a few 1e-7 of a picture of 17
    # pixels, and a pixel differs from the next by 255 at most: below 0.01.
    assert np.abs(ours - oracle).max() <= 0.51


@pytest.mark.parametrize(
    ("place", "corner"),
    [((-1, -1), (0, 0)), ((1, -1), (0, 20)), ((-1, 1), (18, 0)), ((1, 1), (18, 20))],
)
def test_the_outermost_places_touch_the_edges(
    place: tuple[float, float], corner: tuple[int, int]
) -> None:
    image = noise_images(1)
    top, left = corner
    distorted = RTS.apply(image, row(place=place), BACKGROUND)
    height, width = SOURCE_HW
    assert torch.equal(distorted[:, :, top : top + height, left : left + width], image)


def test_without_a_change_the_source_lies_in_the_middle() -> None:
    image = noise_images(1)[:, :1]
    distorted = RTS.apply(image, row(), BACKGROUND[:1])
    assert torch.equal(distorted, F.pad(image, [10, 10, 9, 9], value=BACKGROUND[0]))


def test_a_positive_right_angle_turns_clockwise() -> None:
    image = noise_images(1)
    on_its_side = replace(RTS, canvas_hw=SOURCE_HW[::-1])
    distorted = on_its_side.apply(image, row(angle=math.pi / 2), BACKGROUND)
    assert torch.equal(distorted, torch.rot90(image, k=-1, dims=(2, 3)))


def test_a_scaled_source_larger_than_the_canvas_is_centred() -> None:
    image = noise_images(1)
    small = replace(RTS, canvas_hw=(8, 9))
    distorted = small.apply(image, row(place=(1.0, -1.0)), BACKGROUND)
    assert torch.equal(distorted, image[:, :, 2:10, 4:13])


@given(
    st.floats(-math.pi, math.pi),
    st.floats(0.3, 3),
    st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
@settings(max_examples=30, deadline=None)
def test_an_empty_picture_stays_empty(
    angle: float, scale: float, place: tuple[float, float]
) -> None:
    empty = torch.tensor(BACKGROUND).to(torch.uint8)[None, :, None, None]
    distorted = RTS.apply(empty.expand(1, 2, *SOURCE_HW), row(angle, scale, place), BACKGROUND)
    assert torch.equal(distorted, empty.expand(1, 2, *CANVAS_HW))


def test_draws_fill_their_ranges_and_no_more() -> None:
    drawn = RTS.draw(4000, 7, Stream.TEST)
    low, high = drawn.min(0), drawn.max(0)
    ends = np.array([[-math.pi / 4, 0.7, -1, -1], [math.pi / 4, 1.2, 1, 1]])
    assert np.all(low >= ends[0])
    assert np.all(high <= ends[1])
    # The extremes of 4000 uniform numbers lie within about 1/4000 of the ends; 1/200 is safe.
    assert np.all(np.abs(np.stack([low, high]) - ends) < (ends[1] - ends[0]) / 200)


def test_without_random_place_every_source_is_centred() -> None:
    drawn = replace(RTS, random_place=False).draw(50, 0, Stream.TEST)
    assert np.all(drawn[:, 2:] == 0)
    assert len(np.unique(drawn[:, 0])) == 50


def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images, parameters = noise_images(20), RTS.draw(20, 0, Stream.VAL)
    whole = RTS.apply(images, parameters, BACKGROUND)
    monkeypatch.setattr(distortions, "CHUNK", 7)
    assert torch.equal(RTS.apply(images, parameters, BACKGROUND), whole)
