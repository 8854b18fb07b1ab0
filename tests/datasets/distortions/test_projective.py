"""Projective distortion: corners where they were drawn, never folded, and equal to scipy's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import norm

from stn_core.datasets import ProjectiveDistortion
from stn_core.datasets.keyed_random import Stream
from stn_core.geometry.warps import Homography
from tests.datasets.pictures import (
    BACKGROUND,
    CANVAS_HW,
    SOURCE_HW,
    canvas_pixels_xy,
    noise_images,
    scipy_read,
)

DISTORTION = ProjectiveDistortion(
    canvas_hw=CANVAS_HW, scale_range=(0.75, 1.25), corner_sigma_pixels=3.0, candidates=3
)
CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
LARGEST = 1 - 2.0**-53
UNIT_ROWS = arrays(np.float64, (2, 25), elements=st.floats(0, LARGEST))
WARP = Homography()


def row(
    scale: float = 1.0, *candidates_xy: NDArray, distortion: ProjectiveDistortion = DISTORTION
) -> NDArray:
    """The raw numbers of a scale and of displacements in pixels; candidates not given are zeros."""
    low, high = distortion.scale_range
    pixels = np.zeros((distortion.candidates, 4, 2))
    for candidate, displacement_xy in enumerate(candidates_xy):
        pixels[candidate] = displacement_xy
    unit = norm.cdf(pixels / distortion.corner_sigma_pixels)
    return np.concatenate([[(scale - low) / (high - low)], unit.ravel()])[None]


def theta(parameters: NDArray, distortion: ProjectiveDistortion = DISTORTION) -> torch.Tensor:
    return torch.from_numpy(distortion.theta_out_to_in(parameters, SOURCE_HW))


def corners_on_canvas(parameters: NDArray) -> NDArray:
    """Where the source's corners are seen, (N, 4, 2), in pixels from the canvas's middle."""
    seen = WARP.inverse_points(theta(parameters), torch.from_numpy(CORNERS).double())
    return seen.numpy() * np.array(CANVAS_HW[::-1]) / 2


def dlt(corners_xy: NDArray) -> NDArray:
    """The homography from four canvas points to the source's corners, by its eight equations."""
    rows, right = [], []
    for (x, y), (u, v) in zip(corners_xy, CORNERS * np.array(SOURCE_HW[::-1]) / 2, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.append(np.linalg.solve(rows, right), 1.0).reshape(3, 3)


def points_by_the_eight_equations(parameters: NDArray) -> NDArray:
    """Where the source is read, in pixels from its middle, for each pixel of the canvas."""
    scale = 0.75 + 0.5 * parameters[0]
    undisplaced = scale * CORNERS * np.array(SOURCE_HW[::-1]) / 2
    for displacement in norm.ppf(parameters[1:]).reshape(-1, 4, 2):
        corners = undisplaced + 3.0 * displacement
        matrix = dlt(corners)
        w = corners @ matrix[2, :2] + 1
        if w.min() >= 0.1 and w.max() <= 10 and np.linalg.det(matrix) > 0:
            break
    u, v, w = matrix @ np.vstack([canvas_pixels_xy().T, np.ones(np.prod(CANVAS_HW))])
    return np.stack([u / w, v / w], axis=-1)


def test_distorted_images_equal_scipys() -> None:
    images = noise_images(40)
    parameters = DISTORTION.draw(40, 0, Stream.TRAIN_EPOCH)
    ours = DISTORTION.apply(images, parameters, BACKGROUND).numpy().astype(np.float64)
    oracle = np.stack(
        [
            scipy_read(image, points_by_the_eight_equations(drawn))
            for image, drawn in zip(images, parameters, strict=True)
        ]
    )
    # Half a level from rounding. Positions in float32 are off by 1e-6 of a picture of 17 pixels
    # (twice an affine map's, for the division), and neighbours differ by 255 at most: below 0.02.
    assert np.abs(ours - oracle).max() <= 0.52


def test_corners_are_where_they_were_drawn() -> None:
    displacement = np.array([[-3.0, 2.5], [1.0, -4.0], [2.0, 0.5], [-0.5, 3.5]])
    scaled = 0.8 * CORNERS * np.array(SOURCE_HW[::-1]) / 2
    found = corners_on_canvas(row(0.8, displacement))
    # float64: quantiles and their inverses lose a few of 16 digits.
    np.testing.assert_allclose(found[0], scaled + displacement, rtol=0, atol=1e-9)


def test_displacements_have_their_standard_deviation_along_both_axes() -> None:
    small = replace(DISTORTION, scale_range=(1.0, 1.0), corner_sigma_pixels=0.3)
    parameters = small.draw(2000, 0, Stream.TEST)
    seen = WARP.inverse_points(theta(parameters, small), torch.from_numpy(CORNERS).double())
    moved = seen.numpy() * np.array(CANVAS_HW[::-1]) / 2 - CORNERS * np.array(SOURCE_HW[::-1]) / 2
    # 8,000 numbers an axis: their deviation is known to 1/sqrt(16,000) = 0.8 %, five times that
    # here, and their mean to 1/sqrt(8,000) of it.
    np.testing.assert_allclose(moved.std((0, 1)), 0.3, rtol=0.04)
    np.testing.assert_allclose(moved.mean((0, 1)), 0.0, atol=5 * 0.3 / 8000**0.5)


def test_without_displacements_the_source_is_in_the_middle() -> None:
    image = noise_images(1)[:, :1]
    distorted = DISTORTION.apply(image, row(), BACKGROUND[:1])
    assert torch.equal(distorted, F.pad(image, [10, 10, 9, 9], value=BACKGROUND[0]))


@given(UNIT_ROWS)
def test_no_image_is_folded_mirrored_or_behind_the_camera(parameters: NDArray) -> None:
    corners = corners_on_canvas(parameters) / np.array(CANVAS_HW[::-1]) * 2
    matrices = WARP.matrix(theta(parameters))
    w = (matrices[:, None, 2, :2].numpy() * corners).sum(-1) + 1
    # Limits that the distortion keeps, to rounding; w is linear, so the picture keeps them too.
    assert np.all((w >= 0.1 * (1 - 1e-6)) & (w <= 10 * (1 + 1e-6)))
    assert (torch.linalg.det(matrices) > 0).all()


TURNED_OVER = np.array([[2.0, 0.0], [-2.0, 0.0], [-2.0, 0.0], [2.0, 0.0]]) * 17 / 2
"""Left and right corners change places: a mirror image, all of it in front."""
FOLDED = np.array([[17.0, 0.0], [-17.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
"""The upper two corners change places: two sides cross."""
DENTED = np.array([[0.0, 0.0], [0.0, 0.0], [-12.0, -9.0], [0.0, 0.0]])
"""One corner is pushed in beyond the diagonal: not convex."""
AFAR = np.array([[-3.0, -40.0], [3.0, -40.0], [-5.0, -40.0], [5.0, -40.0]])
"""A fine picture far above the canvas, whose middle lies behind the camera."""
DISTANT = np.array([[8, -1], [12, -13 / 9], [12, 13 / 9], [8, 1]]) * [18.5, 15] - CORNERS * [8.5, 6]
"""A fine picture far to the right, where w is 1 + x: from 9 to 13, beyond the margin."""
GOOD = np.array([[-3.0, 2.5], [1.0, -4.0], [2.0, 0.5], [-0.5, 3.5]])


def test_the_first_candidate_that_shows_a_picture_counts() -> None:
    wide = replace(DISTORTION, corner_sigma_pixels=60.0)
    alone = theta(row(1.0, GOOD, distortion=wide), wide)
    other = theta(row(1.0, -GOOD, distortion=wide), wide)
    for bad in (TURNED_OVER, FOLDED, DENTED, AFAR, DISTANT):
        found = theta(row(1.0, bad, GOOD, -GOOD, distortion=wide), wide)
        assert torch.equal(found, alone)
    assert torch.equal(theta(row(1.0, GOOD, -GOOD, distortion=wide), wide), alone)
    assert not torch.equal(other, alone)


def test_the_corners_stay_if_no_candidate_is_valid() -> None:
    wide = replace(DISTORTION, corner_sigma_pixels=8.0)
    found = theta(row(1.1, FOLDED, DENTED, FOLDED, distortion=wide), wide)
    assert torch.equal(found, theta(row(1.1, distortion=wide), wide))


def test_images_of_one_call_do_not_affect_each_other() -> None:
    parameters = DISTORTION.draw(30, 5, Stream.TEST)
    together = theta(parameters)
    alone = torch.cat([theta(parameters[number : number + 1]) for number in range(30)])
    assert torch.equal(together, alone)
