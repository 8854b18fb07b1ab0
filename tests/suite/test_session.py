"""Which records answer a plan, and what is said of those that do not."""

import dataclasses

import pytest

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines
from stn_core.gate.judge import Judge, Rules
from stn_core.gate.verdict import Verdict
from stn_core.suite.session import Plan, describe_records, fitting_records, judge_session
from tests.examples import CELL, DATA_HASH, environment, record

PLAN = Plan(
    cells=(CELL,),
    rules=Rules(seeds=(0, 1, 2), looks=(3,), matrix_size=1),
    device="cpu",
    code=("0.1.0", None, None),
    data_hashes={"digits": DATA_HASH},
    vanished=(),
)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"recipe_hash": "of yore"}, "recipe_hash is 'of yore'"),
        ({"data_hash": "other"}, "data_hash is 'other'"),
        ({"is_search": True}, "is_search is True"),
        ({"environment": environment(device_type="cuda")}, "device is 'cuda'"),
        (
            {"environment": environment(commit="c0ffee")},
            "version, commit and dirty are ('0.1.0', 'c0ffee', None)",
        ),
    ],
)
def test_a_record_of_something_else_is_left_out_in_one_line(changes, complaint):
    strangers = [record(seed, **changes) for seed in (0, 1)]
    by_key, complaints = fitting_records(PLAN, [*strangers, record(2)])
    assert [run.seed for run in by_key[CELL.key]] == [2]
    (line,) = complaints
    assert line.startswith(f"{CELL.key}: {complaint}")
    assert line.endswith("2 records left out")


def test_records_of_another_commit_may_be_judged_where_that_is_meant():
    older = record(0, environment=environment(commit="c0ffee"))
    anybody = dataclasses.replace(PLAN, code=None)
    assert fitting_records(anybody, [older])[0][CELL.key] == [older]


def test_other_cells_and_seeds_are_nobodys_fault():
    other = dataclasses.replace(CELL, model="vit")
    found = [record(0, cell=other), record(77)]
    assert fitting_records(PLAN, found) == ({CELL.key: []}, [])


def test_a_run_that_was_run_again_counts_once_and_as_it_came_out_last():
    crashed = record(0, status="crashed", test_accuracy=None)
    by_key, _ = fitting_records(PLAN, [crashed, record(0)])
    assert [run.status for run in by_key[CELL.key]] == ["ok"]


def test_a_dead_worker_is_a_crash_and_nothing_else_is():
    judge = Judge(PLAN.rules, Baselines({}, {}), "smoke", "cpu")
    dead = {CELL.key: "killed"}
    (crashed,) = judge_session(PLAN, judge, {CELL.key: []}, dead)
    assert (crashed.verdict, crashed.message) == (Verdict.CRASHED, "killed")
    everything = [record(seed) for seed in range(3)]
    (revived,) = judge_session(PLAN, judge, {CELL.key: everything}, dead)
    assert revived.verdict is Verdict.NEW


def test_records_say_where_and_of_what_they_are():
    options = type(
        "Options", (), {"budget": "smoke", "datasets": ("digits", "x"), "device": "auto"}
    )
    assert describe_records([record(0)], [], options) == ("cpu", {"digits": DATA_HASH, "x": ""})
    mixed = [record(0), record(1, environment=environment(device_type="cuda"))]
    with pytest.raises(UsageError, match="records of cpu and cuda; choose one with --device"):
        describe_records(mixed, [], options)
    with pytest.raises(UsageError, match="no record of the budget smoke; line 1: too new"):
        describe_records([], ["line 1: too new"], options)
    two = [record(0), record(1, data_hash="other")]
    with pytest.raises(UsageError, match=f"two digits: data_hash {DATA_HASH} and other"):
        describe_records(two, [], options)
