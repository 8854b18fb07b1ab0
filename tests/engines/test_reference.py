"""The engine of another commit's code, whatever becomes of its process."""

import os
import subprocess
from pathlib import Path

import pytest

import stn_core
from stn_core.engines import Task, reference
from stn_core.engines.reference import Reference, ReferenceCode, run_side_by_side
from stn_core.errors import UsageError
from stn_core.training.run_cell import RunSettings
from tests.engines.killing import ends_if_killed
from tests.examples import CELL, record
from tests.platforms import needs_posix_signals

FOLDER = Path(stn_core.__file__).parents[1]


def test_a_process_that_dies_between_two_questions_is_one_line():
    code = ReferenceCode("main", "0" * 40, FOLDER, (str(FOLDER),), (), (), ())
    engine = Reference(code)
    assert "stn" in engine.models
    assert engine._process
    engine._process.kill()
    engine._process.wait()
    with pytest.raises(UsageError, match="--against main: the process that trains it ended"):
        engine.lacking([], [])


def test_a_process_that_is_killed_as_it_answers_is_one_line(monkeypatch, tmp_path):
    script = tmp_path / "process.py"
    script.write_text("print('{\"models\": [\"cn', end='')")
    monkeypatch.setattr(reference, "_SCRIPT", script)
    engine = Reference(ReferenceCode("main", "0" * 40, FOLDER, (str(FOLDER),), (), (), ()))
    with pytest.raises(UsageError, match="--against main: the process that trains it ended"):
        _ = engine.models


def test_a_process_that_starts_as_the_session_ends_is_ended_too(monkeypatch):
    """Ctrl-C can come while a thread of `run_side_by_side` is starting one."""
    engine = Reference(ReferenceCode("main", "0" * 40, FOLDER, (str(FOLDER),), (), (), ()))
    started = []

    def start(*arguments, **options):
        engine.close()
        started.append(popen(*arguments, **options))
        return started[0]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(UsageError, match="the session has ended"):
        _ = engine.models
    assert started[0].returncode


TAKES_LONG = """
import pathlib, time

run_cell = None

def list_models():
    return ["stn"]

def list_datasets():
    pathlib.Path("asked").touch()
    time.sleep(120)
"""
ASKS = """
from pathlib import Path
from stn_core.engines.reference import Reference, ReferenceCode

engine = Reference(ReferenceCode("main", "0" * 40, Path({folder!r}), ({folder!r},), (), (), ()))
engine.models
print(engine._process.pid, flush=True)
engine.lacking([], [])
"""


@needs_posix_signals
def test_the_process_ends_before_its_answer_if_its_session_is_killed(tmp_path):
    """A run may take minutes, on the cores that the resumed session needs."""
    commit = tmp_path / "commit"
    package = commit / "stn_core"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(TAKES_LONG)
    ends_if_killed(ASKS.format(folder=str(commit)), tmp_path, commit / "asked")


WAITS_FOR_ANOTHER = """
import json, os, pathlib, sys, time

folder = pathlib.Path(__file__).parent
for line in sys.stdin:
    answer = {"models": []}
    if "run" in json.loads(line):
        (folder / f"{os.getpid()}.pid").touch()
        patience = time.monotonic() + 20
        while len(list(folder.glob("*.pid"))) < 2 and time.monotonic() < patience:
            time.sleep(0.01)
        seed = json.loads(line)["run"]["seed"]
        answer = {"record": json.loads((folder / "record.json").read_text()) | {"seed": seed}}
    print(json.dumps(answer), flush=True)
"""


def test_runs_side_by_side_are_computed_in_as_many_processes(monkeypatch, tmp_path):
    script = tmp_path / "process.py"
    script.write_text(WAITS_FOR_ANOTHER)
    (tmp_path / "record.json").write_text(record(0).to_json())
    monkeypatch.setattr(reference, "_SCRIPT", script)
    code = ReferenceCode("main", "0" * 40, FOLDER, (str(FOLDER),), (), (), ())
    tasks = [Task(CELL, seed, RunSettings(device="cpu")) for seed in range(5)]
    results = list(run_side_by_side(code, tasks, processes=2))
    assert sorted(result.record.seed for result in results) == [0, 1, 2, 3, 4]
    processes = [int(file.stem) for file in tmp_path.glob("*.pid")]
    assert len(processes) == 2
    for process in processes:  # they have ended
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_one_of_several_processes_that_dies_ends_them_all_with_one_line(monkeypatch, tmp_path):
    script = tmp_path / "process.py"
    dies = "os._exit(1) if json.loads(line)['run']['seed'] == 1 else time.sleep(60)"
    script.write_text(WAITS_FOR_ANOTHER.replace("seed = json", f"{dies}\n        seed = json"))
    monkeypatch.setattr(reference, "_SCRIPT", script)
    code = ReferenceCode("main", "0" * 40, FOLDER, (str(FOLDER),), (), (), ())
    tasks = [Task(CELL, seed, RunSettings(device="cpu")) for seed in range(5)]
    with pytest.raises(UsageError, match="--against main: the process that trains it ended"):
        list(run_side_by_side(code, tasks, processes=2))
    for file in tmp_path.glob("*.pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.stem), 0)
