"""How an image of any shape becomes a square that shows all of it, or of a box in it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stn_core.datasets.sources.birds import decode_square
from tests.datasets.cub_tree import (
    encoded,
)
from tests.datasets.sources.test_birds import SIZE


def ramp(height: int, width: int) -> np.ndarray:
    """Pixels that tell where they are, none of them black."""
    rows, columns = np.indices((height, width), dtype=np.uint8)
    return np.stack([rows + 1, columns + 1, np.full_like(rows, 255)], axis=-1)


def test_a_square_image_of_the_wanted_size_is_left_alone() -> None:
    pixels = ramp(9, 9)
    assert np.array_equal(decode_square(encoded(pixels, "PNG"), 9), pixels)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40))
def test_an_image_keeps_its_shape_in_the_middle_of_the_square(
    height: int, width: int, size: int
) -> None:
    white = np.full((height, width), 255, np.uint8)
    square = decode_square(encoded(white, "PNG"), size)
    assert square.shape == (size, size, 3)
    assert set(np.unique(square)) <= {0, 255}
    for axis, length in ((0, height), (1, width)):
        seen = np.flatnonzero(square[:, :, 0].any(axis=1 - axis))
        assert len(seen) == seen[-1] - seen[0] + 1
        before, after = seen[0], size - 1 - seen[-1]
        # Rounded to a whole pixel, of which there is one at least, so the bars differ by one.
        assert abs(len(seen) - max(1, size * length / max(height, width))) <= 0.5
        assert 0 <= after - before <= 1


@st.composite
def boxes(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """A height and width, and a box of whole pixels inside."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (height, width), (
        left,
        top,
        draw(st.integers(left + 1, width)),
        draw(st.integers(top + 1, height)),
    )


@given(boxes())
def test_a_box_is_fully_visible_without_black_margins_inside_the_image(
    case: tuple[tuple[int, int], tuple[int, int, int, int]],
) -> None:
    size_hw, box = case
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    image = ramp(*size_hw)
    square = decode_square(encoded(image, "PNG"), side, box).astype(int)
    # At its own scale the square is a piece of the image, moved by half a pixel where it cannot be
    # centred in whole ones: then values are means of neighbours, at most one step away.
    seen = square[:, :, 2] > 0
    assert seen.any(axis=1).sum() == min(side, size_hw[0])
    assert seen.any(axis=0).sum() == min(side, size_hw[1])
    for channel, (start, end) in enumerate(((top, bottom), (left, right))):
        values = square[:, :, channel][seen]
        assert values.min() <= start + 2
        assert values.max() >= end - 1


@given(boxes(), st.integers(1, 30))
def test_a_box_past_the_edge_is_clipped(
    case: tuple[tuple[int, int], tuple[int, int, int, int]], beyond: int
) -> None:
    (height, width), (left, top, right, bottom) = case
    content = encoded(ramp(height, width), "PNG")
    clipped = decode_square(content, SIZE, (left, top, width, height))
    past = decode_square(content, SIZE, (left, top, width + beyond, height + 2 * beyond))
    assert np.array_equal(past, clipped)
    clipped = decode_square(content, SIZE, (0, 0, right, bottom))
    past = decode_square(content, SIZE, (-2 * beyond, -beyond, right, bottom))
    assert np.array_equal(past, clipped)


def test_a_box_far_from_square_is_cut_as_a_square_moved_into_the_image() -> None:
    image = ramp(20, 31)
    square = decode_square(encoded(image, "PNG"), 12, (25, 4, 31, 16))
    assert np.array_equal(square, image[4:16, 19:31])
