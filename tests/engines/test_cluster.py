"""Lost runs are tried again, a few times; every task has one outcome."""

from __future__ import annotations

import random

import pytest

from stn_core.engines import Engine, Outcome, Task
from stn_core.engines.away import Returned
from stn_core.engines.cluster import MOST_RETRIES, Cluster, Ended
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.run_cell import RunResult, RunSettings
from tests.engines.fake_executor import FakeExecutor, invented
from tests.examples import record

CELL = Cell("cnn", "digits", "smoke", Recipe(epochs=1))


def task(seed: int) -> Task:
    return Task(CELL, seed, RunSettings())


def outcomes(engine: Engine, seeds: range) -> dict[int, Outcome]:
    for seed in seeds:
        engine.submit(task(seed))
    found = [engine.next_outcome() for _ in seeds]
    assert sorted(one.task.seed for one in found) == list(seeds)
    return {one.task.seed: one for one in found}


@pytest.mark.parametrize("order", range(5))
def test_every_task_has_one_outcome_whatever_is_lost_and_in_whatever_order(order: int) -> None:
    choose = random.Random(order)
    deaths = {("cnn", seed): choose.randrange(6) for seed in range(20)}
    executor = FakeExecutor(deaths=deaths, next_place=lambda tasks: choose.randrange(len(tasks)))
    found = outcomes(Cluster(executor), range(20))
    for seed, outcome in found.items():
        died = deaths["cnn", seed]
        assert (outcome.result is None) == (died > MOST_RETRIES)
        assert executor.started.count(("cnn", seed)) == min(died, MOST_RETRIES) + 1
        if outcome.result:
            assert outcome.result == invented(task(seed)).result
        else:
            assert outcome.lost == "tried 4 times: its node died"
    assert not executor.out


def test_a_late_answer_of_a_lost_run_is_ignored() -> None:
    late = Ended(0, Returned(RunResult(record(0, 0.5, cell=CELL)), {}))
    second = Ended(1, invented(task(0)))

    class Late(FakeExecutor):
        says = iter([Ended(0, death="its node died"), late, None, second])

        def ended(self, seconds: float) -> Ended | None:
            return next(self.says)

    executor = Late()
    found = outcomes(Cluster(executor), range(1))
    assert second.returned
    assert found[0].result == second.returned.result
    assert executor.started == [("cnn", 0)] * 2


def test_dropped_tasks_are_cancelled_and_have_no_outcome() -> None:
    executor = FakeExecutor()
    engine = Cluster(executor)
    for seed in range(3):
        engine.submit(task(seed))
    engine.cancel()
    assert executor.cancelled == [0, 1, 2]
    engine.submit(task(7))
    assert engine.next_outcome().task.seed == 7
    engine.close()
    assert executor.is_closed
