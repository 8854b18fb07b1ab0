"""The digest cache gives back what went in, and says so where it cannot."""

import dataclasses

import pytest

from stn_core.errors import UsageError
from stn_core.gate import digests
from stn_core.gate.digests import PassedSession, known_digests, read_digests, write_digests
from stn_core.gate.judgement import Judgement, Verdict
from tests.examples import CELL, baseline, environment, record

PLACE = environment().key()
STORED = baseline([0.94, 0.96])
NEWER = baseline([0.95, 0.97])


def judged(*records, verdict=Verdict.PASS, stored=STORED):
    return [Judgement(CELL.key, verdict, records=records, baseline=stored)]


def passed(*models, digest="digest-0"):
    runs = [record(0, model=model, digest=digest) for model in models]
    return [Judgement(run.key, Verdict.PASS, records=(run,), baseline=STORED) for run in runs]


def known(path, *models):
    """By model, the digests that count in a session of these models."""
    cells = [f"smoke/digits/{model}" for model in models]
    found = known_digests(read_digests(path)[0], cells)
    return {key.rpartition("/")[2]: digest for (_, key, _, _), digest in found.items()}


def test_a_round_trip_that_keeps_what_other_sessions_wrote(tmp_path):
    path = tmp_path / "digests.json"
    assert read_digests(path) == ([], [])
    write_digests(path, judged(record(0), record(1)))
    other = environment(instruction_set="AVX512")
    write_digests(path, judged(record(0, digest="anew"), record(0, environment=other)))
    assert known_digests(read_digests(path)[0], [CELL.key]) == {
        (PLACE, CELL.key, STORED.fingerprint, 0): "anew",
        (PLACE, CELL.key, STORED.fingerprint, 1): "digest-1",
        (other.key(), CELL.key, STORED.fingerprint, 0): "digest-0",
    }


def test_a_missing_folder_is_empty_and_is_created_on_writing(tmp_path):
    path = tmp_path / "results" / "of main" / "digests.json"
    assert read_digests(path) == ([], [])
    write_digests(path, judged(record(0)))
    assert len(read_digests(path)[0]) == 1


def test_digests_count_only_if_all_cells_passed_together(tmp_path):
    """Else a drop too small for each cell is remembered cell by cell, and no group ever sees it."""
    path = tmp_path / "digests.json"
    write_digests(path, passed("a"))
    write_digests(path, passed("b"))
    assert known(path, "a").keys() == {"a"}
    assert known(path, "a", "b") == {}
    write_digests(path, passed("a", "b"))
    assert known(path, "a", "b").keys() == {"a", "b"}
    assert known(path, "b").keys() == {"a", "b"}
    assert known(path, "a", "b", "c") == {}
    assert len(read_digests(path)[0]) == 1  # which says all that the smaller ones did


def test_a_partial_session_does_not_remove_digests_of_a_whole_one(tmp_path):
    path = tmp_path / "digests.json"
    write_digests(path, passed("a", "b"))
    write_digests(path, passed("a"))
    assert len(read_digests(path)[0]) == 1
    write_digests(path, passed("a", digest="anew"))
    assert known(path, "a", "b") == {"a": "digest-0", "b": "digest-0"}
    assert known(path, "a")["a"] == "anew"


def test_an_older_digest_counts_no_longer_beside_newer_ones_it_never_passed_with(tmp_path):
    path = tmp_path / "digests.json"
    elsewhere = environment(instruction_set="AVX512")
    there = [
        Judgement(run.key, Verdict.PASS, records=(run,), baseline=STORED)
        for run in (record(0, model=model, environment=elsewhere) for model in "ab")
    ]
    write_digests(path, passed("a", "b"))
    write_digests(path, there)
    improved = dataclasses.replace(passed("b", digest="better")[0], verdict=Verdict.IMPROVED)
    write_digests(path, [*passed("a", digest="anew"), improved])
    found = known_digests(read_digests(path)[0], ["smoke/digits/a", "smoke/digits/b"])
    assert {(place, key[-1], digest) for (place, key, _, _), digest in found.items()} == {
        (PLACE, "a", "anew"),
        (elsewhere.key(), "a", "digest-0"),
        (elsewhere.key(), "b", "digest-0"),
    }


def test_a_new_cell_does_not_keep_the_others_from_being_recognised(tmp_path):
    path = tmp_path / "digests.json"
    new = Judgement("smoke/digits/new", Verdict.NEW)
    write_digests(path, [*passed("a", "b"), new])
    ((session,), _) = read_digests(path)
    assert {key.rpartition("/")[2] for key in session.cells} == {"a", "b", "new"}
    assert known(path, "a", "b").keys() == {"a", "b"}


def test_digests_that_passed_against_an_older_baseline_are_removed(tmp_path):
    path = tmp_path / "digests.json"
    write_digests(path, judged(record(0), record(1)))
    write_digests(path, judged(record(1), stored=NEWER))
    digests = {(PLACE, CELL.key, NEWER.fingerprint, 1): "digest-1"}
    assert read_digests(path)[0] == [PassedSession(frozenset([CELL.key]), digests)]


def test_digests_are_read_visited_and_written_once_for_any_number_of_cells(tmp_path, monkeypatch):
    visited, written = [], []

    class Visited(dict):
        def items(self):
            visited.extend(self)
            return super().items()

    stored = Visited({(PLACE, f"smoke/digits/m{number}", "f", 0): "d" for number in range(50)})
    sessions = [PassedSession(frozenset(["smoke/digits/other"]), stored)]
    monkeypatch.setattr(digests, "read_digests", lambda path: (sessions, []))
    monkeypatch.setattr(digests, "write_at_once", lambda path, text: written.append(text))
    write_digests(tmp_path / "digests.json", passed(*(f"m{number}" for number in range(50))))
    assert len(visited) == 50
    assert len(written) == 1


@pytest.mark.parametrize("verdict", Verdict)
def test_only_a_run_that_passed_leaves_a_digest(tmp_path, verdict):
    path = tmp_path / "digests.json"
    write_digests(path, judged(record(0), verdict=verdict))
    assert bool(read_digests(path)[0]) is (verdict in (Verdict.PASS, Verdict.IDENTICAL))


def test_a_cache_of_an_older_version_counts_as_empty_and_is_replaced(tmp_path):
    path = tmp_path / "digests.json"
    path.write_text('{"version": 2, "digests": {"of": "another shape"}}')
    said = f"{path} is a digest cache of an older version and counts as empty"
    assert read_digests(path) == ([], [said])
    write_digests(path, judged(record(0)))
    sessions, notes = read_digests(path)
    assert (len(sessions), notes) == (1, [])


def in_a_session(digests):
    return f'{{"version": 3, "sessions": [{{"cells": [], "digests": {digests}}}]}}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ": not JSON: line 1, column 1: Expecting value"),
        ("[]", " is not a digest cache: it names no version"),
        ('{"version": 4}', " is not a digest cache of version 3: its version is 4"),
        (
            '{"version": true, "digests": {}}',
            " is not a digest cache of version 3: its version is True",
        ),
        ('{"version": 3}', ": sessions is missing"),
        (in_a_session("[1]"), ": sessions[0].digests must be an object, not [1]"),
        (in_a_session('{"a": {"b": {"c": {"0": null}}}}'), ": sessions[0].digests must be text"),
        (in_a_session('{"a": {"b": {"c": {"x": "d"}}}}'), ": a seed is not a number"),
    ],
)
def test_a_cache_that_cannot_be_used_is_named(tmp_path, text, complaint):
    path = tmp_path / "digests.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_digests(path)
    assert str(caught.value) == f"{path}{complaint}; delete it"
