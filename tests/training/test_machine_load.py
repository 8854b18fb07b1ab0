"""The load by other processes: that of a process beside this one, and not its own."""

import itertools
import subprocess
import sys
import time

import pytest

from stn_core.training import machine_load
from stn_core.training.machine_load import OtherLoad, busy_seconds


@pytest.fixture
def statistics(monkeypatch, tmp_path):
    """Write what the system says of its processors."""
    path = tmp_path / "stat"
    monkeypatch.setattr(machine_load, "_STATISTICS", path)
    return path.write_text


def test_work_is_all_but_waiting_and_guests_are_not_counted_twice(statistics, monkeypatch):
    monkeypatch.setattr(machine_load.os, "sysconf", lambda _: 100)
    statistics("cpu  100 20 30 9000 500 1 2 47 99 9\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    assert busy_seconds() == pytest.approx((100 + 20 + 30 + 1 + 2 + 47) / 100)


@pytest.mark.parametrize("text", ["", "cpu a b\n", "intr 1 2 3\n"])
def test_a_system_that_does_not_say_has_an_unknown_load(statistics, text):
    statistics(text)
    assert busy_seconds() is None
    assert OtherLoad().cores() is None


def test_own_work_is_no_load(monkeypatch):
    clock, own, everything = (
        itertools.count(start, step) for start, step in ((0, 10), (0, 9), (0, 14))
    )
    monkeypatch.setattr(machine_load.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(machine_load.time, "process_time", lambda: next(own))
    monkeypatch.setattr(machine_load, "busy_seconds", lambda: next(everything))
    assert OtherLoad().cores() == pytest.approx((14 - 9) / 10)


def test_the_load_of_a_time_that_began_earlier_is_unknown():
    assert OtherLoad().cores(during=3600) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux says it")
def test_a_process_beside_this_one_is_seen():
    started, load = time.perf_counter(), OtherLoad()
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)
    cores = load.cores()
    assert cores * (time.perf_counter() - started) > 0.2
