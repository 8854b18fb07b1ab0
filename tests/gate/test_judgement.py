"""What a verdict means for the session, and how a judgement reads."""

from stn_core.gate.judgement import SeedsNeeded, Verdict, accuracy_text
from tests.examples import CELL, record
from tests.gate.judging import STORED, judge


def test_a_cell_whose_seeds_never_run_is_missing_or_crashed():
    needed = judge([record(0)])
    assert needed == SeedsNeeded(CELL.key, (1, 2), 3, (record(0),), STORED)
    missing = needed.closed()
    assert (missing.verdict, missing.message) == (
        Verdict.MISSING,
        "1 of 3 planned runs came back",
    )
    crashed = needed.closed(Verdict.CRASHED, "killed")
    assert (crashed.verdict, crashed.message) == (Verdict.CRASHED, "killed")
    assert missing.records == crashed.records == (record(0),)


def test_the_verdicts_that_fail_a_session():
    passing = {verdict for verdict in Verdict if verdict.passes}
    assert passing == {
        *(Verdict.PASS, Verdict.IDENTICAL, Verdict.IMPROVED, Verdict.NEW, Verdict.SKIPPED)
    }


def test_accuracies_in_words():
    assert accuracy_text([0.95, 0.97]) == "96.00 ± 1.41 (2)"
    assert accuracy_text([0.95]) == "95.00 (1)"
    assert accuracy_text([]) == ""
