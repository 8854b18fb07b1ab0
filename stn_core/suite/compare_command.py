"""The command ``stn compare``: two sides, several models of one, or two saved models."""

from __future__ import annotations

import argparse
import os
import shutil

from stn_core.errors import UsageError
from stn_core.registry import split_names
from stn_core.session.file_names import COMPARISON_FILE, FIGURES_FOLDER
from stn_core.suite.command_arguments import (
    add_device_and_imports,
    add_out,
    as_path,
    complain,
    import_given,
    show_path,
)
from stn_core.suite.option_values import read_image_size


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``stn compare``."""
    parser.description = (
        f"Print a table, and write it with figures to {COMPARISON_FILE}. The exit status is 1 if A"
        " and B are saved models and B is worse, and 2 if they cannot be compared."
    )
    sides = "a results folder, a file of records, a baselines file or a saved model"
    parser.add_argument("a", metavar="A", type=as_path, help=sides)
    parser.add_argument(
        "b", metavar="B", nargs="?", type=as_path, help="the other side; a saved model if A is one"
    )
    parser.add_argument(
        "--models",
        metavar="NAMES",
        help="instead of B: compare these models of A with each other on each dataset ('all' for"
        " all of them); the numbers also go to models.csv",
    )
    parser.add_argument(
        "--margin",
        metavar="POINTS",
        type=float,
        help="with --models: a pair whose interval is within ± this many points is equivalent",
    )
    add_out(parser)
    saved = parser.add_argument_group("two saved models, on the same test images")
    saved.add_argument(
        "--dataset",
        metavar="NAME",
        help="the test images' dataset (default: that of training)",
    )
    saved.add_argument(
        "--data-root",
        metavar="FOLDER",
        type=as_path,
        help="the folder of the datasets (default: STN_DATA)",
    )
    saved.add_argument(
        "--image-size",
        metavar="N|HxW",
        type=_as_image_size,
        help="the size that a folder's images are resized to, as in the training",
    )
    add_device_and_imports(saved)
    parser.set_defaults(run=_compare)


def _as_image_size(text: str) -> tuple[int, int]:
    try:
        return read_image_size(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _compare(given: argparse.Namespace) -> int:
    if bool(given.models) == bool(given.b):
        raise UsageError("stn compare takes two sides, A and B, or one side and --models")
    if given.margin is not None and not (given.models and 0 < given.margin <= 100):
        raise UsageError("--margin needs --models and a number of points above 0 and up to 100")
    are_saved = {path.suffix == ".safetensors" for path in (given.a, given.b) if path}
    if len(are_saved) > 1:
        raise UsageError("a saved model can only be compared with another one")
    if are_saved == {True} and not given.models:
        return _compare_saved(given)
    for option, value, unused in (
        ("--dataset", given.dataset, None),
        ("--data-root", given.data_root, None),
        ("--image-size", given.image_size, None),
        ("--device", given.device, "auto"),
        ("--import", given.imports, ""),
    ):
        if value != unused:
            raise UsageError(f"{option} is for two saved models: drop it here")
    return _compare_models(given) if given.models else _compare_sides(given)


def _compare_models(given: argparse.Namespace) -> int:
    from stn_core.report.model_pairs import (
        compare_models,
        pairs_answer,
        pairs_table,
        write_pairs,
    )
    from stn_core.report.model_pairs_page import write_pairs_page
    from stn_core.report.sources import read_source
    from stn_core.report.text_table import WIDTH

    source = read_source(given.a)
    named = [] if given.models == "all" else split_names(given.models)
    names = [_name_in_records(name) for name in named]
    if given.models != "all" and not names:
        raise UsageError("--models: name models, or all")
    pairs, complaints = compare_models(source, names, given.margin)
    complaints = [*source.complaints, *complaints]
    complain(complaints)
    table = pairs_table(pairs, shutil.get_terminal_size((WIDTH, 0)).columns)
    print("\n".join([pairs_answer(pairs), "", table, ""]))
    write_pairs(pairs, given.out / "models.csv")
    page = given.out / COMPARISON_FILE
    write_pairs_page(pairs, source, page, given.out / FIGURES_FOLDER, complaints)
    show_path(page)
    return 0


def _name_in_records(model: str) -> str:
    """The one name of a variant, however it was spelled; a model may be one that only others have.

    Raises:
        UsageError: the name is malformed.
    """
    if "[" not in model:  # no variant, and torch takes a while to import
        return model
    from stn_core.models import model_name
    from stn_core.models.variants import parse_variant, variant_name

    try:
        return model_name(model)
    except UsageError:
        return variant_name(*parse_variant(model))


def _compare_saved(given: argparse.Namespace) -> int:
    """1 if B is worse, as for a gate."""
    from stn_core.report.comparison import Finding
    from stn_core.report.paired_models import paired_lines, paired_table, write_paired_page
    from stn_core.suite.paired_models import compare_saved_models

    import_given(given)
    root = str(given.data_root) if given.data_root else os.environ.get("STN_DATA")
    pair = compare_saved_models(
        given.a, given.b, given.dataset, root, given.image_size, given.device
    )
    print("\n".join([*paired_lines(pair), "", paired_table(pair), ""]))
    page = given.out / COMPARISON_FILE
    write_paired_page(pair, page, given.out / FIGURES_FOLDER)
    show_path(page)
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
    complain([*a.complaints, *b.complaints])
    table = comparison_table(comparisons, shutil.get_terminal_size((WIDTH, 0)).columns)
    lines = [comparison_answer(comparisons), "", *side_lines(a, b), "", table, ""]
    print("\n".join([*lines, *comparison_lines(comparisons)]))
    page = given.out / COMPARISON_FILE
    write_comparison(a, b, comparisons, page, given.out / FIGURES_FOLDER)
    show_path(page)
    return 0
