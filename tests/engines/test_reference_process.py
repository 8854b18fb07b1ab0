"""The process of another commit answers with what that commit has."""

import dataclasses

import stn_core
from stn_core.engines import reference_process
from tests.examples import record


def test_a_metric_that_the_commit_lacks_is_not_measured(monkeypatch):
    settings = {**dataclasses.asdict(stn_core.RunSettings()), "checkout": ["c0ffee", False]}
    settings["metrics"] = ["macro_auc", "of_tomorrow"]
    asked = []

    def run_cell(cell, seeds, settings):
        asked.append(settings.metrics)
        return [record()]

    monkeypatch.setattr(stn_core, "run_cell", run_cell)
    answer = reference_process._answer(
        {
            "run": {
                "model": "stn",
                "dataset": "digits",
                "budget": "smoke",
                "seed": 0,
                "settings": settings,
            }
        }
    )
    assert "record" in answer
    assert asked == [("macro_auc",)]
