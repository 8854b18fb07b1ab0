"""The numbers behind the charts, against their definitions; the figures, against what they lose."""

import base64
import io
import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image
from scipy import stats

from stn_core.gate.intervals import Difference
from stn_core.report.cell_charts import calibration_error
from stn_core.report.charts import (
    Accuracies,
    Cost,
    accuracy_chart,
    cost_chart,
    curves_chart,
    difference_chart,
    mean_interval,
    metric_chart,
    pareto_front,
)
from stn_core.report.history import CellHistory, history_chart
from stn_core.report.model_pairs import compare_models
from stn_core.report.model_pairs_page import matrix_chart
from stn_core.report.mosaics import gallery
from stn_core.report.svg import drawing_style, for_page, line_style, new_figure, to_svg
from tests.report.folders import COURSE
from tests.report.test_comparison import cell, source

costs = st.builds(
    Cost,
    model=st.just("m"),
    cost=st.integers(1, 5).map(float),
    accuracy=st.integers(0, 5).map(lambda n: n / 5),
)


def beats(a, b):
    """At least as good in both, and better in one."""
    no_worse = a.cost <= b.cost and a.accuracy >= b.accuracy
    return no_worse and (a.cost, a.accuracy) != (b.cost, b.accuracy)


@given(st.lists(costs, min_size=1, max_size=8))
def test_the_pareto_front_is_what_nothing_beats(points):
    front = pareto_front(points)
    unbeaten = [p for p in points if not any(beats(other, p) for other in points)]
    values = [(point.cost, point.accuracy) for point in front]
    assert values == sorted({(point.cost, point.accuracy) for point in unbeaten})


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_the_interval_of_a_mean_is_students(values):
    mean, half = mean_interval(values)
    spread = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=spread or 1e-300)
    assert mean - half == pytest.approx(low, abs=1e-9)
    assert mean + half == pytest.approx(high, abs=1e-9)


def test_a_figure_s_title_may_hold_any_characters():
    with drawing_style():
        svg = to_svg(new_figure(2, 2)[0], "any")
    assert r'aria-label="\d and \g&lt;0&gt;"' in for_page(svg, r"\d and \g&lt;0&gt;")


SESSIONS = ("2026-11-30_05-29-22", "2026-11-30_05-36-22")
NAMES = (
    "cnn",
    "spinal_stn_coordcls",
    "stn[channels=(16,32,64),kernels=(3,3,3),localisation_hidden=64,sampler=linearized,warp=tps]",
    "a_name_without_any_comma_or_blank_" * 10,
)
ACCURACIES = [0.9, 0.92]
COMMITS = ("a1b2c3d", "195fb28 with uncommitted changes", ", ".join(["a1b2c3d"] * 9))
IN_SESSIONS = [f"{name}, {session}" for session in SESSIONS for name in NAMES]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: accuracy_chart(
            [Accuracies(name, dict.fromkeys(SESSIONS, ACCURACIES), ACCURACIES) for name in NAMES],
            "test",
        ),
        lambda: metric_chart(dict.fromkeys(NAMES, ACCURACIES), "recall"),
        lambda: difference_chart([(name, Difference(0.0, -1.0, 1.0)) for name in IN_SESSIONS]),
        lambda: cost_chart([Cost(name, n + 1.0, 0.1 * n) for n, name in enumerate(NAMES)], "s"),
        lambda: curves_chart({name: [COURSE] for name in IN_SESSIONS}, log=False),
        lambda: matrix_chart(
            compare_models(source(*(cell(ACCURACIES, name) for name in NAMES)))[0]
        ),
        lambda: history_chart(CellHistory("a/b/c", "cpu", COMMITS, (ACCURACIES,) * 3, [], 500)),
    ],
    ids=["accuracy", "metric", "difference", "cost", "curves", "matrix", "history"],
)
def test_long_names_stay_within_the_figure_and_leave_room_for_the_chart(draw):
    with drawing_style():
        figure = draw()
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
    texts = [text for text in figure.findobj(Text) if re.search("[a-z]{3}", text.get_text())]
    assert len(texts) >= 3
    for text in texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.width + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= figure.bbox.height + 1, text
    labels = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
    rows = sorted((box.y0, box.y1) for box in labels)
    assert all(below[1] < above[0] + 1 for below, above in itertools.pairwise(rows))
    for axes in figure.axes:
        assert axes.bbox.width > 0.25 * figure.bbox.width
        assert axes.bbox.height > 0.8 * figure.dpi


def test_no_two_of_32_curves_look_alike():
    styles = [line_style(number) for number in range(32)]
    assert all(style not in styles[:number] for number, style in enumerate(styles))


def test_a_single_value_has_no_interval():
    mean, half = mean_interval([0.25])
    assert mean == 0.25
    assert np.isnan(half)


def test_the_calibration_error_weighs_bins_by_their_images():
    bins = np.array([[3, 0.5, 0.25], [1, 0.9, 1.0]])
    assert calibration_error(bins) == pytest.approx((3 * 0.25 + 1 * 0.1) / 4)


pixels = arrays(np.uint8, st.sampled_from([(2, 1, 5, 7), (3, 3, 4, 6)]))


def embedded_image(svg):
    (data,) = re.findall(r'href="data:image/webp;base64,([^"]+)"', svg)
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    return np.asarray(image.convert("RGBA"))


def on_a_page(images):
    """How many pixels of a gallery are opaque on a page, and those where the first picture is."""
    with drawing_style():
        svg = to_svg(gallery(images, [""] * len(images)), "name")
    sheet = embedded_image(for_page(svg, "title"))
    height, width = images.shape[2:]
    return (sheet[..., 3] == 255).sum(), sheet[:height, :width, :3]


def first_picture(images):
    height, width = images.shape[2:]
    return np.broadcast_to(np.moveaxis(images[0], 0, -1), (height, width, 3))


@pytest.mark.parametrize("shape", [(2, 1, 5, 7), (3, 3, 4, 6)])
def test_a_picture_keeps_its_pixels_on_its_way_into_the_page(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    opaque, shown = on_a_page(images)
    assert opaque == images[:, 0].size
    assert np.array_equal(shown, first_picture(images))


@pytest.mark.nightly
@given(images=pixels)
def test_a_picture_loses_no_pixel_on_its_way_into_the_page(images):
    opaque, shown = on_a_page(images)
    assert opaque == images[:, 0].size
    assert np.array_equal(shown, first_picture(images))


def test_a_figure_takes_the_ink_of_the_page_and_keeps_its_text():
    with drawing_style():
        figure, axes = new_figure(2, 2)
        axes.set_xlabel("<b>accuracy & more</b>")
        svg = to_svg(figure, "name")
    element = for_page(svg, "a title")
    assert "currentColor" in element
    assert "#1a1b1c" not in element
    assert "&lt;b&gt;accuracy &amp; more&lt;/b&gt;" in element
    assert 'aria-label="a title"' in element


def test_the_users_own_style_has_no_part_in_it():
    import matplotlib

    def drawn():
        with drawing_style():
            figure, axes = new_figure(2, 2)
            axes.plot([1, 2], [3, 4])
            return to_svg(figure, "name")

    plain = drawn()
    with matplotlib.rc_context({"lines.linewidth": 9, "text.color": "red"}):
        assert drawn() == plain
        assert matplotlib.rcParams["lines.linewidth"] == 9
