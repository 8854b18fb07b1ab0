"""The digest cache gives back what went in, and says so where it cannot."""

import pytest

from stn_core.errors import UsageError
from stn_core.gate import digests
from stn_core.gate.digests import read_digests, write_digests
from stn_core.gate.verdict import Judgement, Verdict
from tests.examples import CELL, baseline, environment, record

PLACE = environment().key()
STORED = baseline([0.94, 0.96])
NEWER = baseline([0.95, 0.97])


def judged(*records, verdict=Verdict.PASS, stored=STORED):
    return [Judgement(CELL.key, verdict, records=records, baseline=stored)]


def test_a_round_trip_that_keeps_what_other_sessions_wrote(tmp_path):
    path = tmp_path / "digests.json"
    assert read_digests(path) == {}
    write_digests(path, judged(record(0), record(1)))
    other = environment(instruction_set="AVX512")
    write_digests(path, judged(record(0, digest="anew"), record(0, environment=other)))
    assert read_digests(path) == {
        (PLACE, CELL.key, STORED.fingerprint, 0): "anew",
        (PLACE, CELL.key, STORED.fingerprint, 1): "digest-1",
        (other.key(), CELL.key, STORED.fingerprint, 0): "digest-0",
    }


def test_a_folder_that_is_not_there_holds_none_and_is_made_to_write(tmp_path):
    path = tmp_path / "results" / "of main" / "digests.json"
    assert read_digests(path) == {}
    write_digests(path, judged(record(0)))
    assert len(read_digests(path)) == 1


def test_what_passed_against_an_older_baseline_goes(tmp_path):
    path = tmp_path / "digests.json"
    write_digests(path, judged(record(0), record(1)))
    write_digests(path, judged(record(1), stored=NEWER))
    assert read_digests(path) == {(PLACE, CELL.key, NEWER.fingerprint, 1): "digest-1"}


def test_however_many_cells_the_file_is_read_gone_through_and_written_once(tmp_path, monkeypatch):
    visited, written = [], []

    class Visited(dict):
        def items(self):
            visited.extend(self)
            return super().items()

    stored = Visited({(PLACE, f"smoke/digits/m{number}", "f", 0): "d" for number in range(50)})
    monkeypatch.setattr(digests, "read_digests", lambda path: stored)
    monkeypatch.setattr(digests, "write_at_once", lambda path, text: written.append(text))
    runs = [record(0, model=f"m{number}") for number in range(50)]
    passed = [Judgement(run.key, Verdict.PASS, records=(run,), baseline=STORED) for run in runs]
    write_digests(tmp_path / "digests.json", passed)
    assert len(visited) == 50
    assert len(written) == 1


@pytest.mark.parametrize("verdict", Verdict)
def test_only_a_run_that_passed_leaves_a_digest(tmp_path, verdict):
    path = tmp_path / "digests.json"
    write_digests(path, judged(record(0), verdict=verdict))
    assert bool(read_digests(path)) is (verdict in (Verdict.PASS, Verdict.IDENTICAL))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ": not JSON: line 1, column 1: Expecting value"),
        ("[]", " is not a digest cache: it names no version"),
        ('{"version": 1, "digests": {}}', " is not a digest cache of version 2: its version is 1"),
        (
            '{"version": true, "digests": {}}',
            " is not a digest cache of version 2: its version is True",
        ),
        ('{"version": 2}', ": digests is missing"),
        ('{"version": 2, "digests": [1]}', ": digests must be an object, not [1]"),
        ('{"version": 2, "digests": {"a": {"b": {"c": {"0": null}}}}}', ": digests must be text"),
        ('{"version": 2, "digests": {"a": {"b": {"c": {"x": "d"}}}}}', ": a seed is not a number"),
    ],
)
def test_a_cache_that_cannot_be_used_is_named(tmp_path, text, complaint):
    path = tmp_path / "digests.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_digests(path)
    assert str(caught.value) == f"{path}{complaint}; delete it"
