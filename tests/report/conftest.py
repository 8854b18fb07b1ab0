"""Pages whose pictures are not what a test is about."""

import pytest
from matplotlib.figure import Figure

from stn_core.report import figures
from stn_core.report.svg import to_svg


@pytest.fixture
def pictures_left_out(monkeypatch):
    """A page's figures are made and not drawn, which takes most of the time of a page."""
    empty = to_svg(Figure(figsize=(1, 1)), "empty")
    monkeypatch.setattr(figures, "to_svg", lambda figure, name: empty)
