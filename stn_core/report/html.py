"""The page of one session or of several: one file that needs no network and no other file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_at_once
from stn_core.errors import UsageError
from stn_core.gate.verdict import Judgement
from stn_core.report.cell_section import CellSection, cell_section
from stn_core.report.compare import CellComparison, compare
from stn_core.report.compare_page import comparison_page_rows
from stn_core.report.compare_table import compare_lines
from stn_core.report.dataset_section import dataset_sections
from stn_core.report.figures import FigureFolder
from stn_core.report.page import render
from stn_core.report.session import Session, read_session
from stn_core.report.sources import read_source
from stn_core.report.svg import drawing_style
from stn_core.report.table import comparison_rows, remarks, tally


def write_report(
    folders: Sequence[Path], page: Path, figures: Path | None = None
) -> tuple[str, ...]:
    """Write the page of one session or of several, compared side by side.

    Args:
        folders: of results; one that cannot be read is left out, and the page says so.
        page: the file to write.
        figures: the folder where each figure goes as a file too; None for none.

    Returns:
        A sentence for everything that the page lacks.

    Raises:
        UsageError: none of the folders can be read, or the page cannot be written.
    """
    sessions, unreadable = _readable(folders)
    comparisons, incomparable = _comparisons(sessions)
    told = [complaint for session in sessions for complaint in session.complaints]
    try:
        draw = FigureFolder(figures)
        with drawing_style():
            content = build_page(sessions, comparisons, [*unreadable, *told, *incomparable], draw)
        page.parent.mkdir(parents=True, exist_ok=True)
        write_at_once(page, content)
    except OSError as error:
        raise UsageError(f"cannot write {page}: {error.strerror}") from None
    return (*unreadable, *told, *incomparable, *draw.failures)


def _readable(folders: Sequence[Path]) -> tuple[list[Session], list[str]]:
    """The sessions that can be read, each of a name of its own, and why others cannot be."""
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
            compared = compare(read_source(first.folder), read_source(other.folder))
        except UsageError as error:
            complaints.append(f"{other.name} is not compared: {error}")
        else:
            comparisons[f"{first.name} (A) against {other.name} (B)"] = compared
    return comparisons, complaints


def build_page(
    sessions: Sequence[Session],
    comparisons: Mapping[str, Sequence[CellComparison]],
    complaints: Sequence[str],
    figures: FigureFolder,
) -> str:
    """The page as text.

    Args:
        sessions: one or more, each of a name of its own.
        comparisons: of two of them each, by title.
        complaints: what the page lacks.
        figures: draws, within `drawing_style`.
    """
    cells = _cells(sessions, figures)
    datasets = dataset_sections(sessions, figures)
    return render(
        "report.html",
        title=" against ".join(session.name for session in sessions),
        sessions=[_overview(session) for session in sessions],
        datasets=[
            {**section, "cells": [cell for cell in cells if cell.place == section["place"]]}
            for section in datasets
        ],
        comparisons=[
            {"title": title, "rows": comparison_page_rows(pairs), "lines": compare_lines(pairs)}
            for title, pairs in comparisons.items()
        ],
        complaints=[*complaints, *figures.failures],
    )


def _cells(sessions: Sequence[Session], figures: FigureFolder) -> list[CellSection]:
    several = len(sessions) > 1
    return [
        cell_section(session, judgement, figures, named_session=several)
        for session in sessions
        for judgement, _ in comparison_rows(session.judgements)
        if judgement.records
    ]


def _overview(session: Session) -> dict[str, Any]:
    """What the head of the page says of a session."""
    rows = comparison_rows(session.judgements)
    looks = session.asked.looks
    seeds = max((len(judgement.records) for judgement in session.judgements), default=0)
    return {
        "name": session.name,
        "rows": [_row(session, judgement, row) for judgement, row in rows],
        "lines": [*tally(session.judgements, looks[-1] if looks else seeds)],
        "remarks": remarks(session.judgements),
        "command": session.asked.line,
        "environments": _environments(session.judgements),
        "recipes": _recipes(session.judgements),
    }


def _row(session: Session, judgement: Judgement, row: Mapping[str, str]) -> dict[str, Any]:
    return {
        "anchor": CellSection.anchor_of(session, judgement.key) if judgement.records else "",
        "verdict": judgement.verdict.name.lower(),
        "cells": row,
    }


def _environments(judgements: Iterable[Judgement]) -> list[dict[str, str]]:
    """Every environment that a run names, once, as text by field."""
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
    """Every recipe that a run names, with the cells that it trained."""
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
