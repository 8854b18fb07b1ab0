"""What a report shows of one cell: its curves, its mistakes, how sure it is, what its warp does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from stn_core.errors import needs_extra, printable
from stn_core.gate.judgement import Judgement, accuracy_text
from stn_core.report.cell_charts import (
    MOST_NUMBERED_CLASSES,
    calibration_chart,
    calibration_error,
    confusion_chart,
    theta_chart,
)
from stn_core.report.charts import curves_chart
from stn_core.report.figures import FigureFolder
from stn_core.report.finished_session import Shown
from stn_core.report.mosaics import film_strip, gallery, warp_figure
from stn_core.report.results_table import ResultsTable
from stn_core.report.text_table import counted
from stn_core.session.artifacts import Mistakes, WarpPictures
from stn_core.session.cells import split_key
from stn_core.session.file_names import file_stem
from stn_core.session.records import RunRecord

with needs_extra("report"):
    from markupsafe import Markup


_NOT_IN_ANCHORS = re.compile(r"[^\w-]", re.ASCII)
"""A page's address has any other character only as a code, by which its script finds no cell."""


@dataclass(frozen=True)
class Figure:
    """A figure on the page.

    Args:
        heading: over it.
        text: under it, "" for nothing.
        svg: the element; empty if there is only text.
        kind: "" or a class that the page's style or script knows.
    """

    heading: str
    text: str
    svg: Markup
    kind: str = ""


@dataclass(frozen=True)
class CellSection:
    """A cell on the page.

    Args:
        anchor: its id.
        place: ``budget/dataset``.
        title: the model, and the session if there are several.
        verdict: as in the table; `verdict_name` is its class in the page's style.
        facts: terms and their descriptions.
        figures: in order.
    """

    anchor: str
    place: str
    title: str
    verdict: str
    verdict_name: str
    facts: tuple[tuple[str, str], ...]
    figures: tuple[Figure, ...]

    @property
    def has_warps(self) -> bool:
        """Whether it shows images before and after a warp."""
        return any(figure.kind == "warps" for figure in self.figures)


def anchors(number: int, table: ResultsTable) -> dict[str, str]:
    """An id that no other cell of the page has, by key, for each cell that has records.

    Args:
        number: of the session on the page.
        table: of the session.
    """
    return {
        row.judgement.key: "cell-" + _NOT_IN_ANCHORS.sub("-", f"{number}-{n}-{row.judgement.key}")
        for n, row in enumerate(table.rows)
        if row.judgement.records
    }


@dataclass(frozen=True)
class CellTask:
    """The section of a cell, to be made in this or in another process.

    Args:
        session: the name of its session if the page has several, else "".
        anchor: its id on the page.
        judgement: of the cell; it has records.
        shown: the run whose pictures are drawn, None if there is none.
        is_drawn: whether it has pictures.
    """

    session: str
    anchor: str
    judgement: Judgement
    shown: Shown | None
    is_drawn: bool

    def draw(self, figures: FigureFolder) -> CellSection:
        """Make the section, within `drawing_style`."""
        return _cell_section(self, figures)


def _cell_section(task: CellTask, draw: FigureFolder) -> CellSection:
    judgement, shown = task.judgement, task.shown
    cell = split_key(judgement.key)
    prefix = file_stem(*cell)
    if task.session:
        prefix = f"{task.session}-{prefix}"
    figures: list[Figure] = []
    if task.is_drawn:
        figures += _curves(prefix, judgement.records, draw)
    if task.is_drawn and shown:
        try:
            figures += _pictures(prefix, judgement.records, shown, draw)
        except Exception as error:  # odd records must not cost the rest of the page
            reason = f"{type(error).__name__}: {error}"
            draw.failures.append(f"{judgement.key} is not shown completely: {reason}")
    return CellSection(
        anchor=task.anchor,
        place=str(cell.place),
        title=f"{cell.model}, {task.session}" if task.session else cell.model,
        verdict=str(judgement.verdict),
        verdict_name=judgement.verdict.name.lower(),
        facts=_facts(task),
        figures=tuple(figures),
    )


def _facts(task: CellTask) -> tuple[tuple[str, str], ...]:
    judgement, records = task.judgement, task.judgement.records
    cell = split_key(judgement.key)
    seconds = [record.train_seconds for record in records if record.status == "ok"]
    facts = [
        ("accuracy, % (runs)", accuracy_text(judgement.accuracies) or "none"),
        ("seeds", ", ".join(str(record.seed) for record in records)),
        ("parameters", f"{max(record.parameters for record in records):,}"),
    ]
    if seconds:
        facts.append(("training, s a run", f"{np.mean(seconds):.1f}"))
        kept = ", ".join(str(record.kept_epoch) for record in records if record.status == "ok")
        facts.append(("epoch kept", kept))
    if machines := _kinds_of_machine(records):
        facts.append(("ran on", machines))
    failed = [f"seed {r.seed} {r.status}: {r.message}" for r in records if r.status != "ok"]
    if failed:
        facts.append(("failed", "; ".join(failed)))
    if judgement.message:
        facts.append(("verdict", judgement.message))
    if not task.is_drawn:
        facts.append(("pictures", f"not drawn; --draw {shlex.quote(cell.id)} draws them"))
    elif task.shown:
        facts.append(("pictures", f"of seed {task.shown.record.seed}"))
    return tuple(facts)


def _kinds_of_machine(records: Sequence[RunRecord]) -> str:
    """On which kinds of machine the seeds ran, "" if only on one."""
    kinds: dict[str, list[RunRecord]] = {}
    for record in records:
        kinds.setdefault(record.environment.key(), []).append(record)
    if len(kinds) == 1:
        return ""
    texts = [
        f"{runs[0].environment.device_name} ({runs[0].environment.instruction_set}):"
        f" seed{'s' * (len(runs) > 1)} {', '.join(str(run.seed) for run in runs)}"
        for runs in kinds.values()
    ]
    return f"{len(kinds)} kinds of machine: {'; '.join(texts)}"


def _curves(prefix: str, records: Sequence[RunRecord], draw: FigureFolder) -> Iterator[Figure]:
    courses = {
        f"seed {record.seed}": [record.validation] for record in records if record.validation
    }
    if not courses:
        return
    for log in (False, True):
        name = f"{prefix}-curves{'-log' if log else ''}"
        svg = draw(name, "Learning curves", partial(curves_chart, courses, log=log))
        yield Figure("Learning curves", "", Markup(svg), "log" if log else "linear")


def _pictures(
    prefix: str,
    records: Sequence[RunRecord],
    shown: Shown,
    draw: FigureFolder,
) -> Iterator[Figure]:
    artifacts = shown.artifacts
    classes = [str(name) for name in artifacts.class_names]
    yield from _confusion(prefix, records, classes, draw)
    if artifacts.mistakes:
        yield from _mistakes(prefix, shown.record, artifacts.mistakes, classes, draw)
    if artifacts.warps:
        yield from _warps(prefix, artifacts.warps, classes, draw)


def _confusion(
    prefix: str, records: Sequence[RunRecord], classes: Sequence[str], draw: FigureFolder
) -> Iterator[Figure]:
    matrices = [np.array(record.confusion) for record in records if record.confusion]
    matrices = [matrix for matrix in matrices if matrix.shape == (len(classes), len(classes))]
    if not matrices:
        return
    counts = np.sum(matrices, axis=0)
    svg = draw(
        f"{prefix}-confusion",
        "Confusion matrix",
        partial(confusion_chart, counts, [_short(name) for name in classes]),
    )
    wrong = counts - np.diag(np.diag(counts))
    named = 5 if len(classes) <= MOST_NUMBERED_CLASSES else 20
    order = np.argsort(-wrong, axis=None, kind="stable")[:named]
    pairs = [np.unravel_index(place, wrong.shape) for place in order]
    worst = ", ".join(
        f"{classes[true]} as {classes[predicted]} ({wrong[true, predicted]},"
        f" {100 * wrong[true, predicted] / counts[true].sum():.1f} %)"
        for true, predicted in pairs
        if wrong[true, predicted]
    )
    runs = counted(len(matrices), "run")
    text = f"Counts of {runs}, and per cent of the true class. Most often: {worst}."
    yield Figure("Confusion matrix", text if worst else "No mistake.", Markup(svg))


def _mistakes(
    prefix: str,
    shown: RunRecord,
    mistakes: Mistakes,
    classes: Sequence[str],
    draw: FigureFolder,
) -> Iterator[Figure]:
    bins = mistakes.calibration
    if len(bins):
        error = 100 * calibration_error(bins)
        svg = draw(f"{prefix}-calibration", "Calibration", partial(calibration_chart, bins))
        yield Figure("Calibration", f"Expected calibration error {error:.2f} points.", Markup(svg))
    first = [_caption(classes, *row[1:]) for row in mistakes.first_mistakes]
    worst = [
        _caption(classes, entry["label"], entry["predicted"], entry["confidence"])
        for entry in shown.worst_mistakes
    ]
    for heading, name, captions in (
        ("The first mistakes", "first", first),
        ("The most confident mistakes", "worst", worst),
    ):
        images, warped = getattr(mistakes, f"{name}_images"), getattr(mistakes, f"{name}_warped")
        if captions and len(captions) == len(images):
            drawn = partial(gallery, images, captions, warped)
            text = "True class → predicted class, confidence."
            text += " Below each image, the warped one." if len(warped) else ""
            yield Figure(heading, text, Markup(draw(f"{prefix}-{name}-mistakes", heading, drawn)))


def _caption(classes: Sequence[str], label: float, predicted: float, confidence: float) -> str:
    true, guess = (_short(classes[int(index)]) for index in (label, predicted))
    arrow = " → " if len(true + guess) < 8 else "\n→ "
    return f"{true}{arrow}{guess}\n{100 * confidence:.0f} %"


def _short(name: str, most: int = 12) -> str:
    name = printable(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _warps(
    prefix: str, warps: WarpPictures, classes: Sequence[str], draw: FigureFolder
) -> Iterator[Figure]:
    short = [_short(name) for name in classes]
    svg = draw(f"{prefix}-warps", "Images before and after", partial(warp_figure, warps, short))
    yield Figure("Before and after the warp", _geometry(warps), Markup(svg), "warps")
    if warps.theta.shape[1]:
        svg = draw(
            f"{prefix}-theta",
            "Theta by class",
            partial(theta_chart, warps.theta, warps.theta_labels, short),
        )
        text = f"Mean and standard deviation over {len(warps.theta)} validation images."
        yield Figure("Theta by class", text, Markup(svg))
    if len(warps.film):
        svg = draw(f"{prefix}-film", "Film of the training", partial(film_strip, warps))
        yield Figure("The warp during training", "", Markup(svg))


def _geometry(warps: WarpPictures) -> str:
    """How the warps change areas, in a few sentences."""
    outside = 100 * warps.outside
    finite = warps.least_det[np.isfinite(warps.least_det)]
    folds = int(np.sum(warps.folded > 0))
    said = (
        f"Over {len(outside)} validation images {outside.mean():.1f} % of the warped image"
        f" (at most {outside.max():.1f} %) was read from outside the frame;"
        f" {counted(folds, 'warp')} fold{'s' * (folds == 1)}."
    )
    if len(finite):
        said += (
            f" The smallest det J is {np.median(finite):.2f} in the median image and"
            f" {finite.min():.2f} in the worst."
        )
    if len(finite) < len(outside):
        said += f" Not finite: {counted(len(outside) - len(finite), 'warp')}."
    return (
        f"{said} Orange: the sampling grid. Last row, from -2 to 2:"
        " red shrinks the input, blue enlarges it, black folds it."
    )
