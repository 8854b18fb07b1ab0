"""Distortions: exact where they can be, and equal to scipy's everywhere else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stn_core.datasets import (
    AffineDistortion,
    ChannelwiseDistortion,
    ClutterDistortion,
    Distortion,
    ElasticDistortion,
    ProjectiveDistortion,
)
from stn_core.datasets.distortions import clutter, warped
from stn_core.datasets.keyed_random import Stream
from stn_core.errors import UsageError
from tests.datasets.pictures import (
    BACKGROUND,
    CANVAS_HW,
    SOURCE_HW,
    canvas_pixels_xy,
    noise_images,
    scipy_read,
)

RTS = AffineDistortion(
    canvas_hw=CANVAS_HW, max_rotation_degrees=45.0, scale_range=(0.7, 1.2), random_place=True
)
EVERY_KIND = {
    "affine": RTS,
    "projective": ProjectiveDistortion(CANVAS_HW, (0.75, 1.0), corner_sigma_pixels=3.0),
    "elastic": ElasticDistortion(CANVAS_HW, (0.75, 1.0), control_sigma_pixels=1.5),
    "clutter": ClutterDistortion(CANVAS_HW, patch_size=4, num_patches=3),
    "channelwise": ChannelwiseDistortion(RTS, channels=2),
    "cluttered channels": ChannelwiseDistortion(ClutterDistortion(CANVAS_HW, 4, 3), channels=2),
}
every_kind = pytest.mark.parametrize("distortion", EVERY_KIND.values(), ids=EVERY_KIND)


def row(angle: float = 0.0, scale: float = 1.0, place: tuple[float, float] = (0.0, 0.0)) -> NDArray:
    return np.array([[angle, scale, *place]])


def points_by_the_forward_formula(parameters: NDArray) -> NDArray:
    """Where the source is read, in pixels from its middle, for each pixel of the canvas."""
    angle, scale, *place = parameters
    source_wh, canvas_wh = np.array(SOURCE_HW[::-1]), np.array(CANVAS_HW[::-1])
    forward = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    middle_of_box = np.array(place) * (canvas_wh - scale * source_wh) / 2
    return np.linalg.solve(forward, (canvas_pixels_xy() - middle_of_box).T).T


@every_kind
def test_no_images_are_distorted_to_none(distortion: Distortion) -> None:
    drawn = distortion.draw(0, 1, Stream.TEST)
    assert distortion.applied(drawn, SOURCE_HW).shape[0] == 0
    made = distortion.apply(noise_images(1)[:0], drawn, BACKGROUND)
    assert made.shape == (0, 2, *CANVAS_HW)


def test_images_of_other_channels_than_are_distorted_are_refused() -> None:
    each = ChannelwiseDistortion(RTS, channels=3)
    with pytest.raises(UsageError, match=r"images of 3 channel\(s\) are distorted here, not 2"):
        each.apply(noise_images(4), each.draw(4, 1, Stream.TEST), BACKGROUND)
    with pytest.raises(UsageError, match="channels must be a whole number of at least 1; got 0"):
        ChannelwiseDistortion(RTS, channels=0)


OF_ONE_CANVAS = [one for one in EVERY_KIND.values() if not isinstance(one, ChannelwiseDistortion)]
WITH_SCALES = [one for one in OF_ONE_CANVAS if not isinstance(one, ClutterDistortion)]


@pytest.mark.parametrize("wrong", [14, (14,), (0, 14), (14.5, 14)])
@pytest.mark.parametrize("distortion", OF_ONE_CANVAS)
def test_a_canvas_that_is_no_size_is_refused(distortion: Distortion, wrong: object) -> None:
    with pytest.raises(UsageError, match=r"canvas_hw is \(height, width\) in pixels, not "):
        replace(distortion, canvas_hw=wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (1.0, r"scale_range is \(smallest, largest\), not 1.0"),
        ((1.0,), "scale_range is"),
        ((0, 1.0), "a scale must be positive and finite; got 0"),
        ((1.2, 0.7), "a range of scales begins with the smallest"),
    ],
)
@pytest.mark.parametrize("distortion", WITH_SCALES)
def test_scales_that_are_no_range_are_refused(
    distortion: Distortion, wrong: object, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        replace(distortion, scale_range=wrong)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "45", None])
def test_an_angle_that_is_none_is_refused(wrong: object) -> None:
    """NaN drew images that were background everywhere."""
    with pytest.raises(UsageError, match="max_rotation_degrees must be a finite number; got "):
        replace(RTS, max_rotation_degrees=wrong)


def test_whether_the_place_is_random_is_true_or_false() -> None:
    with pytest.raises(UsageError, match="random_place must be True or False; got 'no'"):
        replace(RTS, random_place="no")


def test_distorted_images_equal_scipys() -> None:
    images = noise_images(40)
    parameters = RTS.draw(40, 1, Stream.TRAIN_EPOCH)
    ours = RTS.apply(images, parameters, BACKGROUND).numpy().astype(np.float64)
    oracle = np.stack(
        [
            scipy_read(image, points_by_the_forward_formula(drawn))
            for image, drawn in zip(images, parameters, strict=True)
        ]
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


def test_without_a_change_the_source_is_in_the_middle() -> None:
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


@every_kind
def test_the_size_of_a_chunk_changes_nothing(
    distortion: Distortion, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, parameters = noise_images(20), distortion.draw(20, 0, Stream.VAL)
    whole = distortion.apply(images, parameters, BACKGROUND)
    for module in (clutter, warped):
        monkeypatch.setattr(module, "CHUNK", 7)
    assert torch.equal(distortion.apply(images, parameters, BACKGROUND), whole)


@pytest.mark.parametrize("sizes_hw", [((8, 6), (224, 224)), ((224, 224), (8, 6))], ids=str)
def test_large_images_are_warped_fewer_at_a_time(
    sizes_hw: tuple[tuple[int, int], tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (source_hw, canvas_hw), seen, sample = sizes_hw, [], warped.sample
    monkeypatch.setattr(warped, "CHUNK", 16)
    monkeypatch.setattr(
        warped,
        "sample",
        lambda images, *a, **k: seen.append(len(images)) or sample(images, *a, **k),
    )
    images = torch.zeros(9, 1, *source_hw, dtype=torch.uint8)
    identity = np.tile([1.0, 0, 0, 0, 1, 0], (9, 1))
    warped.warp_images(images, "affine", identity, canvas_hw, (0.0,))
    assert seen == [4, 4, 1]  # 16 images of 112x112 have as many pixels as 4 of 224x224


def test_large_canvases_are_cluttered_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, paste = set(), clutter._paste
    monkeypatch.setattr(clutter, "CHUNK", 16)
    monkeypatch.setattr(
        clutter, "_paste", lambda pieces, *a: seen.add(len(pieces)) or paste(pieces, *a)
    )
    distortion = ClutterDistortion((224, 224), patch_size=3, num_patches=1)
    images = noise_images(9)
    distortion.apply(images, distortion.draw(9, 0, Stream.VAL), BACKGROUND)
    assert seen == {4, 1}


@every_kind
def test_every_kind_leaves_an_empty_picture_empty(distortion: Distortion) -> None:
    empty = torch.tensor(BACKGROUND).to(torch.uint8)[None, :, None, None]
    images, parameters = empty.expand(20, 2, *SOURCE_HW), distortion.draw(20, 0, Stream.VAL)
    distorted = distortion.apply(images, parameters, BACKGROUND)
    assert torch.equal(distorted, empty.expand(20, 2, *distortion.canvas_hw))


@every_kind
def test_an_image_is_distorted_alike_in_any_batch(distortion: Distortion) -> None:
    few, many = (distortion.draw(count, 3, Stream.TEST, 1) for count in (5, 12))
    assert np.array_equal(few, many[:5])


@every_kind
def test_draws_differ_between_images_seeds_streams_and_indices(distortion: Distortion) -> None:
    drawn = [
        distortion.draw(6, seed, stream, index)
        for seed, stream, index in (
            (0, Stream.TEST, 0),
            (1, Stream.TEST, 0),
            (0, Stream.VAL, 0),
            (0, Stream.TEST, 1),
        )
    ]
    assert len(np.unique(np.concatenate(drawn), axis=0)) == 24


@every_kind
def test_images_and_numbers_are_left_as_they_were(distortion: Distortion) -> None:
    images, parameters = noise_images(5), distortion.draw(5, 0, Stream.VAL)
    kept = images.clone(), parameters.copy()
    distortion.apply(images, parameters, BACKGROUND)
    assert torch.equal(images, kept[0])
    assert np.array_equal(parameters, kept[1])


THETAS = {
    "affine": [2.157681, 1.118967, 0.805035, -1.955084, 2.478418, 0.784468],
    "projective": [2.403168, -0.553959, 0.006172, -0.098728, 2.249365, -0.060683, -0.613026],
    "elastic": [-1.350187, -1.669367, -0.591237, -1.55775, 0.506991, -1.454519, 1.355446],
}
"""How the first parameters of the first image's warp begin."""


@pytest.mark.parametrize("name", THETAS)
def test_thetas_are_those_of_every_earlier_version(name: str) -> None:
    distortion = EVERY_KIND[name]
    theta = distortion.theta_out_to_in(distortion.draw(1, 0, Stream.TEST), SOURCE_HW)[0]
    # They are stated to six digits.
    np.testing.assert_allclose(theta[: len(THETAS[name])], THETAS[name], rtol=0, atol=1e-6)


# fmt: off
APPLIED = {
    "affine": [569031432, 849759136, -243271793, -656719399],
    "projective": [24032, -5540, 62, -987, 22494, -607, -6130, 5754],
    "elastic": [-13502, -16694, -5912, -15577, 5070, -14545, 13554, -14251, -13059, -1209],
    "clutter": [16, 6, 1, 1, 7, 18, 23, 1, 6, 5, 25, 31, 1, 4, 11, 17, 7],
    "channelwise": [569031432, 849759136, -243271793, -656719399,
                    75835816, 1043391082, 396948111, 420805281],
}
"""How what is hashed of the first of two images begins."""
# fmt: on


@pytest.mark.parametrize("name", APPLIED)
def test_the_hashed_numbers_are_those_of_every_earlier_version(name: str) -> None:
    distortion = EVERY_KIND[name]
    applied = distortion.applied(distortion.draw(2, 0, Stream.TEST), SOURCE_HW)
    assert applied.dtype == np.int64
    assert applied.shape[0] == 2
    assert applied[0, : len(APPLIED[name])].tolist() == APPLIED[name]
    whole = len(APPLIED[name]) == applied.shape[1]
    assert whole or name == "elastic"


def test_the_hash_of_channels_covers_what_is_done_to_each() -> None:
    """Clutter is cut from the other images of a channel, so a channel must be asked as a whole."""
    distortion = EVERY_KIND["cluttered channels"]
    parameters = distortion.draw(7, 0, Stream.TEST)
    applied = distortion.applied(parameters, SOURCE_HW)
    images = noise_images(7)
    for channel, numbers in enumerate(np.split(applied, 2, axis=1)):
        drawn = np.split(parameters, 2, axis=1)[channel]
        assert np.array_equal(numbers, distortion.each.applied(drawn, SOURCE_HW))
        alone = distortion.each.apply(images[:, channel, None], drawn, (BACKGROUND[channel],))
        together = distortion.apply(images, parameters, BACKGROUND)[:, channel, None]
        assert torch.equal(together, alone)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(RTS, scale_range=(0.0, 1.0)), "a scale must be positive"),
        (lambda: replace(RTS, scale_range=(0.7, math.nan)), "a scale must be positive"),
        (lambda: replace(RTS, scale_range=(1.2, 0.7)), "begins with the smallest"),
        (lambda: replace(EVERY_KIND["projective"], least_w=5.0), "least_w must be below 1"),
        (lambda: replace(EVERY_KIND["projective"], candidates=0), "candidates must be a whole"),
        (lambda: replace(EVERY_KIND["projective"], corner_sigma_pixels=-1), "corner_sigma_pixels"),
        (lambda: replace(EVERY_KIND["elastic"], control_sigma_pixels=0), "control_sigma_pixels"),
    ],
)
def test_a_number_out_of_its_range_is_refused(make: Callable, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


@given(st.integers(0, 2**32), st.floats(-1e-12, 1e-12))
@settings(max_examples=20)
def test_the_hash_ignores_the_last_bit(seed: int, difference: float) -> None:
    for name in ("projective", "elastic"):
        distortion = EVERY_KIND[name]
        theta = distortion.theta_out_to_in(distortion.draw(50, seed, Stream.TEST), SOURCE_HW)
        rounded = warped.whole_theta(theta)
        # 4,000 numbers, each with a chance of 1e-8 to lie between two steps as close as that.
        assert np.array_equal(warped.whole_theta(theta + difference), rounded)
        assert np.all(warped.whole_theta(theta + 1.01 * warped.THETA_STEP) > rounded)


def test_channels_are_distorted_as_each_would_be_alone() -> None:
    images, both = noise_images(9), EVERY_KIND["channelwise"]
    parameters = both.draw(9, 0, Stream.TEST)
    distorted = both.apply(images, parameters, BACKGROUND)
    for channel, fill in enumerate(BACKGROUND):
        rows = RTS.draw(18, 0, Stream.TEST)[channel::2]
        alone = RTS.apply(images[:, channel, None], rows, (fill,))
        assert torch.equal(distorted[:, channel, None], alone)
