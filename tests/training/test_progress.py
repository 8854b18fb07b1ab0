"""Heartbeats: at the start, after epochs but not too often, and none once the run has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from stn_core.session.beats import Beat, read_beats
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.callbacks import TellProgress, progress
from stn_core.training.run_cell import run_cell
from tests.watching import OnEpoch

pytestmark = pytest.mark.usefixtures("few_digits")
CELL = Cell("cnn", "few_digits", "smoke", Recipe(epochs=3))


@pytest.mark.parametrize(("least_seconds", "told"), [(0.0, [1, 2, 3]), (1e6, [0, 0, 0])])
def test_a_run_says_in_its_file_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least_seconds: float, told: list[int]
) -> None:
    monkeypatch.setattr(progress, "LEAST_SECONDS", least_seconds)
    folder = tmp_path / "running"
    seen = []
    watch = OnEpoch(lambda result, run: seen.append(read_beats(folder)))
    run_cell(CELL, [5], callbacks=[TellProgress(str(folder)), watch])
    assert seen == [[Beat(CELL.key, 5, epoch, 3)] for epoch in told]
    assert read_beats(folder) == []
