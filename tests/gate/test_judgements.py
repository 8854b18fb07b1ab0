"""A session's verdicts come back from the disk as they were passed."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.errors import UsageError
from stn_core.gate.baselines import baseline_of
from stn_core.gate.judgements import read_judgements, write_judgements
from stn_core.gate.verdict import Judgement, Verdict
from tests.examples import environment, record

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    verdict=st.sampled_from(Verdict),
    message=st.text(),
    detectable_points=numbers,
    slowdown=numbers,
    seeds=st.lists(st.integers(0, 5), unique=True),
    has_baseline=st.booleans(),
)
def test_what_was_written_is_read(tmp_path_factory, seeds, has_baseline, **fields):
    records = tuple(record(seed=seed) for seed in seeds)
    stored = baseline_of([record(seed=1), record(seed=2)]) if has_baseline else None
    judgement = Judgement(record().key, records=records, baseline=stored, **fields)
    path = tmp_path_factory.mktemp("session") / "judgements.json"
    write_judgements(path, [judgement])
    assert read_judgements(path, records) == [judgement]


def test_of_a_seed_that_ran_twice_the_record_that_was_judged_is_found(tmp_path):
    judged = record(digest="one")
    others = [
        record(digest="two"),
        record(digest="one", recipe_hash="another"),
        record(digest="one", environment=environment(device_type="cuda")),
        record(digest="one", model="another"),
    ]
    path = tmp_path / "judgements.json"
    write_judgements(path, [Judgement(judged.key, Verdict.PASS, records=(judged,))])
    (read,) = read_judgements(path, [others[0], judged, *others[1:]])
    assert read.records == (judged,)


def test_a_judgement_outlives_its_records(tmp_path):
    path = tmp_path / "judgements.json"
    judgement = Judgement(record().key, Verdict.PASS, records=(record(seed=1), record(seed=2)))
    write_judgements(path, [judgement])
    (read,) = read_judgements(path, [record(seed=2)])
    assert read == dataclasses.replace(judgement, records=(record(seed=2),))


def good(**changes):
    values = {"key": "a/b/c", "verdict": "PASS", "message": "", "detectable_points": None}
    return {**values, "slowdown": None, "runs": [], "baseline": None, **changes}


def entries(*values):
    return json.dumps({"version": 2, "judgements": values})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read: No such file"),
        ("{", "it is no JSON"),
        ("[]", "is damaged"),
        ('{"version": 1, "judgements": []}', "holds no verdicts of version 2"),
        ('{"version": 2}', "holds no verdicts of version 2"),
        (entries(3), "entry 0: an object is due"),
        (entries({"key": "a/b/c"}), "entry 0: verdict is missing"),
        (entries(good(key="xyz")), "'xyz' is not budget/dataset/model"),
        (entries(good(verdict="FINE")), "'FINE' is no verdict"),
        (entries(good(message=[1])), "message must be str"),
        (entries(good(detectable_points="abc")), "detectable_points must be float"),
        (entries(good(runs=[{"seed": 3}])), "environment is missing"),
        (entries(good(baseline={"runs": 3})), "the baseline has no runs"),
        (entries(good(baseline={"runs": []})), "recipe_hash is missing"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, text, complaint):
    path = tmp_path / "judgements.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=complaint) as told:
        read_judgements(path, [])
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
