"""An engine of several processes gives the runs that this process would give."""

import signal
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from stn_core.engines import InProcess, Processes, Task
from stn_core.errors import UsageError
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.run_cell import RunSettings
from tests.engines.killing import ends_if_killed
from tests.platforms import needs_posix_signals

CELL = Cell("cnn", "digits", "smoke", Recipe(epochs=1))
OWN_MODEL = """
from stn_core.models import create_model, register_model

@register_model(channels_last=True)
def own(in_shape, num_classes):
    return create_model("cnn", in_shape, num_classes)
"""


def outcomes(engine, tasks):
    """The records of all the tasks."""
    try:
        for task in tasks:
            engine.submit(task)
        return [engine.next_outcome().result.record for _ in tasks]
    finally:
        engine.close()


@pytest.mark.nightly
def test_runs_are_those_of_one_process_and_know_the_users_models(tmp_path):
    (tmp_path / "own_models.py").write_text(OWN_MODEL)
    own = Cell("own", "digits", "smoke", Recipe(epochs=1))
    tasks = [Task(CELL, 3, RunSettings()), Task(own, 3, RunSettings())]
    found = outcomes(Processes(2, ("own_models",), tmp_path), tasks)
    (expected,) = outcomes(InProcess(), tasks[:1])
    assert sorted(one.model for one in found) == ["cnn", "own"]
    assert {one.digest for one in found} == {expected.digest}


def test_a_module_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="--import nowhere: "):
        outcomes(Processes(1, ("nowhere",), tmp_path), [Task(CELL, 0, RunSettings())])


def test_ctrl_c_is_left_to_the_session_which_ends_a_process_in_the_middle_of_its_task():
    engine = Processes(1)
    engine._pool.submit(signal.raise_signal, signal.SIGINT).result()
    endless = engine._pool.submit(time.sleep, 60)
    while not endless.running():
        time.sleep(0.01)
    engine.close()
    assert isinstance(endless.exception(), BrokenProcessPool)


TAKES_LONG = """
import pathlib
import time

def task():
    pathlib.Path("asked").touch()
    time.sleep(120)
"""
ASKS = """
if __name__ == "__main__":
    import slow_task
    from stn_core.engines import Processes

    engine = Processes(1)
    engine._pool.submit(slow_task.task)
    print(next(iter(engine._pool._processes)), flush=True)
    engine._pool.shutdown()
"""


@needs_posix_signals
def test_a_process_ends_before_its_task_if_its_session_is_killed(tmp_path):
    (tmp_path / "slow_task.py").write_text(TAKES_LONG)
    ends_if_killed(ASKS, tmp_path, tmp_path / "asked")
