"""The command ``stn``: reports of finished sessions, comparisons, predictions, exports, plans.

The file is long because it declares the arguments of every command.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from stn_core.errors import UsageError, printable, user_path
from stn_core.registry import split_names
from stn_core.session.file_names import (
    COMPARISON_FILE,
    FIGURES_FOLDER,
    HISTORY_FILE,
    REPORT_FILE,
)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; what it finds holds the function to call as `run`."""
    parser = argparse.ArgumentParser(
        prog="stn",
        description="Reports of finished sessions, comparisons, claims, predictions and plans.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_report(commands.add_parser("report", help="write the report of one or more sessions"))
    _add_compare(commands.add_parser("compare", help="compare two sides, cell by cell"))
    _add_claims(commands.add_parser("claims", help="judge published claims by stored values"))
    _add_predict(commands.add_parser("predict", help="classify images with a saved model"))
    _add_export(commands.add_parser("export", help="write a saved model as an ONNX file"))
    _add_history(commands.add_parser("history", help="draw each cell over several sessions"))
    _add_bisect(commands.add_parser("bisect", help="judge a commit for git bisect run"))
    _add_plan(commands.add_parser("plan", help="show what pytest would train", add_help=False))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 1 where anything that was asked for could not be had."""
    given, rest = make_parser().parse_known_args(arguments)
    if rest and given.run not in (_plan, _bisect):
        make_parser().error(f"unrecognized arguments: {' '.join(rest)}")
    given.rest = rest
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's has no encoding
            stream.reconfigure(errors="backslashreplace")
    try:
        status: int = given.run(given)
        sys.stdout.flush()
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # of a file that was named: every other one is told where it is read
        print(printable(f"{error.filename}: {error.strerror}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130  # as a shell says of a command that Ctrl-C ended
    return status


def _path(text: str) -> Path:
    try:
        return user_path(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.description = f"Write {REPORT_FILE}, and {FIGURES_FOLDER}/ beside it."
    parser.add_argument("results", nargs="+", type=_path, help="results folders")
    parser.add_argument(
        "--out", type=_path, help="the folder to write into (default: a single session's own)"
    )
    parser.add_argument(
        "--draw",
        action="append",
        default=[],
        metavar="NAMES",
        help="also draw cells whose dataset-model contains one of these names ('all' for every"
        " cell); beyond 60 cells, only those that fail and the best of each dataset are drawn by"
        " default",
    )
    parser.set_defaults(run=_report)


def _report(given: argparse.Namespace) -> int:
    from stn_core.report.session_page import write_report

    folder: Path = given.out or (given.results[0] if len(given.results) == 1 else Path())
    page, figures = folder / REPORT_FILE, folder / FIGURES_FOLDER
    draw = [name for names in given.draw for name in split_names(names)]
    _complain(write_report(given.results, page, figures, draw=draw, on_progress=_show_progress))
    print(printable(str(page)))
    return 0


def _show_progress(done: int, count: int) -> None:
    """A line that a terminal writes over; a log gets one for every tenth."""
    from stn_core.report.cell_drawing import progress_line

    if sys.stderr.isatty():
        print(f"\rdrew {done} of {count} cells", end="\n" * (done == count), file=sys.stderr)
    elif line := progress_line(done, count):
        print(line, file=sys.stderr)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = f"Print a table, and write it with figures to {COMPARISON_FILE}."
    sides = "a results folder, a file of records, a baselines file, or (both) a saved model"
    parser.add_argument("a", metavar="A", type=_path, help=sides)
    parser.add_argument(
        "b", metavar="B", nargs="?", type=_path, help="the other side: one of the same"
    )
    parser.add_argument(
        "--models",
        metavar="NAMES",
        help="instead of B: compare these models of A with each other on each dataset ('all' for"
        " all of them); the table also goes to models.csv",
    )
    parser.add_argument(
        "--margin",
        metavar="POINTS",
        type=float,
        help="with --models: a pair whose interval lies within ± this many points is equivalent",
    )
    parser.add_argument("--out", type=_path, default=Path(), help="the folder to write into")
    saved = parser.add_argument_group("two saved models, on the same test images")
    saved.add_argument(
        "--dataset", metavar="NAME", help="whose test set (default: what both were trained on)"
    )
    saved.add_argument(
        "--data-root", metavar="FOLDER", type=_path, help="the datasets (default: STN_DATA)"
    )
    _add_device_and_imports(saved)
    parser.set_defaults(run=_compare)


def _compare(given: argparse.Namespace) -> int:
    if bool(given.models) == bool(given.b):
        raise UsageError("stn compare takes two sides, A and B, or one side and --models")
    if given.models:
        return _compare_models(given)
    are_saved = {path.suffix == ".safetensors" for path in (given.a, given.b)}
    if len(are_saved) > 1:
        raise UsageError("a saved model is compared with another saved model, and nothing else")
    return _compare_saved(given) if are_saved.pop() else _compare_sides(given)


def _compare_models(given: argparse.Namespace) -> int:
    from stn_core.report.model_pairs import (
        compare_models,
        pairs_answer,
        pairs_table,
        write_pairs,
    )
    from stn_core.report.sources import read_source
    from stn_core.report.text_table import WIDTH

    source = read_source(given.a)
    names = [] if given.models == "all" else split_names(given.models)
    pairs, complaints = compare_models(source, names, given.margin)
    _complain([*source.complaints, *complaints])
    table = pairs_table(pairs, shutil.get_terminal_size((WIDTH, 0)).columns)
    print("\n".join([pairs_answer(pairs), "", table, ""]))
    write_pairs(pairs, given.out / "models.csv")
    print(printable(str(given.out / "models.csv")))
    return 0


def _compare_saved(given: argparse.Namespace) -> int:
    """1 where B is worse, as for a gate."""
    from stn_core.report.comparison import Finding
    from stn_core.report.paired_models import paired_lines, paired_table, write_paired_page
    from stn_core.session.user_modules import import_models
    from stn_core.suite.paired_models import compare_saved_models

    import_models(split_names(given.imports), Path.cwd())
    root = str(given.data_root) if given.data_root else os.environ.get("STN_DATA")
    pair = compare_saved_models(given.a, given.b, given.dataset, root, given.device)
    print("\n".join([*paired_lines(pair), "", paired_table(pair), ""]))
    page = given.out / COMPARISON_FILE
    write_paired_page(pair, page, given.out / FIGURES_FOLDER)
    print(page)
    return int(pair.finding is Finding.A_BETTER)


def _compare_sides(given: argparse.Namespace) -> int:
    from stn_core.report.comparison import compare_sources
    from stn_core.report.comparison_output import (
        comparison_answer,
        comparison_lines,
        comparison_table,
        side_lines,
        write_comparison,
    )
    from stn_core.report.sources import read_source
    from stn_core.report.text_table import WIDTH

    a, b = read_source(given.a), read_source(given.b)
    comparisons = compare_sources(a, b)
    _complain([*a.complaints, *b.complaints])
    table = comparison_table(comparisons, shutil.get_terminal_size((WIDTH, 0)).columns)
    lines = [comparison_answer(comparisons), "", *side_lines(a, b), "", table, ""]
    print("\n".join([*lines, *comparison_lines(comparisons)]))
    page = given.out / COMPARISON_FILE
    write_comparison(a, b, comparisons, page, given.out / FIGURES_FOLDER)
    print(printable(str(page)))
    return 0


def _add_claims(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print a table of verdicts, and write it as claims.md and claims.html."
    parser.add_argument("claims", metavar="CLAIMS", type=_path, help="a TOML file of claims")
    parser.add_argument(
        "--baselines",
        type=_path,
        default=Path("baselines.json"),
        help="the baselines file (default: baselines.json)",
    )
    parser.add_argument(
        "--evidence",
        type=_path,
        default=Path("evidence.jsonl.gz"),
        help="a file of complete records (default: evidence.jsonl.gz, if there is one)",
    )
    parser.add_argument("--out", type=_path, default=Path(), help="the folder to write into")
    parser.add_argument(
        "--readme",
        metavar="FILE",
        type=_path,
        help="also put the ten most telling claims into this Markdown file, between its lines"
        " <!-- claims --> and <!-- /claims -->",
    )
    parser.set_defaults(run=_claims)


def _claims(given: argparse.Namespace) -> int:
    """1 where an entry of the file is wrong; the other claims are judged all the same."""
    from stn_core.atomic_files import write_at_once
    from stn_core.report.claims import read_claims
    from stn_core.report.claims_page import write_claims_page
    from stn_core.report.claims_text import claims_document, claims_table, tally_line
    from stn_core.suite.claims import judge_file, unknown_names, update_readme

    claims = read_claims(given.claims)
    wrong = [*claims.refused, *unknown_names(claims)]
    judged = judge_file(claims, given.baselines, given.evidence)
    print("\n".join([tally_line(judged), "", claims_table(judged), ""]))
    command = f"stn claims {given.claims}"
    given.out.mkdir(parents=True, exist_ok=True)
    write_at_once(given.out / "claims.md", claims_document(judged, command))
    write_claims_page(judged, given.out / "claims.html", command)
    print(printable(str(given.out / "claims.html")))
    if given.readme:
        update_readme(given.readme, judged)
    _complain(wrong)
    return int(bool(wrong))


def _complain(complaints: Sequence[str]) -> None:
    for complaint in complaints:
        print(printable(complaint), file=sys.stderr)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Images are converted to grey or colour as the model needs, and transparent pixels become"
        " its training background. Nothing is inverted: a model trained on white digits on black"
        " expects white on black."
    )
    parser.add_argument(
        "model", metavar="MODEL", type=_path, help="a file that --save-models wrote"
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=_path, help="image files")
    parser.add_argument(
        "--top", metavar="K", type=int, default=3, help="how many classes to print (default: 3)"
    )
    parser.add_argument("--resize", action="store_true", help="stretch images of another size")
    parser.add_argument(
        "--warped",
        metavar="FOLDER",
        type=_path,
        help="the folder for pictures of each image next to its warped version",
    )
    _add_device_and_imports(parser)
    parser.set_defaults(run=_predict)


def _add_device_and_imports(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    _add_imports(parser)


def _add_imports(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="NAMES",
        default="",
        help="modules or files that register models, comma-separated",
    )


def _predict(given: argparse.Namespace) -> int:
    from stn_core.suite.predict import predict

    return predict(given)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "The file takes uint8 images (batch, C, H, W), any number of them, and normalises them as"
        " the model's training did; its output is the logits."
    )
    parser.add_argument(
        "model", metavar="MODEL", type=_path, help="a file that --save-models wrote"
    )
    parser.add_argument(
        "--onnx", metavar="OUT", type=_path, required=True, help="the file to write"
    )
    _add_imports(parser)
    parser.set_defaults(run=_export)


def _export(given: argparse.Namespace) -> int:
    from stn_core.suite.export import export

    return export(given)


def _add_history(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"Draw the accuracy of each cell over the commits of sessions, with its baseline, into"
        f" {HISTORY_FILE}."
    )
    parser.add_argument(
        "results", nargs="+", type=_path, help="results folders, the oldest session first"
    )
    parser.add_argument(
        "--baselines",
        type=_path,
        default=Path("baselines.json"),
        help="the baselines file (default: baselines.json, where there is one)",
    )
    parser.add_argument("--out", type=_path, default=Path(), help="the folder to write into")
    parser.set_defaults(run=_history)


def _history(given: argparse.Namespace) -> int:
    from stn_core.report.history import histories, history_answer, history_text, write_history
    from stn_core.report.sources import read_source

    sessions = [read_source(folder) for folder in given.results]
    baselines = read_source(given.baselines) if given.baselines.is_file() else None
    sources = [*sessions, *([baselines] if baselines else [])]
    _complain([line for source in sources for line in source.complaints])
    cells = histories(sessions, baselines)
    print("\n".join([history_answer(cells), "", history_text(cells), ""]))
    page = given.out / HISTORY_FILE
    write_history(cells, [source.line for source in sources], page, given.out / FIGURES_FOLDER)
    print(page)
    return 0


def _add_bisect(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare the code as it is with a good commit. The exit status is what 'git bisect run'"
        " expects: 1 where it is worse, 0 where it is not, 125 where it cannot be judged."
    )
    parser.add_argument("revision", metavar="REV", help="a commit that is known to be good")
    parser.usage = "stn bisect REV [arguments of pytest]"
    parser.set_defaults(run=_bisect)


def _bisect(given: argparse.Namespace) -> int:
    from stn_core.suite.bisect import bisect

    return bisect(given.revision, given.rest)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_plan)


def _plan(given: argparse.Namespace) -> int:
    """Everything after the word goes to pytest: ``stn plan benchmarks -m core``."""
    import pytest

    return int(pytest.main(["--stn-plan", *given.rest]))
