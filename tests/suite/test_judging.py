"""Which records answer a plan, and what is said of those that do not."""

import dataclasses
import json
import re
from types import SimpleNamespace

import pytest
from filelock import FileLock, Timeout

from stn_core.errors import UsageError
from stn_core.gate.baseline_updates import update_baselines
from stn_core.gate.baselines import Baselines, write_baselines
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.gate.rules import Rules
from stn_core.session.file_names import lock_of
from stn_core.suite.judging import code_doubts, describe_records, fitting_records, judge_session
from stn_core.suite.plan import Plan, check_resumed, check_unchanged, read_plan
from tests.examples import CELL, DATA_HASH, baseline, environment, record

PLAN = Plan(
    cells=(CELL,),
    rules=Rules(seeds=(0, 1, 2), looks=(3,), matrix_size=1, are_named=True),
    device="cpu",
    code=("0.1.0", None, None),
    data_hashes={"digits": DATA_HASH},
    vanished={},
)
JUDGE = Judge(PLAN.rules, Baselines({}, {}), "smoke", "cpu")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"recipe_hash": "of yore"}, "recipe_hash is 'of yore'"),
        ({"data_hash": "other"}, "data_hash is 'other'"),
        ({"is_search": True}, "is_search is True"),
        ({"environment": environment(device_type="cuda")}, "device is 'cuda'"),
        (
            {"environment": environment(commit="c0ffee")},
            "the code was stn_core 0.1.0 at c0ffee in an unknown state, and is stn_core ",
        ),
    ],
)
def test_records_of_another_recipe_or_data_are_left_out_with_one_line(changes, complaint):
    strangers = [record(seed, **changes) for seed in (0, 1)]
    by_key, complaints = fitting_records(PLAN, JUDGE, [*strangers, record(2)])
    assert [run.seed for run in by_key[CELL.key]] == [2]
    (line,) = complaints
    assert line.startswith(f"{CELL.key}: {complaint}")
    assert line.endswith("2 records left out")


def test_records_of_another_commit_fit_if_any_code_may():
    older = record(0, environment=environment(commit="c0ffee"))
    anybody = dataclasses.replace(PLAN, code=None)
    assert fitting_records(anybody, JUDGE, [older])[0][CELL.key] == [older]


def test_records_of_any_data_fit_if_the_data_were_not_read():
    unseen = dataclasses.replace(PLAN, data_hashes={"digits": ""})
    assert fitting_records(unseen, JUDGE, [record(0)])[0][CELL.key] == [record(0)]


def test_seeds_that_a_baseline_holds_count_though_the_rules_do_not_name_them():
    stored = Baselines({CELL.key: baseline([0.9] * 5, first_seed=100)}, {})
    rules = Rules(seeds=tuple(range(6)), looks=(3, 6), matrix_size=1)
    judge = Judge(rules, stored, "smoke", "cpu")
    plan = dataclasses.replace(PLAN, rules=rules)
    by_key, notes = fitting_records(plan, judge, [record(seed) for seed in (100, 104, 0, 1)])
    assert [run.seed for run in by_key[CELL.key]] == [100, 104, 0]
    assert notes == [f"{CELL.key}: 1 record of other seeds (1) left out"]


def test_records_of_another_budget_are_said_to_be_left_out():
    other = dataclasses.replace(CELL, budget="quick")
    records = [record(0), record(0, cell=other), record(1, cell=other)]
    by_key, complaints = fitting_records(PLAN, JUDGE, records)
    assert by_key == {CELL.key: [record(0)]}
    assert complaints == ["2 records of the budget quick left out"]


def test_a_cell_that_was_not_asked_for_is_no_failure():
    other = dataclasses.replace(CELL, model="vit")
    assert fitting_records(PLAN, JUDGE, [record(0, cell=other)]) == ({CELL.key: []}, [])


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ([1, 2, 3, 4, 5, 6], "4 records of other seeds (3-6) left out"),
        ([9, 7, 4, 5, 5], "5 records of other seeds (4-5, 7, 9) left out"),
        ([77], "1 record of other seeds (77) left out"),
    ],
)
def test_seeds_that_were_not_asked_for_are_counted(found, line):
    by_key, notes = fitting_records(PLAN, JUDGE, [record(seed) for seed in found])
    assert [run.seed for run in by_key[CELL.key]] == [seed for seed in found if seed < 3]
    assert notes == [f"{CELL.key}: {line}"]


def test_a_run_that_was_run_again_counts_once_and_as_it_came_out_last():
    crashed = record(0, status="crashed", test_accuracy=None)
    by_key, _ = fitting_records(PLAN, JUDGE, [crashed, record(0)])
    assert [run.status for run in by_key[CELL.key]] == ["ok"]


def test_a_dead_worker_is_a_crash_and_nothing_else_is():
    dead = {CELL.key: "killed"}
    (crashed,) = judge_session(PLAN, JUDGE, {CELL.key: []}, dead, {})
    assert (crashed.verdict, crashed.message) == (Verdict.CRASHED, "killed")
    everything = [record(seed) for seed in range(3)]
    (revived,) = judge_session(PLAN, JUDGE, {CELL.key: everything}, dead, {})
    assert revived.verdict is Verdict.NEW


def test_nobody_else_writes_the_baselines_while_a_session_does(tmp_path, monkeypatch):
    path = tmp_path / "baselines.json"
    good = [Judgement(CELL.key, Verdict.NEW, records=(record(0), record(1)))]

    def write(*arguments):
        with pytest.raises(Timeout), FileLock(lock_of(path), timeout=0):
            pass
        write_baselines(*arguments)

    monkeypatch.setattr("stn_core.gate.baseline_updates.write_baselines", write)
    assert update_baselines(path, good) == f"1 of 1 cells written to {path}"
    with FileLock(lock_of(path), timeout=0):  # it is free again
        pass


def test_stored_metrics_that_no_run_measured_are_named_as_they_go(tmp_path):
    path = tmp_path / "baselines.json"
    measured = [record(seed, metrics={"recall": 0.5, "auc": 0.7}) for seed in range(2)]
    update_baselines(path, [Judgement(CELL.key, Verdict.NEW, records=tuple(measured))])
    fewer = [record(seed, metrics={"recall": 0.5}) for seed in range(2)]
    again = [Judgement(CELL.key, Verdict.NEW, records=tuple(fewer))]
    told = f"no longer stored, because no run measured them: auc of {CELL.key}"
    assert update_baselines(path, again) == f"1 of 1 cells written to {path}; {told}"
    assert update_baselines(path, again) == f"1 of 1 cells written to {path}"


A, B = ({"commit": letter * 40, "dirty": False} for letter in "ab")
DIRTY = {**A, "dirty": True}
NOWHERE = {"commit": None, "dirty": None}


@pytest.mark.parametrize(
    ("places", "doubts"),
    [
        ([A, A], []),
        ([NOWHERE, NOWHERE], []),
        ([A, B], [f"{CELL.key}: runs made at several commits: aaaaaaa, bbbbbbb"]),
        ([DIRTY, DIRTY], [f"{CELL.key}: runs made at aaaaaaa with uncommitted changes"]),
        (
            [A, DIRTY],
            [
                f"{CELL.key}: runs made at several commits:"
                " aaaaaaa, aaaaaaa with uncommitted changes"
            ],
        ),
        (
            [A, NOWHERE],
            [f"{CELL.key}: runs made at several commits: aaaaaaa, version 0.1.0 without a commit"],
        ),
    ],
)
def test_runs_of_one_cell_from_different_code_are_reported(places, doubts):
    runs = [record(seed, environment=environment(**place)) for seed, place in enumerate(places)]
    assert code_doubts({CELL.key: runs, "smoke/digits/cnn": []}) == doubts


def test_cells_of_the_same_code_share_a_line():
    runs = [record(0, environment=environment(**DIRTY))]
    told = "runs made at aaaaaaa with uncommitted changes"
    assert code_doubts({"a/b/d": runs, "a/b/c": runs}) == [f"a/b/c, a/b/d: {told}"]
    assert code_doubts(dict.fromkeys("abcd", runs)) == [f"4 cells: {told}"]


ASKED = SimpleNamespace(
    budget="smoke",
    datasets=("digits", "digits_rts"),
    recipe_name="fast",
    overrides={"epochs": 3},
    against="",
    metrics=("macro_auc", "invariance"),
    final=False,
)
PLANNED = {"options": {**vars(ASKED), "device": "auto"}, "device": "cpu"}


def test_the_order_of_datasets_and_metrics_makes_no_other_session(tmp_path):
    (tmp_path / "session.json").write_text(json.dumps(PLANNED))
    swapped = {name: vars(ASKED)[name][::-1] for name in ("datasets", "metrics")}
    check_resumed(tmp_path, SimpleNamespace(**{**vars(ASKED), **swapped}), "cpu")


@pytest.mark.parametrize(
    ("changes", "device", "complaint"),
    [
        ({"budget": "quick"}, "cpu", "its budget is smoke, not quick"),
        ({"datasets": ("digits",)}, "cpu", "its datasets are digits,digits_rts, not digits"),
        ({"recipe_name": "predecessor"}, "cpu", "its recipe is fast, not predecessor"),
        ({"overrides": {}}, "cpu", "its overrides are epochs=3, not none"),
        ({"against": "main"}, "cpu", "its against is none, not main"),
        ({"metrics": ()}, "cpu", "its metrics are invariance,macro_auc, not none"),
        ({"final": True}, "cpu", "it ran without --final"),
        ({}, "cuda", "its device is cpu, not cuda"),
        ({"budget": "full"}, "cuda", "its budget is smoke, not full; its device is cpu, not cuda"),
    ],
)
def test_only_a_session_that_was_asked_for_the_same_is_resumed(
    tmp_path, changes, device, complaint
):
    (tmp_path / "session.json").write_text(json.dumps(PLANNED))
    options = SimpleNamespace(**{**vars(ASKED), **changes})
    line = f"--resume: {tmp_path}: {complaint}; give the same options again, or start a new session"
    with pytest.raises(UsageError, match=f"^{re.escape(line)}$"):
        check_resumed(tmp_path, options, device)


WHOLE_PLAN = {
    "cells": [CELL.to_dict()],
    "rules": {"seeds": [0, 1, 2], "looks": [3], "matrix_size": 1},
    "device": "cpu",
    "code": None,
    "data_hashes": {CELL.dataset: "d"},
    "vanished": {},
}


@pytest.mark.parametrize(
    ("rules", "changes", "complaint"),
    [
        ({"looks": []}, {}, "looks must rise to the number of seeds, 3, not ()"),
        ({"looks": [3, 1]}, {}, "looks must rise to the number of seeds, 3, not (3, 1)"),
        ({"looks": [1, 2]}, {}, "looks must rise to the number of seeds, 3, not (1, 2)"),
        ({"looks": "3"}, {}, "rules.looks must be a list, not '3'"),
        ({"seeds": []}, {}, "seeds must be one or more, all different, not ()"),
        ({"seeds": [0, 0, 0]}, {}, "seeds must be one or more, all different, not (0, 0, 0)"),
        ({}, {"cells": []}, "cells must be one or more, all different"),
        ({}, {"cells": 2 * WHOLE_PLAN["cells"]}, "cells must be one or more, all different"),
        (
            {},
            {"cells": [{**CELL.to_dict(), "budget": name} for name in ("smoke", "full")]},
            "cells must be of one budget",
        ),
        ({}, {"data_hashes": {}}, f"data_hashes has no {CELL.dataset!r}"),
        ({}, {"vanished": {"digits": "why"}}, "'digits' is not budget/dataset/model"),
        ({}, {"groups": {"all": ["a"]}}, "'a' is not budget/dataset/model"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_in_one_line(tmp_path, rules, changes, complaint):
    plan = {**WHOLE_PLAN, "rules": {**WHOLE_PLAN["rules"], **rules}, **changes}
    (tmp_path / "session.json").write_text(json.dumps(plan))
    with pytest.raises(UsageError) as caught:
        read_plan(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'session.json'}: {complaint}")


def test_a_plan_is_read_as_it_was_written(tmp_path):
    (tmp_path / "session.json").write_text(json.dumps(WHOLE_PLAN))
    plan = read_plan(tmp_path)
    assert plan.cells == (CELL,)
    check_unchanged(tmp_path, plan, plan)
    with pytest.raises(UsageError, match="was changed while the session was running"):
        check_unchanged(tmp_path, plan, dataclasses.replace(plan, notes=("another",)))


@pytest.mark.parametrize(
    "changes",
    [{"datasets": 3}, {"datasets": [1, "a"]}, {"budget": None}, {"overrides": 1}, {"device": []}],
)
def test_a_plan_of_wrong_types_is_not_resumed(tmp_path, changes):
    (tmp_path / "session.json").write_text(json.dumps({**PLANNED, **changes}))
    with pytest.raises(UsageError, match=r"^--resume: .* start a new session$"):
        check_resumed(tmp_path, ASKED, "cpu")


@pytest.mark.parametrize("text", [json.dumps(PLANNED), "", "torn", "{}", '{"options": 1}'])
def test_the_same_session_or_one_with_an_unreadable_plan_is_resumed(tmp_path, text):
    (tmp_path / "session.json").write_text(text)
    turned = {**vars(ASKED), "datasets": ("digits_rts", "digits")}
    try:
        check_resumed(tmp_path, SimpleNamespace(**turned), "cpu")
    except UsageError as error:
        pytest.fail(f"it is refused: {error}")


def test_records_say_where_and_of_what_they_are():
    options = type(
        "Options", (), {"budget": "smoke", "datasets": ("digits", "x"), "device": "auto"}
    )
    assert describe_records([record(0)], [], options) == ("cpu", {"digits": DATA_HASH, "x": ""})
    mixed = [record(0), record(1, environment=environment(device_type="cuda"))]
    with pytest.raises(UsageError, match="records from cpu and cuda; choose one with --device"):
        describe_records(mixed, [], options)
    with pytest.raises(UsageError, match="no record of the budget smoke; line 1: too new"):
        describe_records([], ["line 1: too new"], options)
    two = [record(0), record(1, data_hash="other")]
    with pytest.raises(UsageError, match=f"different data: data_hash {DATA_HASH} and other"):
        describe_records(two, [], options)
