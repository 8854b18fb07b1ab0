"""A session of limited time: which runs start, and what is said of the rest."""

import math
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from stn_core.engines import Outcome
from stn_core.errors import UsageError
from stn_core.gate.judgement import SeedsNeeded
from stn_core.suite import time_limit
from stn_core.suite.command_line import START_TIME_FORMAT
from stn_core.suite.option_values import read_minutes
from stn_core.suite.time_limit import TimeLimit
from stn_core.suite.trainer import NotKeptError, Trainer, _PendingCell
from tests.examples import CELL, record
from tests.suite.sessions import select

pytest_plugins = ["pytester"]


@pytest.fixture
def limit(monkeypatch):
    """A limit that begins now, on a clock that stands still."""
    now = float(int(time.time()))
    monkeypatch.setattr(time_limit.time, "time", lambda: now)
    started = time.strftime(START_TIME_FORMAT, time.localtime(now))
    return lambda minutes, stored=math.inf: TimeLimit(started, minutes, lambda key: stored)


def test_a_run_starts_if_it_is_expected_to_end_in_time(limit):
    assert limit(2, stored=100).allows(CELL)
    assert not limit(1, stored=100).allows(CELL)


def test_runs_that_were_accepted_earlier_take_their_time_first(limit):
    two = limit(2, stored=50)
    assert two.allows(CELL, [CELL])
    assert not two.allows(CELL, [CELL] * 2)
    assert two.allows(CELL, [CELL] * 2, workers=2)
    assert not two.allows(CELL, [CELL] * 3, workers=2)


def test_measured_times_take_precedence_over_stored_ones_and_other_cells(limit):
    minute = limit(1, stored=10)
    minute.note(record(train_seconds=100.0))
    assert not minute.allows(CELL)
    unknown = limit(1)
    assert unknown.allows(CELL)
    unknown.note(record(train_seconds=100.0, model="another"))
    assert not unknown.allows(CELL)


def test_runs_that_several_processes_share_start_if_all_end_in_time(limit):
    minute = limit(1, stored=25)
    assert minute.allows_all([CELL] * 4, workers=2)
    assert not minute.allows_all([CELL] * 5, workers=2)
    assert not limit(0.3, stored=25).allows_all([CELL], workers=2)  # processes share no run


@pytest.mark.parametrize(("seeds", "trained"), [((0,), [0]), ((1, 2), [])])
def test_with_a_commit_to_compare_with_there_is_time_for_both_sides(limit, seeds, trained):
    """Two runs of 25 s fit into a minute, and three do not."""
    reference = SimpleNamespace(runs_to_train=lambda cell, seeds: len(seeds))
    engine, minute = SimpleNamespace(workers=1), limit(1, stored=25)
    context = SimpleNamespace(time_limit=minute, reference=reference, engine=engine)
    trainer = Trainer(context)
    started = []
    trainer._submit = lambda cell, seed: started.append(seed)
    pending = _PendingCell(CELL, [])
    trainer._train(pending, SeedsNeeded(CELL.key, seeds, 3, reference_seeds=seeds))
    assert started == trained
    assert (pending.judgement is None) is bool(trained)


def test_cells_that_wait_for_a_free_worker_start_after_runs_that_were_dropped(limit):
    """A record that cannot be kept drops every run; none of them comes back to free a worker."""
    accepted = []
    engine = SimpleNamespace(workers=2, cancel=accepted.clear, next_outcome=lambda: accepted.pop())
    context = SimpleNamespace(time_limit=limit(60), engine=engine, reference=None)
    context.plan = SimpleNamespace(data_hashes={CELL.dataset: ""})
    context.options, context.earlier_records = SimpleNamespace(from_records=()), {}
    context.judge = SimpleNamespace(judge=lambda cell, *_: SeedsNeeded(cell.key, range(5), 5))
    trainer = Trainer(context)

    def submit(cell, seed):
        accepted.append(Outcome(SimpleNamespace(cell=cell, seed=seed), result="a run"))

    def keep(*_):
        raise NotKeptError("no space left on device")

    trainer._submit, trainer._keep = submit, keep
    cells = [replace(CELL, model=name) for name in "abcd"]
    trainer.submit(cells)
    while not all(map(trainer.is_ready, cells)):
        assert accepted
        trainer.take_one()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone cannot be set")
@pytest.mark.parametrize("started", [1792888200, 1792891800])
def test_the_hour_that_summer_time_repeats_is_the_one_of_now(started, monkeypatch):
    """Both are 02:30 in Berlin on 25 October 2026, an hour apart."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        monkeypatch.setattr(time_limit.time, "time", lambda: started + 60.0)
        name = time.strftime(START_TIME_FORMAT, time.localtime(started))
        assert name.startswith("2026-10-25_02-30")
        assert TimeLimit(name, 30, lambda key: math.inf).seconds_left == 29 * 60
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["0", "-1", "nan", "soon"])
def test_no_time_at_all_is_one_line(text):
    with pytest.raises(UsageError, match="expected a number of minutes above 0, not"):
        read_minutes(text)


def test_cells_that_were_not_reached_are_named_and_resumed(bench, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(TimeLimit, "allows", lambda self, cell, *others: cell.model == "tiny")
        first = bench(*select("tiny", "small"), "--minutes", "5", "--seeds", "1")
    assert first.ret == 1
    first.stdout.fnmatch_lines(
        [
            "digits * small * MISSING*",
            "--minutes 5: 1 cell not finished in time (smoke/digits/small);"
            " --resume last continues",
            "2 cells, 1 run: 1 MISSING, 1 NEW",
        ]
    )
    second = bench(*select("tiny", "small"), "--seeds", "1", "--resume", "last")
    assert second.ret == 0
    second.stdout.fnmatch_lines(["2 cells, 2 runs: 2 NEW"])


def test_time_is_first_spent_on_baselines_of_most_use(bench):
    bench(*select("tiny"), "--update-baselines", "--seeds", "2")
    order = bench(
        *select("tiny", "small", "cnn"),
        *("--update-baselines", "--seeds", "2", "--minutes", "600", "--collect-only", "-q"),
    )
    items = [line for line in order.outlines if "::" in line]
    assert [item.split("digits-")[1] for item in items] == ["cnn]", "small]", "tiny]"]
