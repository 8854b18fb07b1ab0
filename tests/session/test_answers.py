"""Which records answer the question that another record answered: what counts without a plan."""

import pytest

from stn_core.session.answers import Question, answering_records, answers_like_the_last
from tests.examples import CELL, environment, record


@pytest.mark.parametrize(
    "changes",
    [{"data_hash": "other"}, {"recipe_hash": "other"}, {"is_search": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_record_of_another_kind_does_not_answer(changes):
    question = Question.answered_by(record(0))
    found, left_out = answering_records([question], [record(1, **changes), record(2)])
    assert [run.seed for run in found[CELL.key]] == [2]
    (line,) = left_out
    assert line.startswith(f"{CELL.key}: {next(iter(changes))} is ")


def test_any_seed_and_any_commit_answers():
    runs = [record(3), record(9, environment=environment(commit="c0ffee", dirty=True))]
    assert answering_records([Question.answered_by(record(0))], runs) == ({CELL.key: runs}, [])


def test_a_seed_of_another_recipe_does_not_replace_one_that_answers():
    runs = [record(0), record(0, recipe_hash="other"), record(1)]
    found, _ = answering_records([Question.answered_by(runs[-1])], runs)
    assert found[CELL.key] == [runs[0], runs[2]]


def test_a_seed_that_was_run_again_comes_where_it_was_run_last():
    runs = [record(0, 0.5), record(1), record(0, 0.6)]
    found, _ = answering_records([Question.answered_by(runs[0])], runs)
    assert found[CELL.key] == runs[1:]


def test_different_results_of_one_seed_are_reported():
    failed = record(2, status="failed", test_accuracy=None, test_cross_entropy=None)
    runs = [record(0, 0.5), record(1, 0.5), failed, record(0, 0.6), record(1, 0.5), record(2, 0.5)]
    _, left_out = answers_like_the_last(runs)
    assert left_out == [f"{CELL.key}: several records of one seed (0) differ; the last one counts"]


def test_the_last_record_of_each_cell_decides_which_others_answer():
    other_cell = record(0, model="cnn")
    runs = [record(0), record(1, recipe_hash="new"), other_cell, record(2, recipe_hash="new")]
    found, left_out = answers_like_the_last(iter(runs))
    assert found == {CELL.key: [runs[1], runs[3]], other_cell.key: [other_cell]}
    assert len(left_out) == 1


def test_a_preferred_record_decides_wherever_it_comes():
    runs = [record(0, data_hash="old"), record(1), record(2, data_hash="new")]
    for preferred, kept in (({0, 1}, [1]), ({0}, [0]), (set(), [2])):
        found, _ = answers_like_the_last(runs, lambda run, seeds=preferred: run.seed in seeds)
        assert [run.seed for run in found[CELL.key]] == kept
