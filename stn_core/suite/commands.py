"""The command ``stn``: reports of finished sessions, comparisons, predictions, exports, plans."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stn_core.errors import UsageError, is_missing, printable
from stn_core.registry import split_names
from stn_core.session.file_names import (
    EVIDENCE_FILE,
    FIGURES_FOLDER,
    HISTORY_FILE,
    REPORT_FILE,
)
from stn_core.suite.command_arguments import (
    ENDS_BISECTION,
    add_baselines,
    add_device_and_imports,
    add_imports,
    add_out,
    add_saved_model,
    as_existing_path,
    as_path,
    complain,
    import_given,
    run_pytest,
    show_path,
)
from stn_core.suite.compare_command import add_compare

if TYPE_CHECKING:
    from stn_core.report.sources import Source


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; its result has the function to call as `run`."""
    parser = argparse.ArgumentParser(
        prog="stn",
        description="Report on sessions, compare results and models, and use trained models.",
    )
    parser.set_defaults(status_if_it_fails=2)  # argparse's own for wrong arguments
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, add, said in (
        ("report", _add_report, "write the report of one or more sessions"),
        ("compare", add_compare, "compare two sessions, baselines or saved models"),
        ("claims", _add_claims, "judge published claims by stored values"),
        ("predict", _add_predict, "classify images with a saved model"),
        ("export", _add_export, "write a saved model as an ONNX file"),
        ("history", _add_history, "draw the accuracy of each cell over several sessions"),
        ("bisect", _add_bisect, "judge the checked-out commit for 'git bisect run'"),
        ("plan", _add_plan, "show what pytest would train"),
    ):
        add(commands.add_parser(name, help=said))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    1 says that the answer is bad (a worse model, a wrong claim, an image that cannot be read), 2
    that there is none, since the command could not do what it was asked to. ``stn bisect`` has the
    statuses that git expects, ``stn plan`` those of pytest.
    """
    given, rest = make_parser().parse_known_args(arguments)
    failed: int = given.status_if_it_fails
    if rest and given.run not in (_plan, _bisect):
        make_parser().error(f"unrecognized arguments: {' '.join(rest)}")
    given.rest = rest
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's stream has no encoding
            stream.reconfigure(errors="backslashreplace")
    try:
        status: int = given.run(given)
        print(end="", flush=True)  # also where there is no standard output
    except UsageError as error:
        print(error, file=sys.stderr)
        return failed
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failed
    except OSError as error:  # of a file that the user named; others are handled by their readers
        where = f"{error.filename}: " if error.filename else ""  # "" if the output's disk is full
        print(printable(f"{where}{error.strerror or error}"), file=sys.stderr)
        return failed
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130  # a shell's status for a command that Ctrl-C ended
    except Exception:  # a user's model, say; Python's own status, 1, would be an answer
        traceback.print_exc()
        return failed
    return status


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.description = f"Write {REPORT_FILE}, and {FIGURES_FOLDER}/ beside it."
    parser.add_argument("results", nargs="+", type=as_path, help="results folders")
    parser.add_argument(
        "--out", type=as_path, help="the folder to write into (default: a single session's own)"
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
    complain(write_report(given.results, page, figures, draw=draw, on_progress=_show_progress))
    show_path(page)
    return 0


def _show_progress(done: int, count: int) -> None:
    """Show a line that the next one overwrites; a log gets one line for every tenth."""
    from stn_core.report.section_drawing import progress_line

    if sys.stderr.isatty():
        print(f"\rdrew {done} of {count} sections", end="\n" * (done == count), file=sys.stderr)
    elif line := progress_line(done, count):
        print(line, file=sys.stderr)


def _add_claims(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print a table of verdicts, and write it as claims.md and claims.html."
    parser.add_argument("claims", metavar="CLAIMS", type=as_path, help="a TOML file of claims")
    add_baselines(parser)
    parser.add_argument(
        "--evidence",
        type=as_existing_path,
        default=Path(EVIDENCE_FILE),
        help=f"a file of complete records (default: {EVIDENCE_FILE}, if there is one)",
    )
    add_imports(parser)
    add_out(parser)
    parser.add_argument(
        "--readme",
        metavar="FILE",
        type=as_path,
        help="also put the ten most telling claims into this Markdown file, between its lines"
        " <!-- claims --> and <!-- /claims -->",
    )
    parser.set_defaults(run=_claims)


def _claims(given: argparse.Namespace) -> int:
    """1 if an entry of the file is wrong; the other claims are still judged."""
    from stn_core.report.claims import read_claims
    from stn_core.report.claims_text import claims_table, tally_line
    from stn_core.suite.claims import judge_file, update_readme, with_known_names, write_claims

    import_given(given)
    claims = with_known_names(read_claims(given.claims))
    judged = judge_file(claims, given.baselines, given.evidence)
    print("\n".join([tally_line(judged), "", claims_table(judged), ""]))
    show_path(write_claims(judged, given.out, _claims_command(given)))
    if given.readme:
        update_readme(given.readme, judged)
    complain(claims.complaints)
    return int(bool(claims.complaints))


def _claims_command(given: argparse.Namespace) -> str:
    """The command that judges the same claims by the same values."""
    words = ["stn", "claims", str(given.claims)]
    for name, usual in (("baselines", "baselines.json"), ("evidence", EVIDENCE_FILE)):
        path = getattr(given, name)
        words += [f"--{name}", str(path)] if path != Path(usual) else []
    words += ["--import", given.imports] if given.imports else []
    return shlex.join(words)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the most likely classes of each image. Images are converted to grey or colour as the"
        " model needs, and transparent pixels become the background it was trained with. Images are"
        " not inverted: a model trained on white digits on black expects white on black."
    )
    add_saved_model(parser)
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=as_path, help="image files")
    parser.add_argument(
        "--top", metavar="K", type=int, default=3, help="how many classes to print (default: 3)"
    )
    parser.add_argument("--resize", action="store_true", help="stretch images of another size")
    parser.add_argument(
        "--warped",
        metavar="FOLDER",
        type=as_path,
        help="also draw each image next to its warped version, into this folder",
    )
    add_device_and_imports(parser)
    parser.set_defaults(run=_predict)


def _predict(given: argparse.Namespace) -> int:
    from stn_core.suite.predict import predict

    return predict(given)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a saved model as an ONNX file. It takes any number of uint8 images (batch, C, H, W),"
        " normalises them as in training, and returns logits."
    )
    add_saved_model(parser)
    parser.add_argument(
        "--onnx", metavar="OUT", type=as_path, required=True, help="the file to write"
    )
    add_imports(parser)
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
        "results", nargs="+", type=as_path, help="results folders, the oldest session first"
    )
    add_baselines(parser, "baselines.json, if there is one")
    add_out(parser)
    parser.set_defaults(run=_history)


def _history(given: argparse.Namespace) -> int:
    from stn_core.report.history import histories, history_answer, history_text, write_history
    from stn_core.report.sources import read_source

    sessions, unreadable = _sources(given.results)
    baselines = None if is_missing(given.baselines) else read_source(given.baselines)
    sources = [*sessions, *([baselines] if baselines else [])]
    cells, messages = histories(sessions, baselines)
    of_sources = [line for source in sources for line in source.complaints]
    complaints = [*unreadable, *of_sources, *messages]
    complain(complaints)
    print("\n".join([history_answer(cells), "", history_text(cells), ""]))
    page = given.out / HISTORY_FILE
    lines = [source.line for source in sources]
    write_history(cells, lines, complaints, page, given.out / FIGURES_FOLDER)
    show_path(page)
    return 0


def _sources(folders: Sequence[Path]) -> tuple[list[Source], list[str]]:
    """The sessions that have results, and a message for every other one.

    Raises:
        UsageError: none has results.
    """
    from stn_core.report.sources import read_source

    sources: list[Source] = []
    messages: list[str] = []
    for folder in folders:
        try:
            sources.append(read_source(folder))
        except UsageError as error:
            messages.append(f"left out: {error}")
    if not sources:
        raise UsageError("; ".join(messages))
    return sources, messages


def _add_bisect(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare the checked-out code with a good commit. The exit status is what 'git bisect run'"
        " expects: 1 if the code is worse, 0 if it is not, 125 if it cannot be judged. If the"
        f" command itself is wrong, the status is {ENDS_BISECTION}, which ends the bisection."
    )
    # Optional only for argparse, whose exit status for a missing argument git reads as worse.
    parser.add_argument(
        "revision", metavar="REV", nargs="?", help="a commit that is known to be good"
    )
    parser.usage = "stn bisect REV [arguments of pytest]"
    parser.set_defaults(run=_bisect, status_if_it_fails=ENDS_BISECTION)


def _bisect(given: argparse.Namespace) -> int:
    from stn_core.suite.bisect import bisect

    if given.revision is None:
        raise UsageError("stn bisect: name a good commit: stn bisect REV [arguments of pytest]")
    return bisect(given.revision, given.rest)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show cells, seeds and expected time without training anything: 'pytest --stn-plan' with"
        " the same arguments. 'pytest --help' lists them."
    )
    parser.usage = "stn plan [arguments of pytest]"
    parser.set_defaults(run=_plan)


def _plan(given: argparse.Namespace) -> int:
    """Everything after the word goes to pytest: ``stn plan benchmarks -m core``."""
    return run_pytest(["--stn-plan", *given.rest])
