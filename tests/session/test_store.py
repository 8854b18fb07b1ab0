"""The files of runs are found by their records; missing or foreign ones are reported."""

import pytest

from stn_core.errors import UsageError
from stn_core.session.artifacts import artifacts_path, write_artifacts
from stn_core.session.store import SessionStore, model_path, read_for_judging
from tests.examples import artifacts, record


def keep(store, run, digest):
    store.keep(run)
    path = artifacts_path(store.artifacts_folder, run.run_name)
    write_artifacts(path, artifacts(digest=digest))


def test_a_session_reads_the_records_it_kept_and_those_it_was_given(tmp_path):
    for name, seed in (("given", 3), ("own", 5)):
        (tmp_path / name).mkdir()
        SessionStore(tmp_path / name).keep(record(seed))
    given = tmp_path / "given" / "records.jsonl"
    store = SessionStore(tmp_path / "own", (given,))
    records, complaints = store.whole_records()
    assert ([one.seed for one in records], complaints) == ([5, 3], [])
    assert [one.seed for one in store.own_records()[0]] == [5]
    assert [one.seed for one in read_for_judging([given, given])[0]] == [3, 3]


def test_a_session_that_was_given_records_need_not_have_made_any(tmp_path):
    (tmp_path / "given").mkdir()
    SessionStore(tmp_path / "given").keep(record(3))
    store = SessionStore(tmp_path, (tmp_path / "given" / "records.jsonl",))
    assert store.whole_records()[1] == []
    with pytest.raises(UsageError, match=f"{tmp_path} holds no results: there is no file"):
        SessionStore(tmp_path).whole_records()
    gone = tmp_path / "gone" / "records.jsonl"
    assert SessionStore(tmp_path, (*store.given, gone)).whole_records()[1] == [
        f"there is no file {gone}"
    ]


def test_arrays_are_found_beside_the_records_of_their_run(tmp_path):
    run = record(3)
    for name, digest in (("own", "another run"), ("given", run.digest)):
        (tmp_path / name).mkdir()
        keep(SessionStore(tmp_path / name), run, digest)
    store = SessionStore(tmp_path / "own", (tmp_path / "given" / "records.jsonl",))
    assert store.artifacts(run).digest == run.digest
    with pytest.raises(UsageError, match="belongs to another run"):
        SessionStore(tmp_path / "own").artifacts(run)
    with pytest.raises(UsageError, match="is missing"):
        store.artifacts(record(4))


def test_has_model_is_true_once_a_run_has_saved_its_model(tmp_path):
    store = SessionStore(tmp_path)
    assert not store.has_model(record(3))
    store.models_folder.mkdir()
    model_path(store.models_folder, record(3).run_name).touch()
    assert store.has_model(record(3))
    assert not store.has_model(record(4))
