"""Elastic distortion: control points look where they were drawn, and equal to scipy's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from stn_core.datasets import ElasticDistortion
from stn_core.datasets.keyed_random import Stream
from tests.datasets.pictures import (
    BACKGROUND,
    CANVAS_HW,
    canvas_pixels_xy,
    noise_images,
    scipy_read,
)
from tests.oracles import thin_plate_spline

DISTORTION = ElasticDistortion(
    canvas_hw=CANVAS_HW, scale_range=(0.75, 1.25), control_sigma_pixels=1.5
)
CANVAS_WH = np.array(CANVAS_HW[::-1])
SIDE = np.linspace(-1, 1, 4)
CONTROL_POINTS = np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2)


def row(scale: float, displacement_xy: tuple[float, float]) -> NDArray:
    """The raw numbers of a scale and of one displacement, in pixels, of all control points."""
    unit = norm.cdf(np.tile(displacement_xy, 16) / 1.5)
    return np.concatenate([[(scale - 0.75) / 0.5], unit])[None]


def points_by_scipys_spline(parameters: NDArray) -> NDArray:
    """Where the source is read, in pixels from its middle, for each pixel of the canvas."""
    # In half-widths and half-heights, as in the warp: in pixels of a canvas that is not square the
    # smoothest spline is another.
    half_wh = CANVAS_WH / 2
    displacements = 1.5 * norm.ppf(parameters[1:]).reshape(16, 2) / half_wh
    unscaled = thin_plate_spline(CONTROL_POINTS, displacements, canvas_pixels_xy() / half_wh)
    return unscaled * half_wh / (0.75 + 0.5 * parameters[0])


def test_distorted_images_equal_scipys() -> None:
    images = noise_images(25)
    parameters = DISTORTION.draw(25, 0, Stream.TRAIN_EPOCH)
    ours = DISTORTION.apply(images, parameters, BACKGROUND).numpy().astype(np.float64)
    oracle = np.stack(
        [
            scipy_read(image, points_by_scipys_spline(drawn))
            for image, drawn in zip(images, parameters, strict=True)
        ]
    )
    # Half a level from rounding. Positions in float32 are off by a few 1e-7 of a picture of 17
    # pixels, and a pixel differs from the next by 255 at most: below 0.01.
    assert np.abs(ours - oracle).max() <= 0.51


def test_displacements_to_the_right_and_down_move_the_picture_to_the_left_and_up() -> None:
    image = noise_images(1)
    distorted = DISTORTION.apply(image, row(1.0, (3.0, 2.0)), BACKGROUND)
    unmoved = DISTORTION.apply(image, row(1.0, (0.0, 0.0)), BACKGROUND)
    assert torch.equal(distorted[:, :, :-2, :-3], unmoved[:, :, 2:, 3:])
    assert torch.equal(unmoved[:, :, 9:21, 10:27], image)


def test_displacements_have_their_standard_deviation_along_both_axes() -> None:
    parameters = replace(DISTORTION, scale_range=(1.0, 1.0)).draw(1000, 0, Stream.TEST)
    parameters[:, 0] = 0.5  # scale 1
    theta = DISTORTION.theta_out_to_in(parameters, CANVAS_HW).reshape(-1, 16, 2)
    moved = theta * CANVAS_WH / 2
    # 16,000 numbers an axis: their deviation is known to 1/sqrt(32,000) = 0.6 %, five times that
    # here, and their mean to 1/sqrt(16,000) of it.
    np.testing.assert_allclose(moved.std((0, 1)), 1.5, rtol=0.03)
    np.testing.assert_allclose(moved.mean((0, 1)), 0.0, atol=5 * 1.5 / 16_000**0.5)
