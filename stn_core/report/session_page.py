"""The page of one or several sessions: one file that needs no network and no other file."""

from __future__ import annotations

import collections
import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_output
from stn_core.errors import UsageError, printable
from stn_core.gate.difference import SIDE_LOOKS
from stn_core.gate.judgement import Judgement
from stn_core.report.cell_section import CellSection, CellTask, anchors
from stn_core.report.comparison import CellComparison, compare_sources
from stn_core.report.comparison_output import comparison_lines, comparison_page_rows
from stn_core.report.dataset_section import dataset_tasks
from stn_core.report.finished_session import Session, read_session
from stn_core.report.model_pairs import ModelPair, compare_models, pairs_answer, pairs_page_rows
from stn_core.report.page import render
from stn_core.report.results_table import ResultsRow, ResultsTable, results_table
from stn_core.report.section_drawing import cells_to_draw, draw_sections
from stn_core.report.sources import read_source, source_of_records
from stn_core.session.cells import split_key

MOST_PAIRS = 1000
"""More pairs of models than this are not listed: their number is the square of the models'."""


@dataclass(frozen=True)
class _Results:
    """A session, its table, and an id of the page for each of its cells that has records."""

    session: Session
    table: ResultsTable
    anchors: Mapping[str, str]


def write_report(
    folders: Sequence[Path],
    page: Path,
    figures: Path | None = None,
    *,
    table: ResultsTable | None = None,
    draw: Sequence[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Write the page of one session, or of several that are compared side by side.

    Args:
        folders: of results; one that cannot be read is left out, and the page says so.
        page: the file to write.
        figures: the folder where each figure goes as a file too; None for none.
        table: of the only session, if it is known already.
        draw: parts of names ("digits-stn") of cells to draw if there are too many to draw
            them all; `cells_to_draw` says which are drawn anyway.
        on_progress: called after each section with how many are drawn, and of how many.

    Returns:
        A message for everything that the page lacks.

    Raises:
        UsageError: none of the folders can be read, or the page cannot be written.
    """
    sessions, complaints = _readable(folders)
    complaints += [complaint for session in sessions for complaint in session.complaints]
    comparisons, incomparable = _comparisons(sessions)
    complaints += incomparable
    known = table if len(sessions) == 1 else None
    results = [_results(number, session, known) for number, session in enumerate(sessions, start=1)]
    places = dataset_tasks(sessions)
    sections, undrawn = draw_sections(
        [*places, *_tasks(results, draw)], figures, on_progress or (lambda done, count: None)
    )
    datasets, cells = sections[: len(places)], sections[len(places) :]
    complaints += undrawn
    write_output(page, build_page(results, datasets, cells, comparisons, complaints))
    return tuple(complaints)


def _results(number: int, session: Session, table: ResultsTable | None) -> _Results:
    if table is None:
        table = results_table(session.judgements, _most_seeds(session), session.groups)
    return _Results(session, table, anchors(number, table))


def _most_seeds(session: Session) -> int:
    """How many seeds a cell could have used; if that is unknown, the most that one did use."""
    asked = session.asked
    if not asked.looks:
        return max((len(judgement.records) for judgement in session.judgements), default=0)
    return min(asked.looks[-1], SIDE_LOOKS[-1]) if asked.against else asked.looks[-1]


def _tasks(results: Sequence[_Results], draw: Sequence[str]) -> list[CellTask]:
    """The sections of the page's cells, in its order.

    Their records are those that the page has read: a table that was made for judging has none of
    their curves.
    """
    several = len(results) > 1
    return [
        CellTask(
            session=one.session.name if several else "",
            anchor=one.anchors[row.judgement.key],
            judgement=read.get(row.judgement.key, row.judgement),
            shown=one.session.shown.get(row.judgement.key),
            is_drawn=row.judgement.key in drawn,
        )
        for one in results
        for drawn in [cells_to_draw(one.table, draw)]
        for read in [{judgement.key: judgement for judgement in one.session.judgements}]
        for row in one.table.rows
        if row.judgement.records
    ]


def _readable(folders: Sequence[Path]) -> tuple[list[Session], list[str]]:
    """The sessions that can be read, with different names, and why others cannot be."""
    sessions: list[Session] = []
    complaints: list[str] = []
    for folder in dict.fromkeys(folders):
        try:
            sessions.append(read_session(folder))
        except UsageError as error:
            complaints.append(str(error))
    if not sessions:
        raise UsageError("; ".join(complaints))
    if len({session.name for session in sessions}) < len(sessions):
        sessions = [replace(session, name=str(session.folder)) for session in sessions]
    return sessions, complaints


def _comparisons(
    sessions: Sequence[Session],
) -> tuple[dict[str, tuple[CellComparison, ...]], list[str]]:
    """Every further session against the first, by title, and why one cannot be compared."""
    first = sessions[0]
    comparisons = {}
    complaints = []
    for other in sessions[1:]:
        try:
            compared = compare_sources(read_source(first.folder), read_source(other.folder))
        except UsageError as error:
            complaints.append(f"{other.name} is not compared: {error}")
        else:
            comparisons[f"{first.name} (A) against {other.name} (B)"] = compared
    return comparisons, complaints


def _pairs(session: Session) -> tuple[dict[str, list[ModelPair]], list[str]]:
    """The pairs of models of each budget and dataset, without those that have no interval.

    Returns:
        The pairs by place, and how to see them if there are too many for the page.
    """
    models = collections.Counter(split_key(j.key).place for j in session.judgements if j.records)
    count = sum(math.comb(number, 2) for number in models.values())
    if count > MOST_PAIRS:
        command = f"stn compare {shlex.quote(str(session.folder))} --models all"
        return {}, [f"{count:,} pairs of models are not compared here; {command} compares them"]
    records = [record for judgement in session.judgements for record in judgement.records]
    try:
        pairs, _ = compare_models(source_of_records(session.folder, records))
    except UsageError:  # no dataset has two models that were evaluated
        return {}, []
    found: dict[str, list[ModelPair]] = {}
    for pair in pairs:
        if not math.isnan(pair.points.low):
            place = split_key(pair.first.key).place
            found.setdefault(str(place), []).append(pair)
    return found, []


def build_page(
    results: Sequence[_Results],
    datasets: Sequence[Mapping[str, Any]],
    cells: Sequence[CellSection],
    comparisons: Mapping[str, Sequence[CellComparison]],
    complaints: Sequence[str],
) -> str:
    """The page as text.

    Args:
        results: one or more, of sessions with different names.
        datasets: their sections of datasets, without cells.
        cells: their sections of cells.
        comparisons: of two sessions each, by title.
        complaints: what the page lacks.
    """
    by_place: dict[str, list[CellSection]] = {}
    for cell in cells:
        by_place.setdefault(cell.place, []).append(cell)
    sessions = [one.session for one in results]
    pairs, lines = _pairs(sessions[0]) if len(sessions) == 1 else ({}, [])
    return render(
        "report.html",
        title=" against ".join(session.name for session in sessions),
        sessions=[_overview(one, lines) for one in results],
        datasets=[
            {
                **section,
                "cells": by_place.get(section["place"], []),
                "pairs": _pairs_of_page(pairs.get(section["place"], [])),
            }
            for section in datasets
        ],
        comparisons=[
            {"title": title, "rows": comparison_page_rows(pairs), "lines": comparison_lines(pairs)}
            for title, pairs in comparisons.items()
        ],
        complaints=complaints,
    )


def _pairs_of_page(pairs: Sequence[ModelPair]) -> dict[str, Any]:
    """A folded table; empty if nothing is compared."""
    return {"answer": pairs_answer(pairs), "rows": pairs_page_rows(pairs)} if pairs else {}


def _overview(results: _Results, lines: Sequence[str]) -> dict[str, Any]:
    """The head of the page for a session, with further lines below its table."""
    session, table = results.session, results.table
    return {
        "name": session.name,
        "answer": table.answer,
        "groups": table.group_lines,
        "passes": table.passes,
        "rows": [_row(results.anchors, row) for row in table.rows],
        "lines": [*table.remarks, *table.tally, *lines],
        "notes": [printable(note) for note in session.asked.notes],
        "command": session.asked.line,
        "environments": _environments(session.judgements),
        "recipes": _recipes(session.judgements),
    }


def _row(anchors: Mapping[str, str], row: ResultsRow) -> dict[str, Any]:
    return {
        "anchor": anchors.get(row.judgement.key, ""),
        "verdict": row.judgement.verdict.name.lower(),
        "cells": row.texts,
    }


def _environments(judgements: Iterable[Judgement]) -> list[dict[str, str]]:
    """Every environment of the runs, once, as text by field."""
    records = [record for judgement in judgements for record in judgement.records]
    found = {}
    for record in records:
        values = {**record.environment.place(), "stn_core": record.environment.stn_core}
        dirty = " with uncommitted changes" if record.environment.dirty else ""
        values["commit"] = f"{record.environment.commit or 'none'}{dirty}"
        text = {name: _text(value) for name, value in values.items()}
        found[json.dumps(text, sort_keys=True)] = text
    return list(found.values())


def _text(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _recipes(judgements: Iterable[Judgement]) -> list[dict[str, Any]]:
    """Every recipe of the runs, with the cells that it trained."""
    cells: dict[str, list[str]] = {}
    fields = {}
    for judgement in judgements:
        for record in judgement.records[:1]:
            cells.setdefault(record.recipe_hash, []).append(judgement.key)
            fields[record.recipe_hash] = {k: _text(v) for k, v in record.recipe.items()}
    return [
        {"hash": code, "cells": ", ".join(keys), "fields": fields[code]}
        for code, keys in cells.items()
    ]
