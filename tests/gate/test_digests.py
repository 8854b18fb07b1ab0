"""The digest cache gives back what went in, and says so where it cannot."""

import dataclasses

import pytest

from stn_core.errors import UsageError
from stn_core.gate import digests
from stn_core.gate.digests import (
    PassedRun,
    PassedSession,
    known_digests,
    read_digests,
)
from stn_core.gate.judgement import Judgement, Verdict
from tests.examples import CELL, baseline, environment, record

PLACE = environment().key()
STORED = baseline([0.94, 0.96])
NEWER = baseline([0.95, 0.97])


def write_digests(path, judgements, rules="usual"):
    digests.write_digests(path, rules, judgements)


def judged(*records, verdict=Verdict.PASS, stored=STORED):
    return [Judgement(CELL.key, verdict, records=records, baseline=stored)]


def passed(*models, digest="digest-0"):
    runs = [record(0, model=model, digest=digest) for model in models]
    return [Judgement(run.key, Verdict.PASS, records=(run,), baseline=STORED) for run in runs]


def known(path, *models, rules="usual"):
    """By model, the digests that count in a session of these models."""
    cells = [f"smoke/digits/{model}" for model in models]
    found = known_digests(read_digests(path)[0], rules, cells)
    return {key.rpartition("/")[2]: run.digest for (_, key, _, _), run in found.items()}


def digests_of(sessions, *cells):
    return {place: run.digest for place, run in known_digests(sessions, "usual", cells).items()}


def test_a_round_trip_that_keeps_what_other_sessions_wrote(tmp_path):
    path = tmp_path / "digests.json"
    assert read_digests(path) == ([], [])
    write_digests(path, judged(record(0), record(1)))
    other = environment(instruction_set="AVX512")
    write_digests(path, judged(record(1, 0.97), record(2), record(0, environment=other)))
    assert digests_of(read_digests(path)[0], CELL.key) == {
        (PLACE, CELL.key, STORED.fingerprint, 0): "digest-0",
        (PLACE, CELL.key, STORED.fingerprint, 1): "digest-1",
        (PLACE, CELL.key, STORED.fingerprint, 2): "digest-2",
        (other.key(), CELL.key, STORED.fingerprint, 0): "digest-0",
    }
    known_runs = known_digests(read_digests(path)[0], "usual", [CELL.key])
    again = known_runs[PLACE, CELL.key, STORED.fingerprint, 1]
    assert (again.accuracy, again.cross_entropy) == (0.97, record(1).test_cross_entropy)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_runs_of_a_cell_are_of_one_code(tmp_path, seed):
    """Else a group would take the mean of today's first seed and an older code's others."""
    path = tmp_path / "digests.json"
    write_digests(path, judged(record(0), record(2)))
    write_digests(path, judged(record(seed, digest="anew")))
    assert digests_of(read_digests(path)[0], CELL.key) == {
        (PLACE, CELL.key, STORED.fingerprint, seed): "anew"
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
    both = ["smoke/digits/a", "smoke/digits/b"]
    found = known_digests(read_digests(path)[0], "usual", both)
    assert {(place, key[-1], run.digest) for (place, key, _, _), run in found.items()} == {
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


def test_a_cell_that_failed_is_judged_again_and_with_it_only_its_groups(tmp_path):
    path = tmp_path / "digests.json"
    write_digests(path, passed("a", "b"))
    failed = dataclasses.replace(passed("b", digest="worse")[0], verdict=Verdict.REGRESSED)
    write_digests(path, [*passed("a", digest="anew"), failed])
    assert known(path, "a", "b") == {"a": "anew"}


def test_what_passed_by_other_rules_does_not_count(tmp_path):
    """One seed, or a limit of 50 points, would let through what the next session must find."""
    path = tmp_path / "digests.json"
    write_digests(path, passed("a", digest="worse"), rules="lax")
    assert known(path, "a") == {}
    write_digests(path, passed("a"))
    assert known(path, "a") == {"a": "digest-0"}
    assert known(path, "a", rules="lax") == {"a": "worse"}


def test_digests_that_passed_against_an_older_baseline_are_removed(tmp_path):
    path = tmp_path / "digests.json"
    write_digests(path, judged(record(0), record(1)))
    write_digests(path, judged(record(1), stored=NEWER))
    ((session,), _) = read_digests(path)
    assert session.cells == {CELL.key}
    assert session.digests.keys() == {(PLACE, CELL.key, NEWER.fingerprint, 1)}


def test_digests_are_read_visited_and_written_once_for_any_number_of_cells(tmp_path, monkeypatch):
    visited, written = [], []

    class Visited(dict):
        def items(self):
            visited.extend(self)
            return super().items()

    run = PassedRun("d", 0.95, 0.2)
    stored = Visited({(PLACE, f"smoke/digits/m{number}", "f", 0): run for number in range(50)})
    sessions = [PassedSession("usual", frozenset(["smoke/digits/other"]), stored)]
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
    path.write_text('{"version": 4, "digests": {"of": "another shape"}}')
    said = f"{path} is a digest cache of an older version and counts as empty"
    assert read_digests(path) == ([], [said])
    write_digests(path, judged(record(0)))
    sessions, notes = read_digests(path)
    assert (len(sessions), notes) == (1, [])


RUN = '{"digest": "d", "accuracy": 0.9, "cross_entropy": 0.2}'


def in_a_session(digests):
    return f'{{"version": 5, "sessions": [{{"rules": "", "cells": [], "digests": {digests}}}]}}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ": not JSON: line 1, column 1: Expecting value"),
        ("[]", " is not a digest cache: it names no version"),
        ('{"version": 6}', " is not a digest cache of version 5: its version is 6"),
        (
            '{"version": true, "digests": {}}',
            " is not a digest cache of version 5: its version is True",
        ),
        ('{"version": 5}', ": sessions is missing"),
        (in_a_session("[1]"), ": sessions[0].digests must be an object, not [1]"),
        (
            in_a_session('{"a": {"b": {"c": {"0": "d"}}}}'),
            ": each value of sessions[0].digests must be an object",
        ),
        (in_a_session('{"a": {"b": {"c": {"x": ' + RUN + "}}}}"), ": a seed is not a number"),
    ],
)
def test_a_cache_that_cannot_be_used_is_named(tmp_path, text, complaint):
    path = tmp_path / "digests.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_digests(path)
    assert str(caught.value) == f"{path}{complaint}; delete it"
