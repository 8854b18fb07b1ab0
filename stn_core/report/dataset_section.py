"""What a report shows of one dataset: its models against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stn_core.errors import needs_extra, printable
from stn_core.gate.judgement import Judgement
from stn_core.report.cell_section import Figure
from stn_core.report.charts import (
    Accuracies,
    Cost,
    Course,
    accuracy_chart,
    cost_chart,
    curves_chart,
    metric_chart,
    pareto_front,
)
from stn_core.report.figures import FigureFolder
from stn_core.report.finished_session import Session
from stn_core.report.published import PUBLISHED
from stn_core.session.cells import Place, split_key
from stn_core.session.file_names import file_stem

with needs_extra("report"):
    from markupsafe import Markup

_COSTS: Mapping[str, tuple[str, str, Callable[[Judgement], float]]] = {
    "parameters": (
        "parameters",
        "parameters",
        lambda one: max(record.parameters for record in one.records),
    ),
    "seconds": (
        "training time",
        "training, seconds a run",
        lambda one: float(np.mean([r.train_seconds for r in one.records if r.status == "ok"])),
    ),
}


_Judged = dict[str, list[Judgement]]
"""The cells of one budget and dataset, by session."""


@dataclass(frozen=True)
class DatasetTask:
    """The section of a budget and dataset, to be made in this or in another process.

    Args:
        place: the budget and the dataset.
        judgements: of its cells that have records, by session.
    """

    place: Place
    judgements: _Judged

    @property
    def is_drawn(self) -> bool:
        """Its charts are always drawn, however many cells there are."""
        return True

    def draw(self, figures: FigureFolder) -> dict[str, Any]:
        """Make the section, within `drawing_style`."""
        return _section(self.place, self.judgements, figures)


def dataset_tasks(sessions: Sequence[Session]) -> list[DatasetTask]:
    """A task for each budget and dataset that has a record, in the page's order.

    Args:
        sessions: one or more.
    """
    places: dict[Place, _Judged] = {}
    for session in sessions:
        for judgement in session.judgements:
            if judgement.records:
                place = places.setdefault(split_key(judgement.key).place, {})
                place.setdefault(session.name, []).append(judgement)
    return [DatasetTask(place, judgements) for place, judgements in sorted(places.items())]


def _section(place: Place, judgements: _Judged, draw: FigureFolder) -> dict[str, Any]:
    return {
        "place": str(place),
        "title": f"{place.dataset}, {place.budget}",
        "anchor": f"dataset-{place.budget}-{place.dataset}",
        "figures": [
            figure
            for images in ("test", "validation")  # which are never mixed
            for figure in _figures(place, images, judgements, draw)
        ],
    }


def _figures(place: Place, images: str, found: _Judged, draw: FigureFolder) -> list[Figure]:
    """The figures of what was measured on the test images, or of searches, on validation images."""
    measured = {
        session: [
            judgement
            for judgement in judgements
            if judgement.accuracies and judgement.on_validation == (images == "validation")
        ]
        for session, judgements in found.items()
    }
    judgements = [judgement for those in measured.values() for judgement in those]
    if not judgements:
        return []
    prefix = file_stem(*place) + ("-search" if images == "validation" else "")
    published = PUBLISHED if images == "test" else {}
    rows = _accuracies(place.dataset, measured, published)
    svg = draw(f"{prefix}-accuracy", "Accuracy by model", partial(accuracy_chart, rows, images))
    figures = [Figure(f"Accuracy on {images} images", _published_text(rows), Markup(svg))]
    for name, (cost, label, cost_of) in _COSTS.items() if len(judgements) > 1 else ():
        points = _costs(measured, cost_of)
        heading = f"Accuracy against {cost}"
        svg = draw(f"{prefix}-{name}", heading, partial(cost_chart, points, label))
        front = ", ".join(point.model for point in pareto_front(points))
        figures.append(Figure(heading, f"Pareto front: {front}.", Markup(svg)))
    figures += _metrics(prefix, measured, draw)
    courses = _courses(measured)
    for log in (False, True):
        name = f"{prefix}-curves{'-log' if log else ''}"
        svg = draw(
            name,
            "Learning curves of all models",
            partial(curves_chart, courses, log=log, train=False),
        )
        text = "Mean over the seeds, validation images."
        kind = "log" if log else "linear"
        figures.append(Figure("Learning curves of all models", text, Markup(svg), kind))
    return figures


def _metrics(
    prefix: str, measured: Mapping[str, Sequence[Judgement]], draw: FigureFolder
) -> Iterator[Figure]:
    """A figure for every registered metric that any run was measured by."""
    several = len(measured) > 1
    samples: dict[str, dict[str, list[float]]] = {}
    for session, judgements in measured.items():
        for judgement in judgements:
            for record in judgement.records:
                for name, value in record.metrics.items():
                    of_metric = samples.setdefault(name, {})
                    series = _series_name(judgement, session, several)
                    of_metric.setdefault(series, []).append(value)
    for name, found in sorted(samples.items()):
        label = name.replace("_", " ")
        heading = f"{label.capitalize()} by model"
        counted = {f"{series} (n = {len(values)})": values for series, values in found.items()}
        svg = draw(f"{prefix}-{name}", heading, partial(metric_chart, counted, label))
        yield Figure(heading, "Each mean with its own 95 % interval.", Markup(svg))


def _accuracies(
    dataset: str,
    measured: Mapping[str, Sequence[Judgement]],
    published: Mapping[tuple[str, str], Mapping[str, float]],
) -> list[Accuracies]:
    """One row per model, the best first."""
    groups: dict[str, dict[str, list[float]]] = {}
    stored: dict[str, list[float]] = {}
    for session, judgements in measured.items():
        for judgement in judgements:
            model = split_key(judgement.key).model
            groups.setdefault(model, {})[session] = judgement.accuracies
            if judgement.baseline:
                stored[model] = judgement.baseline.accuracies
    rows = [
        Accuracies(
            printable(model), found, stored.get(model, ()), published.get((dataset, model), {})
        )
        for model, found in groups.items()
    ]
    return sorted(rows, key=lambda row: -max(float(np.mean(v)) for v in row.groups.values()))


def _published_text(rows: Sequence[Accuracies]) -> str:
    """Where the stars come from, "" if there are none."""
    sources = sorted({source for row in rows for source in row.published})
    said = f"Stars: numbers published elsewhere ({', '.join(sources)})."
    return said if sources else ""


def _costs(
    measured: Mapping[str, Sequence[Judgement]], cost_of: Callable[[Judgement], float]
) -> list[Cost]:
    several = len(measured) > 1
    return [
        Cost(_series_name(judgement, session, several), max(cost_of(judgement), 1e-3), accuracy)
        for session, judgements in measured.items()
        for judgement in judgements
        for accuracy in [float(np.mean(judgement.accuracies))]
    ]


def _series_name(judgement: Judgement, session: str, several: bool) -> str:
    model = printable(split_key(judgement.key).model)
    return f"{model}, {session}" if several else model


def _courses(measured: Mapping[str, Sequence[Judgement]]) -> dict[str, list[Course]]:
    several = len(measured) > 1
    return {
        _series_name(judgement, session, several): [_mean_course(judgement)]
        for session, judgements in measured.items()
        for judgement in judgements
    }


def _mean_course(judgement: Judgement) -> list[dict[str, float]]:
    """The mean over the seeds, as far as the shortest of their trainings goes."""
    courses = [record.validation for record in judgement.records if record.status == "ok"]
    return [
        {
            name: float(np.mean([entry[name] for entry in entries]))
            for name in entries[0]
            if all(name in entry for entry in entries)
        }
        for entries in zip(*courses, strict=False)
    ]
