"""Which runs of a folder, a file of records or a baselines file count, and what is left out."""

import dataclasses
import json

import pytest

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines, write_baselines
from stn_core.report.finished_session import read_session
from stn_core.report.sources import read_source
from stn_core.session.evidence import add_evidence
from stn_core.session.records import append_record
from tests.examples import CELL, DATA_HASH, baseline, environment, record


def written(path, *records):
    for one in records:
        append_record(path, one)
    return path


def stored(path, cells):
    runs = [run for cell in cells.values() for run in cell.runs]
    places = {run.environment: environment(device_type=run.device).place() for run in runs}
    write_baselines(path, Baselines(cells, places))
    return path


def on_cuda(cell):
    place = environment(device_type="cuda").key()
    runs = [dataclasses.replace(run, device="cuda", environment=place) for run in cell.runs]
    return dataclasses.replace(cell, runs=(*cell.runs, *runs))


def test_a_folder_and_its_file_hold_the_same(tmp_path):
    file = written(tmp_path / "records.jsonl", record(1, 0.9), record(0, 0.8))
    folder = read_source(tmp_path)
    (cell,) = folder.cells
    assert (cell.key, cell.device, cell.test_images) == ("smoke/digits/stn", "cpu", 500)
    assert [run.seed for run in cell.runs] == [0, 1]
    assert cell.accuracies == [0.8, 0.9]
    assert folder.environments == {environment().key(): environment().place()}
    assert dataclasses.replace(folder, path=file) == read_source(file)


def test_an_evidence_file_is_a_source(tmp_path):
    add_evidence(tmp_path / "evidence.jsonl.gz", [record(0, 0.8), record(1, 0.9)])
    (cell,) = read_source(tmp_path / "evidence.jsonl.gz").cells
    assert cell.accuracies == [0.8, 0.9]
    with pytest.raises(UsageError):
        read_source(tmp_path / "none.jsonl.gz")


def test_a_damaged_plan_is_reported_since_it_may_name_further_records(tmp_path):
    written(tmp_path / "records.jsonl", record(0, 0.8), record(1, 0.9))
    assert read_source(tmp_path).complaints == ()  # a folder of records may have none
    (tmp_path / "session.json").write_text("{")
    (line,) = read_source(tmp_path).complaints
    assert "what was asked for is not known" in line


def test_baselines_are_cells_too(tmp_path):
    path = stored(tmp_path / "b.json", {CELL.key: baseline([0.7, 0.8])})
    source = read_source(path)
    (cell,) = source.cells
    assert (cell.key, cell.accuracies) == (CELL.key, [0.7, 0.8])
    assert source.line == f"{path}: 1 cell, 2 runs, commit c0ffee"
    assert source.complaints == ()


def test_devices_are_kept_apart(tmp_path):
    of_baselines = read_source(
        stored(tmp_path / "b.json", {CELL.key: on_cuda(baseline([0.7, 0.8]))})
    )
    gpu = environment(device_type="cuda")
    path = written(tmp_path / "r.jsonl", record(0, environment=gpu), record(0), record(1))
    for source in (of_baselines, read_source(path)):
        assert [cell.device for cell in source.cells] == ["cpu", "cuda"]
        assert all({run.device for run in cell.runs} == {cell.device} for cell in source.cells)


def test_the_last_record_of_a_seed_counts(tmp_path):
    crashed = record(1, None, status="crashed", test_cross_entropy=None)
    path = written(tmp_path / "r.jsonl", crashed, record(0, 0.5), record(0, 0.6), record(1, 0.7))
    source = read_source(path)
    assert source.cells[0].accuracies == [0.6, 0.7]
    (complaint,) = source.complaints
    assert complaint.endswith(": several records of one seed (0) differ; the last one counts")
    assert read_source(written(path, crashed)).cells[0].accuracies == [0.6]


def test_a_session_finds_the_records_it_was_given_where_they_have_moved_with_it(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    session, share = there / "results" / "session", there / "shares" / "a" / "records.jsonl"
    for folder in (session, share.parent):
        folder.mkdir(parents=True)
    written(share, record(0, 0.6))
    options = {"results": str(session), "from_records": [str(share)]}
    (session / "session.json").write_text(json.dumps({"options": options}))
    there.rename(here)
    moved = here / "results" / "session"
    assert read_source(moved).cells[0].accuracies == [0.6]
    assert read_session(moved).judgements[0].accuracies == [0.6]
    share.parent.mkdir(parents=True)
    written(share, record(0, 0.7))
    assert read_source(moved).cells[0].accuracies == [0.7]
    share.unlink()
    (here / "shares" / "a" / "records.jsonl").unlink()
    with pytest.raises(UsageError, match=f"^{moved} holds no results: there is no file {share}$"):
        read_source(moved)


def test_left_out_records_are_reported_in_one_line_each(tmp_path):
    runs = [record(seed, None, status="diverged") for seed in (5, 3)]
    runs.append(record(7, None, is_search=True, test_images=0, test_cross_entropy=None))
    path = written(tmp_path / "r.jsonl", *runs, record(0))
    with path.open("a") as file:
        file.write('{"model": "st\n')
    source = read_source(path)
    assert source.complaints == (
        f"{path}, line 5: incomplete, skipped",
        "smoke/digits/stn: is_search is True, not False; 1 record left out",
        "smoke/digits/stn: left out, diverged: seeds 3, 5",
    )


def test_a_search_that_did_not_see_the_test_images_is_left_out_of_the_search(tmp_path):
    closed = record(7, None, is_search=True, test_images=0, test_cross_entropy=None)
    path = written(tmp_path / "r.jsonl", record(6, is_search=True), closed)
    source = read_source(path)
    assert [run.seed for run in source.cells[0].runs] == [6]
    assert source.complaints == (
        "smoke/digits/stn: left out, not evaluated on the test images: seed 7",
    )


def test_recipes_and_data_are_not_mixed(tmp_path):
    path = written(
        tmp_path / "r.jsonl",
        record(0, 0.5, recipe_hash="old"),
        record(1, 0.6, data_hash="old"),
        record(2, 0.7),
    )
    source = read_source(path)
    assert source.cells[0].accuracies == [0.7]
    assert source.complaints == (
        f"smoke/digits/stn: recipe_hash is 'old', not {CELL.recipe.hash()!r}; 1 record left out",
        f"smoke/digits/stn: data_hash is 'old', not {DATA_HASH!r}; 1 record left out",
    )
    again = written(tmp_path / "s.jsonl", record(0), record(1, recipe_hash="old"), record(0, 0.8))
    assert read_source(again).cells[0].accuracies == [0.8]


def test_several_commits_are_named(tmp_path):
    old = environment(commit="0123456789abcdef", dirty=True)
    path = written(
        tmp_path / "r.jsonl",
        record(0, environment=old),
        record(1, environment=environment(commit="fedcba9876543210", dirty=False)),
    )
    source = read_source(path)
    assert source.line.endswith("2 runs, commits 0123456 with uncommitted changes, fedcba9")
    assert source.complaints == (
        "smoke/digits/stn: its runs were made at several commits:"
        " 0123456 with uncommitted changes, fedcba9",
    )


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.json", None, "cannot read {path}: No such file"),
        ("none.jsonl", None, "cannot read {path}: no such file"),
        ("empty.jsonl", "", "{path} holds no run that was evaluated on the test images"),
        ("text.jsonl", "hello\n", "on the test images; {path}, line 1: incomplete, skipped"),
        ("empty.json", "", "{path}: not JSON: line 1, column 1"),
        ("other.json", '{"cells": {}}', "{path} is not a baselines file: it names no version"),
        ("bare.json", '{"version": 1, "environments": {}, "cells": {}}', "{path} holds no run"),
        ("records.txt", json.dumps({"seed": 0}), "; the name of a file of records ends in .jsonl"),
    ],
)
def test_a_path_that_is_not_a_source_is_refused_in_one_line(tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError) as error:
        read_source(path)
    assert says.format(path=path) in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_records_and_a_folder_in_the_way_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"there is no file .*records\.jsonl"):
        read_source(tmp_path)
    (tmp_path / "records.jsonl").mkdir()
    with pytest.raises(UsageError, match=r"cannot read .*records\.jsonl: Is a directory"):
        read_source(tmp_path)
