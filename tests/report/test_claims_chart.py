"""The picture of claims shows what each one allows, and what was found."""

import dataclasses

import pytest

from stn_core.gate.contrasts import Direction, Expectation
from stn_core.gate.intervals import Difference
from stn_core.report.claims_chart import claimed_range, claims_picture
from tests.report.claiming import CLAIM, EPOCHS, HIGH, LOW, NEVER, SOON, judged, runs, with_curve


@pytest.mark.parametrize(
    "expectation",
    [
        Expectation(Direction.HIGHER),
        Expectation(Direction.LOWER, size=2.0),
        Expectation(Direction.EQUAL, margin=0.5),
    ],
)
def test_a_difference_in_the_claimed_range_holds_and_one_outside_does_not(expectation):
    low, high = claimed_range(expectation)
    for estimate in (-20.0, -1.0, -0.1, 0.1, 1.0, 20.0):
        finding = expectation.finding(Difference(estimate, estimate, estimate))
        assert (str(finding) == "holds") == (low < estimate < high)


def test_every_decided_claim_is_a_row_and_open_ones_are_left_out(tmp_path):
    text = CLAIM + CLAIM.replace('"better"', '"open"').replace('"b"', '"c"')
    picture = claims_picture(judged(tmp_path, runs("a", HIGH) + runs("b", LOW), text))
    assert "a - b, digits, accuracy: +7.00 points" in picture
    assert "a - c" not in picture


def test_a_claim_that_holds_in_one_way_only_has_two_rows_that_name_the_ways(tmp_path):
    text = CLAIM + 'published = "predecessor"\n'
    ours = runs("a", HIGH) + runs("b", LOW)
    published = [
        dataclasses.replace(one, budget="predecessor") for one in runs("a", LOW) + runs("b", HIGH)
    ]
    picture = claims_picture(judged(tmp_path, ours + published, text))
    assert picture.index("-7.00 points") < picture.index("as published")
    assert picture.index("+7.00 points") < picture.index("with our recipes")


def test_an_interval_without_an_end_reaches_to_the_edge(tmp_path):
    records = with_curve("a", *SOON) + with_curve("b", *NEVER)
    picture = claims_picture(judged(tmp_path, records, EPOCHS))
    assert "a - b, digits, epochs: -3.00 epochs" in picture
    assert "inf" not in picture
    assert "nan" not in picture


def test_without_a_decided_claim_the_picture_has_no_row(tmp_path):
    picture = claims_picture(judged(tmp_path, []))
    assert "claimed" in picture
    assert "a - b" not in picture
