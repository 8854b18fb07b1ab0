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
from tests.examples import record

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


def key_of(model):
    return record(model=model).key


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


def test_of_a_seed_that_ran_twice_the_last_record_was_judged(tmp_path):
    first, second = record(test_accuracy=0.5), record(test_accuracy=0.75)
    path = tmp_path / "judgements.json"
    write_judgements(path, [Judgement(first.key, Verdict.PASS, records=(second,))])
    (read,) = read_judgements(path, [first, second])
    assert read.records == (second,)


def test_a_judgement_outlives_its_records(tmp_path):
    path = tmp_path / "judgements.json"
    judgement = Judgement(record().key, Verdict.PASS, records=(record(seed=1), record(seed=2)))
    write_judgements(path, [judgement])
    (read,) = read_judgements(path, [record(seed=2)])
    assert read == dataclasses.replace(judgement, records=(record(seed=2),))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read: No such file"),
        ("{", "it is no JSON"),
        ("[]", "holds no verdicts of version 1"),
        ('{"version": 2}', "holds no verdicts of version 1"),
        ('{"version": 1}', "KeyError: 'judgements'"),
        ('{"version": 1, "judgements": [3]}', "is damaged: TypeError"),
        (json.dumps({"version": 1, "judgements": [{"key": "a"}]}), "KeyError: 'seeds'"),
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
