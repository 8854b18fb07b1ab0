"""The digest cache gives back what went in, and says so where it cannot."""

import pytest

from stn_core.errors import UsageError
from stn_core.gate.digests import read_digests, write_digests
from stn_core.gate.verdict import Judgement, Verdict
from tests.examples import CELL, environment, record

PLACE = environment().key()


def passed(*records):
    return [Judgement(CELL.key, Verdict.PASS, records=records)]


def test_a_round_trip_that_keeps_what_other_sessions_wrote(tmp_path):
    path = tmp_path / "digests.json"
    assert read_digests(path) == {}
    write_digests(path, passed(record(0), record(1)))
    other = environment(instruction_set="AVX512")
    write_digests(path, passed(record(0, digest="anew"), record(0, environment=other)))
    assert read_digests(path) == {
        (PLACE, CELL.key, 0): "anew",
        (PLACE, CELL.key, 1): "digest-1",
        (other.key(), CELL.key, 0): "digest-0",
    }


def test_failed_runs_leave_no_digest(tmp_path):
    path = tmp_path / "digests.json"
    write_digests(path, passed(record(0, status="crashed")))
    assert read_digests(path) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "digests": [1]}'])
def test_a_damaged_cache_is_named(tmp_path, text):
    path = tmp_path / "digests.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="digests"):
        read_digests(path)
