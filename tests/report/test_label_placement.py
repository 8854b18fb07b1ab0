"""Labels of a chart lie on nothing and stay within it."""

import numpy as np
import pytest

from stn_core.report.charts import Cost, bounded_interval, cost_chart
from stn_core.report.label_placement import MARKER, place_labels
from stn_core.report.svg import drawing_style


def overlap(a, b):
    """Whether two boxes (left, bottom, right, top) share an area."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("seed", range(5))
def test_no_label_lies_on_another_or_on_a_point_or_leaves_the_frame(seed):
    rng = np.random.default_rng(seed)
    frame = (400.0, 250.0)
    points = rng.uniform(0.4, 0.6, (20, 2)) * frame  # all in the middle
    sizes = np.stack([rng.uniform(15, 70, 20), np.full(20, 9.0)], axis=1)
    corners = place_labels(points, sizes, frame)
    assert all(corner is not None for corner in corners)
    boxes = [(*corner, *(corner + size)) for corner, size in zip(corners, sizes, strict=True)]
    markers = [(x - MARKER, y - MARKER, x + MARKER, y + MARKER) for x, y in points]
    for number, box in enumerate(boxes):
        assert not any(overlap(box, other) for other in [*boxes[:number], *markers])
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= frame[0]
        assert box[3] <= frame[1]


def test_a_label_that_has_room_stands_beside_its_point():
    (corner,) = place_labels(np.array([[50.0, 50.0]]), np.array([[30.0, 8.0]]), (200.0, 100.0))
    assert np.hypot(*(corner - [50, 50])) < 12


def test_a_label_without_room_is_left_out():
    assert place_labels(np.array([[5.0, 5.0]]), np.array([[30.0, 8.0]]), (20.0, 20.0)) == [None]


def test_the_labels_of_a_chart_lie_apart():
    """Thirty models of nearly one cost and one accuracy."""
    points = [Cost(f"a_model_{n}", 1000 + 7 * n, 0.98 + 0.0005 * (n % 5)) for n in range(30)]
    with drawing_style():
        figure = cost_chart(points, "parameters")
        figure.draw_without_rendering()
        (axes,) = figure.axes
        labels = [text for text in axes.texts if text.get_text()]
        assert len(labels) == 30
        renderer = figure.canvas.get_renderer()
        boxes = [label.get_tightbbox(renderer).extents for label in labels]
        extents = [super(type(one), one).get_window_extent(renderer).extents for one in labels]
    assert len(boxes) == 30
    for number, box in enumerate(extents):
        # Text metrics are rounded to whole pixels: a box may grow by one on each side.
        shrunk = box + np.array([1, 1, -1, -1])
        assert not any(overlap(shrunk, other) for other in extents[:number])


def test_no_interval_of_an_accuracy_leaves_0_to_100_per_cent():
    assert bounded_interval([98.0, 100.0])[2] == 100.0
    assert bounded_interval([0.0, 3.0])[1] == 0.0
    mean, low, high = bounded_interval([49.0, 50.0, 51.0])
    assert low < mean < high
    assert high - mean == pytest.approx(2.484, abs=1e-3)  # 4.303 / sqrt(3)
