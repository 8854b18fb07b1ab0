"""The mutation trial: every mutant fits the present code, and findings are kept and told truly."""

import ast
import dataclasses
from pathlib import Path

import pytest

from benchmarks.mutation_trial import __main__ as trial
from benchmarks.mutation_trial import findings, mutants, stages
from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines
from stn_core.gate.groups import GroupJudgement
from stn_core.gate.judgement import Verdict
from stn_core.gate.judgement_files import write_judgements
from stn_core.models import list_models, model_info
from stn_core.session.budgets import get_budget
from stn_core.session.records import append_record
from tests.examples import CELL, baseline, record

ROOT = Path(__file__).parents[2]


MUTANTS = mutants.read_mutants()
CORE_KEYS = [
    f"smoke/{dataset}/{model}"
    for dataset in get_budget("smoke").datasets
    for model in list_models()
    if model_info(model).core
]
EXAMPLE = mutants.Mutant("upside-down", "geometry", "y is up", "a.py", "+ y", "- y", ("smoke/*",))

every_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


def finding(stage="laws", outcome="caught", mutant=EXAMPLE, **fields):
    return findings.Finding(mutant.name, mutant.fingerprint(), stage, "commit", outcome, **fields)


def test_there_are_enough_mutants_and_each_has_a_name_of_its_own():
    assert len(MUTANTS) >= 34
    assert len({mutant.name for mutant in MUTANTS} | {"unchanged"}) == len(MUTANTS) + 1


@every_mutant
def test_a_mutant_applies_to_the_library_changes_it_and_compiles(mutant, tmp_path):
    assert mutant.file.startswith("stn_core/")
    source = (ROOT / mutant.file).read_text()
    copy = tmp_path / mutant.file
    copy.parent.mkdir(parents=True)
    copy.write_text(source)
    mutant.plant(tmp_path)
    compile(copy.read_text(), mutant.file, "exec")
    assert ast.dump(ast.parse(copy.read_text())) != ast.dump(ast.parse(source))


@every_mutant
def test_a_mutant_names_real_cells_or_says_why_it_touches_none(mutant):
    assert bool(mutant.blind) is not bool(mutant.cells)
    for pattern in mutant.cells:
        alone = dataclasses.replace(mutant, cells=(pattern,))
        assert any(alone.touches(key) for key in CORE_KEYS), pattern


@every_mutant
def test_a_mutant_has_one_line_and_names_real_tests(mutant):
    assert mutant.mistake
    assert "\n" not in mutant.mistake
    assert "|" not in mutant.mistake  # it goes into a Markdown table
    assert all((ROOT / path).is_file() for path in mutant.laws)


def test_tests_that_are_excluded_from_the_trial_exist():
    for test in stages.NOT_LAWS:
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text()


@pytest.mark.parametrize("text", ["x - y", "x + y, x + y"])
def test_a_text_that_is_not_there_exactly_once_is_reported(text, tmp_path):
    (tmp_path / "a.py").write_text(text)
    with pytest.raises(UsageError, match=r"upside-down: its text occurs [02] times in a\.py"):
        EXAMPLE.plant(tmp_path)


def test_findings_survive_a_torn_line(tmp_path):
    path = tmp_path / "results" / "trial.jsonl"
    findings.append_finding(path, finding("laws", by="a law"))
    with path.open("ab") as file:
        file.write(b'{"mutant": "upside-do')
    findings.append_finding(path, finding("gate"))
    known = findings.read_findings(path, [EXAMPLE])
    assert {stage for _, stage in known} == {"laws", "gate"}
    assert known["upside-down", "laws"] == finding("laws", by="a law")


def test_a_failed_stage_or_another_patch_is_to_be_tried_again(tmp_path):
    path = tmp_path / "trial.jsonl"
    findings.append_finding(path, finding("laws"))
    findings.append_finding(path, finding("gate", "failed"))
    assert set(findings.read_findings(path, [EXAMPLE])) == {("upside-down", "laws")}
    rewritten = dataclasses.replace(EXAMPLE, after="* y")
    assert findings.read_findings(path, [rewritten]) == {}


def test_only_stages_without_a_finding_are_tried(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(trial, "committed_list", lambda: "commit")
    monkeypatch.setattr(
        trial,
        "try_mutant",
        lambda mutant, stages, commit: (asked.append(s) or finding(s) for s in stages),
    )
    path = tmp_path / "trial.jsonl"
    findings.append_finding(path, finding("laws"))
    trial.run_trial([EXAMPLE], path, again=False)
    trial.run_trial([EXAMPLE], path, again=False)
    assert asked == ["gate"]
    trial.run_trial([EXAMPLE], path, again=True)
    assert asked == ["gate", "laws", "gate"]


def test_one_stage_alone_can_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "committed_list", lambda: "commit")
    monkeypatch.setattr(
        trial, "try_mutant", lambda mutant, stages, commit: (finding(s) for s in stages)
    )
    trial.run_trial([EXAMPLE], tmp_path / "trial.jsonl", again=False, stages=["gate"])
    known = findings.read_findings(tmp_path / "trial.jsonl", [EXAMPLE])
    assert set(known) == {("upside-down", "gate")}


def test_a_test_that_fails_without_a_mutant_ends_the_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "committed_list", lambda: "commit")
    monkeypatch.setattr(
        trial,
        "try_mutant",
        lambda mutant, stages, commit: (finding(s, mutant=mutant) for s in stages),
    )
    with pytest.raises(UsageError, match="the unchanged commit does not survive the laws"):
        trial.run_trial([mutants.UNCHANGED, EXAMPLE], tmp_path / "trial.jsonl", again=False)


def test_the_first_failure_of_a_junit_file(tmp_path):
    report = tmp_path / "laws.xml"
    cases = [
        '<testcase file="tests/test_a.py" name="test_one[1-2]"/>',
        '<testcase file="tests/test_a.py" name="test_two[x]"><failure message="no"/></testcase>',
        '<testcase file="tests/test_b.py" name="test_three"><error message="no"/></testcase>',
    ]
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    assert stages.read_first_failure(report) == "tests/test_a.py::test_two[x]"
    report.write_text(f"<testsuites><testsuite>{cases[0]}</testsuite></testsuites>")
    assert stages.read_first_failure(report) is None


def read_session(folder, *verdicts, groups=()):
    """What is read of a session of three runs of stn and one of every other cell."""
    write_judgements(folder / "judgements.json", [], groups)
    rows = [f"smoke,digits,{m},{verdict},{points},why" for m, verdict, points in verdicts]
    table = ["budget,dataset,model,verdict,difference_points,message", *rows]
    (folder / "table.csv").write_text("\n".join(table))
    stored = {}
    for model, _, points in verdicts:
        cell = dataclasses.replace(CELL, model=model, dataset="digits")
        stored[str(cell.key)] = baseline([0.94, 0.95, 0.96, 0.95, 0.95], cell)
        for seed in range(3 if model == "stn" else 1):
            append_record(
                folder / "records.jsonl", record(seed, 0.95 + float(points or 0) / 100, cell)
            )
    return stages.read_session(folder, Baselines(stored, {}))


def test_the_red_cell_that_lost_most_is_named(tmp_path):
    found = read_session(
        tmp_path, ("cnn", "REGRESSED", -2), ("stn", "REGRESSED", -5), ("vit", "PASS", -9)
    )
    assert (found["outcome"], found["by"]) == ("caught", "smoke/digits/stn")
    assert (found["points_lost"], found["seeds"]) == (5, 3)


def test_a_crash_is_caught_without_points(tmp_path):
    found = read_session(tmp_path, ("cnn", "CRASHED", ""), ("stn", "MISSING", ""))
    assert (found["outcome"], found["verdict"]) == ("caught", "CRASHED")
    assert found["points_lost"] is None


def test_without_a_red_cell_a_mutant_survives(tmp_path):
    found = read_session(
        tmp_path, ("cnn", "PASS", 0.5), ("stn", "PASS", -0.2), ("vit", "IMPROVED", 3)
    )
    assert (found["outcome"], found["by"]) == ("survived", "smoke/digits/stn")


def test_a_red_group_catches_what_no_cell_shows(tmp_path):
    members = ("smoke/digits/stn", "smoke/digits/cnn")
    passing = GroupJudgement("all", Verdict.PASS, "", (*members, "smoke/digits/vit"), 2)
    red = GroupJudgement("digits", Verdict.REGRESSED, "lower", members, 4)
    verdicts = ("cnn", "PASS", -1), ("stn", "PASS", -2), ("vit", "PASS", 0)
    found = read_session(tmp_path, *verdicts, groups=[passing, red])
    assert found.pop("mean_half_width") == pytest.approx(2.151)  # t(4) * 0.707 * sqrt(1 + 1 / 5)
    assert found == {
        "outcome": "caught",
        "by": "digits",
        "verdict": "REGRESSED (group)",
        "points_lost": 1.5,
        "seeds": 4,
        "mean_points_lost": 1,
        "message": "lower",
    }


def test_a_red_cell_is_named_before_a_red_group(tmp_path):
    red = GroupJudgement("digits", Verdict.REGRESSED, "lower", ("smoke/digits/stn",), 4)
    found = read_session(tmp_path, ("cnn", "PASS", -1), ("stn", "REGRESSED", -2), groups=[red])
    assert found["by"] == "smoke/digits/stn"


def test_baselines_take_the_hashes_of_now_and_keep_the_rest(tmp_path):
    path = tmp_path / "baselines.json"
    path.write_text('{"cells": {"a": {"data_hash": "old", "runs": [1]}, "b": {"data_hash": "b"}}}')
    stages.accept_hashes(path, {"a": {"data_hash": "new"}, "c": {"data_hash": "new"}})
    assert path.read_text() == (
        '{"cells": {"a": {"data_hash": "new", "runs": [1]}, "b": {"data_hash": "b"}}}'
    )


def test_the_table_counts_what_caught_each():
    law, gate, both, blind, untried = (
        dataclasses.replace(EXAMPLE, name=name)
        for name in ("law", "gate", "both", "blind", "untried")
    )
    lost = {"by": "smoke/digits/stn", "verdict": "REGRESSED", "points_lost": 4.0, "seeds": 3}
    found = [
        finding("laws", mutant=law, by="tests/test_a.py::test_one"),
        finding(
            "gate",
            "survived",
            mutant=law,
            mean_points_lost=-0.02,
            mean_half_width=0.3,
            **{**lost, "points_lost": 0.1},
        ),
        finding("laws", "survived", mutant=gate),
        finding("gate", mutant=gate, **lost),
        finding("laws", mutant=both, by="tests/test_a.py::test_two"),
        finding("gate", mutant=both, **lost),
        finding("laws", "survived", mutant=blind),
        finding("gate", "blind", mutant=blind, message="no cell has it"),
    ]
    known = {(one.mutant, one.stage): one for one in found}
    table = findings.trial_table([law, gate, both, blind, untried], known)
    assert (
        "| law | y is up | `tests/test_a.py::test_one` | no; most digits/stn: +0.10 points lost,"
        " 3 seeds; -0.02 ± 0.30 on average |"
    ) in table
    assert "| gate | y is up | no | REGRESSED digits/stn: +4.00 points lost, 3 seeds |" in table
    assert "| blind | y is up | no | cannot: no cell has it |" in table
    assert "| untried | y is up | not tried | not tried |" in table
    assert table.endswith(
        "4 of 5 mutants tried: 3 caught, 2 of them by property tests, 1 by property tests and the"
        " gate, 1 by the gate alone; 1 survived.\nPlanted in commit (8 findings)."
    )
    of_gate = {key: one for key, one in known.items() if key[1] == "gate"}
    table = findings.trial_table([law, gate, both, untried], of_gate)
    assert table.endswith(
        "\n\n3 of 4 mutants tried with the gate only: 2 caught.\nPlanted in commit (3 findings)."
    )


def test_names_choose_and_an_unknown_one_is_reported():
    assert mutants.choose([EXAMPLE], None) == [mutants.UNCHANGED, EXAMPLE]
    assert mutants.choose([EXAMPLE], "upside-down") == [EXAMPLE]
    with pytest.raises(UsageError, match="unknown mutant 'upside-don'; did you mean upside-down"):
        mutants.choose([EXAMPLE], "upside-don")
