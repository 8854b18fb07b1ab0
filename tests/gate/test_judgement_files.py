"""A session's verdicts come back from the disk as they were passed."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.errors import UsageError, printable
from stn_core.gate.baselines import baseline_of
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.gate.judgement_files import read_judgements, write_judgements
from tests.examples import environment, record

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    verdict=st.sampled_from(Verdict),
    message=st.text().map(printable),
    detectable_points=numbers,
    slowdown=numbers,
    seeds=st.lists(st.integers(0, 5), unique=True),
    has_baseline=st.booleans(),
)
def test_reading_gives_what_was_written(tmp_path_factory, seeds, has_baseline, **fields):
    records = tuple(record(seed=seed) for seed in seeds)
    stored = baseline_of([record(seed=1), record(seed=2)]) if has_baseline else None
    judgement = Judgement(record().key, records=records, baseline=stored, **fields)
    path = tmp_path_factory.mktemp("session") / "judgements.json"
    write_judgements(path, [judgement])
    assert read_judgements(path, records) == ([judgement], [])


def test_the_judged_record_of_a_seed_that_ran_twice_is_found(tmp_path):
    judged = record(digest="one")
    others = [
        record(digest="two"),
        record(digest="one", recipe_hash="another"),
        record(digest="one", environment=environment(device_type="cuda")),
        record(digest="one", model="another"),
    ]
    path = tmp_path / "judgements.json"
    write_judgements(path, [Judgement(judged.key, Verdict.PASS, records=(judged,))])
    (read,), lost = read_judgements(path, [others[0], judged, *others[1:]])
    assert read.records == (judged,)
    assert lost == []


def test_a_judgement_outlives_its_records_and_the_lost_ones_are_named(tmp_path):
    path = tmp_path / "judgements.json"
    judgement = Judgement(record().key, Verdict.PASS, records=(record(seed=1), record(seed=2)))
    write_judgements(path, [judgement])
    (read,), lost = read_judgements(path, [record(seed=2)])
    assert read == dataclasses.replace(judgement, records=(record(seed=2),))
    assert lost == [record().key]


def good(**changes):
    values = {"key": "a/b/c", "verdict": "PASS", "message": "", "detectable_points": None}
    return {**values, "slowdown": None, "runs": [], "baseline": None, **changes}


def entries(*values):
    return json.dumps({"version": 2, "judgements": values})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot read .*: No such file"),
        ("{", "not JSON"),
        ("[]", "is not a file of verdicts: it names no version"),
        (
            '{"version": 1, "judgements": []}',
            "is not a file of verdicts of version 2: its version is 1",
        ),
        ('{"version": true, "judgements": []}', "of version 2: its version is True"),
        ('{"version": 2}', "judgements is missing"),
        (entries(3), "entry 1: expected an object, not 3"),
        (entries({"key": "a/b/c"}), "entry 1: verdict is missing"),
        (entries(good(key="xyz")), "'xyz' is not budget/dataset/model"),
        (entries(good(verdict="FINE")), "'FINE' is not a verdict"),
        (entries(good(message=[1])), "message must be text"),
        (
            entries(good(detectable_points="abc")),
            "detectable_points must be a number or null, not 'abc'",
        ),
        (entries(good(runs=[{"seed": 3}])), r"runs\[0\]\.environment is missing"),
        (entries(good(baseline={"runs": 3})), "baseline: runs must be a list, not 3"),
        (entries(good(baseline={"runs": []})), "baseline: recipe_hash is missing"),
    ],
)
def test_a_damaged_file_is_reported_in_one_line(tmp_path, text, complaint):
    path = tmp_path / "judgements.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=complaint) as told:
        read_judgements(path, [])
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
