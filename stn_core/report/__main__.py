"""The command ``python -m stn_core.report``: a page of sessions, or two sides compared."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from stn_core.errors import UsageError, printable
from stn_core.report.text_table import WIDTH
from stn_core.session.file_names import COMPARISON_FILE, FIGURES_FOLDER, REPORT_FILE


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m stn_core.report",
        description=f"Write {REPORT_FILE}, and {FIGURES_FOLDER}/ beside it, of one session or of"
        f" several; or compare two sides, in a table and in {COMPARISON_FILE}.",
    )
    parser.add_argument("results", nargs="*", type=_path, help="results folders")
    parser.add_argument(
        "--compare",
        nargs=2,
        type=_path,
        metavar=("A", "B"),
        help="results folders, files of records or baselines files",
    )
    parser.add_argument(
        "--out",
        type=_path,
        help="the folder to write into (default: a single session's own, else here)",
    )
    parser.add_argument(
        "--draw",
        action="append",
        default=[],
        metavar="NAME,NAME",
        help="of more than 60 cells only those that fail and the best of each dataset are drawn:"
        " also draw those whose dataset-model contains one of these names ('all' for every cell)",
    )
    asked = parser.parse_args(arguments)
    if bool(asked.results) == bool(asked.compare):
        parser.error("name results folders, or two sides after --compare")
    return asked


def _path(text: str) -> Path:
    return Path(text).expanduser()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and say where it is, and what it lacks."""
    asked = parse_arguments(arguments)
    try:
        page = _compare(asked) if asked.compare else _report(asked)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    print(page)
    return 0


def _report(asked: argparse.Namespace) -> Path:
    from stn_core.report.session_page import write_report

    folder: Path = asked.out or (asked.results[0] if len(asked.results) == 1 else Path())
    figures = folder / FIGURES_FOLDER
    draw = [name for names in asked.draw for name in names.split(",") if name]
    _complain(
        write_report(
            asked.results, folder / REPORT_FILE, figures, draw=draw, on_progress=_show_progress
        )
    )
    return folder / REPORT_FILE


def _compare(asked: argparse.Namespace) -> Path:
    from stn_core.report.comparison import compare_sources
    from stn_core.report.comparison_output import (
        comparison_answer,
        comparison_lines,
        comparison_table,
        side_lines,
        write_comparison,
    )
    from stn_core.report.sources import read_source

    a, b = (read_source(path) for path in asked.compare)
    comparisons = compare_sources(a, b)
    _complain([*a.complaints, *b.complaints])
    table = comparison_table(comparisons, shutil.get_terminal_size((WIDTH, 0)).columns)
    lines = [comparison_answer(comparisons), "", *side_lines(a, b), "", table, ""]
    print("\n".join([*lines, *comparison_lines(comparisons)]))
    folder: Path = asked.out or Path()
    write_comparison(a, b, comparisons, folder / COMPARISON_FILE, folder / FIGURES_FOLDER)
    return folder / COMPARISON_FILE


def _show_progress(done: int, count: int) -> None:
    """A line that a terminal writes over; a log gets one for every tenth."""
    if sys.stderr.isatty():
        print(f"\rdrew {done} of {count} cells", end="\n" * (done == count), file=sys.stderr)
    elif count >= 10 and done * 10 // count > (done - 1) * 10 // count:
        print(f"drew {done} of {count} cells", file=sys.stderr)


def _complain(complaints: Sequence[str]) -> None:
    for complaint in complaints:
        print(printable(complaint), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
