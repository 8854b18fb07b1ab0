"""The engine of another commit's code, whatever becomes of its process."""

from pathlib import Path

import pytest

import stn_core
from stn_core.engines import reference
from stn_core.engines.reference import Reference, ReferenceCode
from stn_core.errors import UsageError

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
