"""The numbers behind the charts, against their definitions; the figures, against what they lose."""

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import stats

from stn_core.report.cell_charts import calibration_error
from stn_core.report.charts import Cost, mean_interval, pareto_front
from stn_core.report.mosaics import gallery
from stn_core.report.svg import drawing_style, for_page, new_figure, to_svg

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
