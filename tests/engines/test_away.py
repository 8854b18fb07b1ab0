"""A run elsewhere gives the same as here and leaves no files there; other code is refused."""

from __future__ import annotations

import dataclasses
import pickle
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from stn_core.datasets import load_dataset
from stn_core.engines import InProcess, Task, away
from stn_core.engines.away import Code, RefusedError, Surroundings, moved, prepare, run_away
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.session.user_modules import import_models
from stn_core.training.callbacks import (
    Callback,
    KeepArtifacts,
    Run,
    SaveCheckpoints,
    SaveModels,
    Watcher,
)
from stn_core.training.run_cell import RunSettings
from tests.engines.test_in_process import timeless

CELL = Cell("cnn", "digits", "smoke", Recipe(epochs=1))


@pytest.fixture(autouse=True)
def fresh() -> None:
    prepare.cache_clear()


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings.here((), tmp_path)


def test_a_run_elsewhere_is_the_run_here_and_its_files_are_returned(
    tmp_path: Path, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    session = tmp_path / "session"
    folders = [str(session / name) for name in ("artifacts", "models")]
    callbacks = KeepArtifacts(folders[0]), SaveModels(folders[1])
    task = Task(CELL, 3, RunSettings(), callbacks, str(session), load_dataset("digits").hash)
    travelled = pickle.loads(pickle.dumps((task, surroundings)))
    returned = pickle.loads(pickle.dumps(run_away(*travelled, "there")))
    assert not session.exists()
    assert not list(scratch.glob("stn-run-*"))

    engine = InProcess()
    engine.submit(task)
    here = engine.next_outcome().result
    assert here
    assert timeless(returned.result.record) == timeless(here.record)
    written = {
        path.relative_to(session).as_posix(): path.read_bytes()
        for path in session.rglob("*")
        if path.is_file()
    }
    assert sorted(returned.files) == sorted(written)
    arrays, model = sorted(written)
    assert returned.files[arrays] == written[arrays]
    assert len(returned.files[model]) == len(written[model])  # its header is in any order


@dataclass(frozen=True)
class Diary(Callback):
    folder: Path
    elsewhere: str
    pages: int = 3

    def watch(self, run: Run) -> Watcher:
        return Watcher()


def test_only_paths_below_the_sessions_folder_are_moved() -> None:
    diary = Diary(Path("/session/diary"), "/sessions/other")
    there = moved(diary, "/session", "/node/session")
    assert there == Diary(Path("/node/session/diary"), "/sessions/other")
    assert moved(diary, "", "/node/session") == diary
    checkpoints = SaveCheckpoints("/session/checkpoints", seconds=1.5)
    assert moved(checkpoints, "/session", "/a") == SaveCheckpoints("/a/checkpoints", seconds=1.5)


def test_another_code_is_refused_in_a_line_that_names_node_and_versions(
    surroundings: Surroundings,
) -> None:
    here = surroundings.code
    for other in ({"torch": "1.0.0"}, {"stn_core": "9.9"}, {"sources": "0badc0de"}):
        code = dataclasses.replace(here, **other)
        with pytest.raises(RefusedError) as refusal:
            run_away(
                Task(CELL, 0, RunSettings()),
                dataclasses.replace(surroundings, code=code),
                "10.0.0.7",
            )
        (value,) = other.values()
        message = str(refusal.value)
        assert message.startswith(f"node 10.0.0.7 has stn_core {here.stn_core} (sources ")
        assert f"torch {here.torch}; this session has" in message
        assert value in message


def test_files_without_metadata_are_refused_in_a_line_that_names_the_node(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder that Ray copied to a node on which nothing is installed."""

    def lacks(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(away, "version", lacks)
    code = str(surroundings.code)
    refusal, _ = away.inspect_node((), "", code, (), None, None, "10.0.0.7")
    assert refusal.startswith("node 10.0.0.7 has the files of stn_core without its metadata: ")


def test_the_users_own_modules_are_part_of_the_code(tmp_path: Path) -> None:
    names = ("own_module_of_this_test", "beside.py")
    for name in names:
        (tmp_path / name).with_suffix(".py").write_text("VALUE = 1\n")
    here = Surroundings.here((), tmp_path)
    import_models(names, tmp_path)
    first = Code.here(names, tmp_path)
    assert set(first.imports) == set(names)
    assert dataclasses.replace(first, imports={}) == here.code
    (tmp_path / "beside.py").write_text("VALUE = 2\n")
    second = Code.here(names, tmp_path)
    assert second.imports["beside.py"] != first.imports["beside.py"]
    assert second.imports[names[0]] == first.imports[names[0]]


def test_a_node_without_room_for_a_runs_files_is_refused(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(RefusedError, match=r"^node b: .*No such file or directory"):
        run_away(Task(CELL, 0, RunSettings()), surroundings, "b")


def test_other_data_and_missing_modules_are_refused(surroundings: Surroundings) -> None:
    other = Task(CELL, 0, RunSettings(), data_hash="0badc0de0badc0de")
    with pytest.raises(RefusedError, match=r"^node b: its digits has the hash \w+, the session"):
        run_away(other, surroundings, "b")
    nowhere = Task(dataclasses.replace(CELL, dataset="mnist"), 0, RunSettings(data_root="/nowhere"))
    with pytest.raises(RefusedError, match=r"^node b: .*--data-root"):
        run_away(nowhere, surroundings, "b")
    lacking = dataclasses.replace(surroundings, imports=("no_such_module",))
    with pytest.raises(RefusedError, match=r"^node b: --import no_such_module: "):
        run_away(other, lacking, "b")
