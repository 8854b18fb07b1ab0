"""The progress line of a session, and what it learns from the runs that end."""

import math

import pytest

from stn_core.report.outlook import Expected, Outlook, time_text
from stn_core.session.beats import Beat

KEYS = [f"smoke/digits/{name}" for name in ("a", "b", "c", "d")]


def outlook(workers=1, fewest=1, most=6, seconds=(1.0, 2.0, 4.0, math.inf)):
    cells = {key: Expected(fewest, most, stored) for key, stored in zip(KEYS, seconds, strict=True)}
    return Outlook(cells, workers)


def test_no_time_is_shown_before_a_run_has_ended():
    fresh = outlook()
    assert fresh.seconds_left() is None
    assert fresh.line([]) == "0 of 4 cells · 0 of about 4 runs"


def test_stored_seconds_only_compare_cells_and_the_runs_here_say_how_fast_it_is():
    seen = outlook()
    seen.run_ended(KEYS[0], 3.0)
    seen.cell_ended(KEYS[0])
    assert seen.run_seconds(KEYS[1]) == 6.0  # stored is twice as long as that of a
    assert seen.run_seconds(KEYS[3]) == 3.0  # nothing is stored: as long as others
    assert seen.seconds_left() == 6.0 + 12.0 + 3.0
    seen.run_ended(KEYS[3], 100.0)
    assert seen.run_seconds(KEYS[3]) == 100.0


def test_scaled_stored_seconds_change_nothing():
    lefts = []
    for scale in (1, 7):
        seen = outlook(seconds=[scale * s for s in (1.0, 2.0, 4.0, math.inf)])
        seen.run_ended(KEYS[1], 5.0)
        lefts.append(seen.seconds_left())
    assert lefts[0] == pytest.approx(lefts[1])


def test_cells_that_wanted_more_seeds_say_that_others_will_but_never_beyond_the_most():
    seen = outlook(most=2)
    for _ in range(3):
        seen.run_ended(KEYS[0], 1.0)
    seen.cell_ended(KEYS[0])
    assert seen.runs_left() == dict.fromkeys(KEYS[1:], 2)
    assert seen.line([]).startswith("1 of 4 cells · 3 of about 9 runs · about ")


def test_workers_share_what_is_left_but_not_one_run():
    for workers in (1, 2, 100):
        seen = outlook(workers)
        seen.run_ended(KEYS[0], 1.0)
        seen.cell_ended(KEYS[0])
        assert seen.seconds_left() == max((2 + 4 + 1) / workers, 4)


def test_unfinished_runs_count_in_part():
    seen = outlook(seconds=(1.0, 1.0, 1.0, 1.0))
    seen.run_ended(KEYS[0], 8.0)
    seen.cell_ended(KEYS[0])
    halfway = [Beat(KEYS[1], 2, 5, 10), Beat("smoke/digits/of another session", 0, 1, 2)]
    assert seen.seconds_left(halfway) == 8 * 3 - 4
    line = seen.line([Beat(KEYS[2], 0, 1, 10), halfway[0]])
    assert "2 running (digits-b seed 2, epoch 5/10) · about 20 s left" in line


def test_no_time_is_left_after_the_last_cell():
    seen = outlook()
    for key in KEYS:
        seen.run_ended(key, 1.0)
        seen.cell_ended(key)
    assert seen.line([]) == "4 of 4 cells · 4 of about 4 runs"
    assert seen.seconds_left() == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "10 s"), (34, "30 s"), (54, "50 s"), (61, "1 min"), (3000, "50 min"), (9000, "2.5 h")],
)
def test_times_in_words(seconds, text):
    assert time_text(seconds) == f"about {text}"


def test_runs_that_groups_ask_for_after_the_verdicts_are_counted_and_shown():
    seen = outlook()
    for key in KEYS:
        seen.run_ended(key, 1.0)
        seen.cell_ended(key)
    late = [Beat(KEYS[0], 1, 2, 4), Beat(KEYS[3], 0, 4, 4)]
    assert seen.line(late) == "4 of 4 cells · 4 of about 4 runs"
    seen.expect_more([KEYS[0], KEYS[0], KEYS[1], "smoke/digits/other"])
    assert seen.line(late) == (
        "4 of 4 cells · 4 of about 7 runs · 1 running (digits-a seed 1, epoch 2/4)"
        " · about 10 s left"
    )
    seen.run_ended(KEYS[1], 1.0)
    assert seen.runs_left() == {KEYS[0]: 2, KEYS[1]: 0}
