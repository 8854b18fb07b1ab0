"""A real cluster of three nodes on this machine: killing parts of it loses nothing.

    pytest tests/engines/test_ray_cluster.py -m nightly

It takes about a minute on a quiet machine, and a gigabyte of memory.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import loopback_cluster
from tests.platforms import needs_posix_signals
from tests.suite.sessions import GATE, MODELS, command, exactly, tables

pytest.importorskip("ray", reason="Ray is not installed: pip install 'stn-core[ray]'")
pytestmark = [pytest.mark.nightly, needs_posix_signals]

MORE_MODELS = """
class Sleepy(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        import time
        time.sleep(0.01)
        return self.network(images)

@register_model
def sleepy(in_shape, num_classes):
    return Sleepy(tiny(in_shape, num_classes))

@register_model
def drowsy(in_shape, num_classes):
    return Sleepy(small(in_shape, num_classes))
"""
CONFTEST = """
from dataclasses import dataclass
from pathlib import Path

from stn_core.suite.plugin import results_folder
from stn_core.training.callbacks import Callback, Watcher

@dataclass(frozen=True)
class Diary(Callback):
    folder: str

    def watch(self, run):
        return Writer(Path(self.folder), run)

class Writer(Watcher):
    def __init__(self, folder, run):
        self.folder, self.run = folder, run

    def end(self):
        self.folder.mkdir(exist_ok=True)
        (self.folder / self.run.record.run_name).write_text(self.run.record.status)

def pytest_stn_callbacks(config):
    return [Diary(str(results_folder(config) / "diary"))]
"""
CELLS = ("tiny", "small", "sleepy", "drowsy", "tiny_that_warns", "fragile")
SESSION = ("-k", exactly(*CELLS), "--no-identical", "--save-models")


class Loopback:
    """The cluster's process, and sessions beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = str(loopback_cluster.__file__)
        self._process = subprocess.Popen(
            [sys.executable, script, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self._answer()["address"]

    def _answer(self) -> dict[str, str]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, str] = json.loads(line)
                return answer
        raise AssertionError("the cluster ended")

    def kill(self, what: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        assert self._answer() == {"killed": what}

    def end(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def environment(self, **changes: str) -> dict[str, str]:
        return {**os.environ, **loopback_cluster.environment(self.folder), **changes}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Loopback]:
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    found = Loopback(folder)
    yield found
    found.end()
    mine = [line for *_, line in loopback_cluster.processes() if str(folder) in line]
    shutil.rmtree(folder)
    assert not mine


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stored values make two cells need more and more seeds."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "my_models.py").write_text(MODELS + MORE_MODELS)
    (folder / "test_bench.py").write_text(GATE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST)
    stored = exactly("tiny", "small", "sleepy")
    done = subprocess.run(
        command("-k", stored, "--seeds", "2", "--update-baselines", "--results-dir", "first"),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    path = folder / "baselines.json"
    content = json.loads(path.read_text())
    for name, points in (("tiny", 0.05), ("sleepy", 0.04)):
        for run in content["cells"][f"smoke/digits/{name}"]["runs"]:
            run["accuracy"] = min(run["accuracy"] + points, 1.0)
    path.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def alone(project: Path) -> Path:
    """The folder of a session without a cluster."""
    subprocess.run(
        command(*SESSION, "--results-dir", "alone"), cwd=project, stdout=subprocess.DEVNULL
    )
    (folder,) = (project / "alone").iterdir()
    return folder


def start(
    cluster: Loopback, project: Path, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    given = () if "--ray" in arguments else ("--ray", cluster.address)
    return subprocess.Popen(
        command(*SESSION, *given, *arguments),
        cwd=project,
        env=cluster.environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A job in the background of a shell ignores it, and its children do.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def records(folder: Path) -> list[dict[str, object]]:
    texts = [path.read_text() for path in folder.glob("**/records.jsonl")]
    lines = [line for text in texts for line in text.splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("}\n")]


def wait_for_records(session: subprocess.Popen[str], folder: Path, count: int) -> None:
    while len(records(folder)) < count:
        assert session.poll() is None, session.communicate()[0]
        time.sleep(0.02)


def runs(folder: Path) -> list[tuple[object, ...]]:
    """Every record's cell, seed and digest; each run has one."""
    found = [(run["model"], run["seed"], run["digest"]) for run in records(folder)]
    assert len({run[:2] for run in found}) == len(found)
    return sorted(found, key=str)


def files(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if "checkpoints" not in path.parts}


def test_a_killed_run_and_a_killed_node_change_nothing(
    cluster: Loopback, project: Path, alone: Path
) -> None:
    session = start(cluster, project, "--results-dir", "there")
    wait_for_records(session, project / "there", 2)
    cluster.kill("worker")
    wait_for_records(session, project / "there", 5)
    cluster.kill("node")
    said, _ = session.communicate(timeout=300)
    (folder,) = (project / "there").iterdir()
    assert runs(folder) == runs(alone)
    assert tables(folder) == tables(alone)
    assert files(folder) == files(alone)
    seeds = {name: sum(run[0] == name for run in runs(folder)) for name in CELLS}
    assert len(set(seeds.values())) > 1
    assert max(seeds.values()) > 3, seeds
    assert "CRASHED  smoke/digits/fragile" in said
    assert session.returncode == 1
    assert "Traceback" not in said


def test_an_interrupted_session_is_resumed(cluster: Loopback, project: Path, alone: Path) -> None:
    session = start(cluster, project, "--results-dir", "again")
    wait_for_records(session, project / "again", 3)
    session.send_signal(signal.SIGINT)
    said, _ = session.communicate(timeout=60)
    assert session.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "results, budget smoke" in said
    assert "--resume last trains what is missing" in said
    (folder,) = (project / "again").iterdir()
    kept = {run for run in runs(folder) if run[0] != "fragile"}
    assert len(kept) < len(runs(alone)) - 1

    resumed = start(cluster, project, "--results-dir", "again", "--resume", "last")
    resumed.communicate(timeout=300)
    found = [run for run in records(folder) if run["model"] != "fragile"]
    expected = [run for run in runs(alone) if run[0] != "fragile"]
    assert sorted(((r["model"], r["seed"], r["digest"]) for r in found), key=str) == expected
    assert tables(folder) == tables(alone)


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (("--threads", "64"), {}, "a run needs 64 CPUs, and no node offers that (127.0.0.1 has 1"),
        (("--device", "cuda"), {}, "a run needs 1 CPU and a GPU, and no node offers that"),
        ((), {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "wrong" * 10}, "the same token"),
        (("--ray", "127.0.0.1:1"), {}, "nothing listens there; start a cluster with"),
    ],
)
def test_a_cluster_that_cannot_serve_is_a_one_line_error_in_time(
    cluster: Loopback,
    project: Path,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    line: str,
) -> None:
    session = start(cluster, project, "--results-dir", "refused", *arguments, **environment)
    said, _ = session.communicate(timeout=60)
    assert session.returncode == pytest.ExitCode.INTERRUPTED
    told = [each for each in said.splitlines() if line in each]
    assert told[0].startswith("--ray 127.0.0.1:"), said
    assert "rpc_client" not in said
    assert "gcs_client" not in said
    assert "Traceback" not in said
    assert not (project / "refused").exists()


def test_a_cluster_that_disappears_ends_the_session(cluster: Loopback, project: Path) -> None:
    session = start(cluster, project, "--results-dir", "gone")
    wait_for_records(session, project / "gone", 2)
    cluster.kill("head")
    said, _ = session.communicate(timeout=60)
    assert session.returncode == pytest.ExitCode.INTERRUPTED, said
    assert f"Interrupted: --ray {cluster.address}: the cluster is gone" in said
    assert "results, budget smoke" in said
    assert len(records(project / "gone")) >= 2
