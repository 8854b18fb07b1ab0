"""Whole records that are kept: what goes in comes out, and nothing is lost."""

from __future__ import annotations

import dataclasses

import pytest

from stn_core.errors import UsageError
from stn_core.session.answers import answers_like_the_last
from stn_core.session.evidence import add_evidence, read_evidence
from stn_core.session.records import append_record
from tests.examples import environment, record


def test_evidence_is_read_back_sorted_and_the_newer_record_counts(tmp_path):
    path = tmp_path / "evidence.jsonl.gz"
    first, second = record(seed=1), record(seed=0)
    add_evidence(path, [first])
    add_evidence(path, [second, dataclasses.replace(first, message="again")])
    assert read_evidence(path) == [second, dataclasses.replace(first, message="again")]


def test_the_same_records_make_the_same_file(tmp_path):
    one, other = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    add_evidence(one, [record(seed=0), record(seed=1)])
    add_evidence(other, [record(seed=1)])
    add_evidence(other, [record(seed=0)])
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("newer", ["2.10.0", "2.11.0", "2.12.0", "2.13.0"])
def test_of_a_seed_in_several_environments_the_one_added_last_counts(tmp_path, newer):
    """Whatever their hashes are, and also when an environment gets a second run."""
    path = tmp_path / "evidence.jsonl.gz"
    versions = ("2.10.0", "2.11.0", "2.12.0", "2.13.0")
    add_evidence(path, [record(environment=environment(torch=torch)) for torch in versions])
    new = record(accuracy=0.97, environment=environment(torch=newer))
    add_evidence(path, [new])
    kept = read_evidence(path)
    assert len(kept) == len(versions)
    assert kept[-1] == new
    assert answers_like_the_last(kept)[0] == {new.key: [new]}
    # Another seed changes nothing about it.
    add_evidence(path, [record(seed=1), record(seed=0, model="cnn")])
    assert [run for run in read_evidence(path) if (run.model, run.seed) == ("stn", 0)] == kept


def test_runs_of_a_new_recipe_or_of_new_data_replace_the_older_ones_of_their_cell(tmp_path):
    path = tmp_path / "evidence.jsonl.gz"
    other_cell = record(seed=0, model="cnn")
    on_card = record(seed=0, environment=environment(device_type="cuda"))
    add_evidence(path, [record(seed=0), record(seed=1), other_cell, on_card])
    for changes in ({"recipe_hash": "new"}, {"recipe_hash": "new", "data_hash": "new"}):
        new = record(seed=0, **changes)
        add_evidence(path, [new])
        kept = read_evidence(path)
        assert len(kept) == 3
        assert all(run in kept for run in (new, other_cell, on_card))
    add_evidence(path, [record(seed=1, **changes)])
    assert len(read_evidence(path)) == 4


def test_the_records_of_a_session_are_evidence_as_they_are(tmp_path):
    runs = [record(seed=1), record(seed=0)]
    for run in runs:
        append_record(tmp_path / "records.jsonl", run)
    assert read_evidence(tmp_path / "records.jsonl") == runs


def test_no_file_holds_nothing(tmp_path):
    assert read_evidence(tmp_path / "none.gz") == []


@pytest.mark.parametrize("content", [b"no record", b"\xff", b"", b"\x1f\x8b\x08\x00broken"])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, content):
    path = tmp_path / "evidence.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"evidence\.jsonl\.gz"):
        read_evidence(path)
