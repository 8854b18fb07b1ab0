"""A real cluster of three nodes on this machine: killing parts of it loses nothing.

    pytest tests/engines/test_ray_cluster.py -m nightly

It takes some minutes and a gigabyte of memory.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.engines import loopback_cluster
from tests.engines.project_on_ray import CONFTEST, MORE_MODELS
from tests.platforms import needs_posix_signals
from tests.suite.sessions import GATE, MODELS, command, exactly, tables

pytest.importorskip("ray", reason="Ray is not installed: pip install 'stn-core[ray]'")
pytestmark = [pytest.mark.nightly, needs_posix_signals]

CELLS = ("tiny", "small", "sleepy", "drowsy", "tiny_that_warns", "fragile")
BUDGET = ("--budget", "brief")
SESSION = ("-k", exactly(*CELLS), *BUDGET, "--no-identical", "--save-models")


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
        assert self._ask(what) == {"killed": what}

    def add_stranger(self) -> None:
        assert self._ask("add stranger") == {"added": "stranger"}

    def _ask(self, what: str) -> dict[str, str]:
        assert self._process.stdin
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._answer()

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
        command(
            "-k", stored, *BUDGET, "--seeds", "2", "--update-baselines", "--results-dir", "first"
        ),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    path = folder / "baselines.json"
    content = json.loads(path.read_text())
    for name, points in (("tiny", 0.05), ("sleepy", 0.04)):
        for run in content["cells"][f"brief/digits/{name}"]["runs"]:
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
    cluster: Loopback,
    project: Path,
    *arguments: str,
    cells: Sequence[str] = SESSION,
    **environment: str,
) -> subprocess.Popen[str]:
    given = () if "--ray" in arguments else ("--ray", cluster.address)
    return subprocess.Popen(
        command(*cells, *given, *arguments),
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


def wait_until(true: Callable[[], bool], session: subprocess.Popen[str]) -> None:
    while not true():
        assert session.poll() is None, session.communicate()[0]
        time.sleep(0.02)


def wait_for_records(session: subprocess.Popen[str], folder: Path, count: int) -> None:
    wait_until(lambda: len(records(folder)) >= count, session)


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
    assert "CRASHED  brief/digits/fragile" in said
    assert session.returncode == 1
    assert "Traceback" not in said


def test_an_interrupted_session_is_resumed(cluster: Loopback, project: Path, alone: Path) -> None:
    session = start(cluster, project, "--results-dir", "again")
    wait_for_records(session, project / "again", 3)
    session.send_signal(signal.SIGINT)
    said, _ = session.communicate(timeout=60)
    assert session.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "results, budget brief" in said
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
        (("--ray", "ray://{address}"), {}, "is it the right port of Ray (10001 needs ray://)"),
    ],
)
def test_a_cluster_that_cannot_serve_is_a_one_line_error_in_time(
    cluster: Loopback,
    project: Path,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    line: str,
) -> None:
    given = [each.format(address=cluster.address) for each in arguments]
    session = start(cluster, project, "--results-dir", "refused", *given, **environment)
    # Joining ends after JOIN_SECONDS; on a busy machine, Python may take as long to start.
    said, _ = session.communicate(timeout=60)
    assert session.returncode == pytest.ExitCode.INTERRUPTED
    told = [each for each in said.splitlines() if line in each]
    assert told[0].startswith(("--ray 127.0.0.1:", "--ray ray://127.0.0.1:")), said
    assert not {"rpc_client", "gcs_client"} & set(re.findall(r"\w+", said))
    assert "Traceback" not in said
    assert not (project / "refused").exists()


def test_selection_and_files_are_those_of_any_session(cluster: Loopback, project: Path) -> None:
    cells = ("-k", exactly("tiny", "small", "fragile", "moody", "cnn"), "-m", "not core")
    cells = (*cells, "--seeds", "1", "--epochs", "1", "--results-dir", "usual")
    cache = ("-p", "cacheprovider")
    more = (*cache, "--junitxml", "junit.xml", "--tensorboard", "--save-models")
    first = start(cluster, project, *more, cells=cells)
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 1, said
    assert "2 failed, 2 passed, " in said
    (folder,) = (project / "usual").iterdir()
    assert {run["model"] for run in records(folder)} == {"tiny", "small", "fragile", "moody"}
    cases = ElementTree.parse(project / "junit.xml").findall(".//testcase")
    failed = {str(one.get("name")): one.find("failure") is not None for one in cases}
    assert failed == {
        f"test_accuracy[digits-{name}]": name in {"fragile", "moody"}
        for name in ("tiny", "small", "fragile", "moody")
    }
    good = {"digits-tiny-0", "digits-small-0"}
    assert {path.stem for path in folder.glob("models/*.safetensors")} == good
    assert {path.parent.name for path in folder.glob("tensorboard/**/events.out.*")} >= good

    again = start(cluster, project, *cache, "--lf", "--maxfail", "1", cells=cells)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 1, said
    assert "stopping after 1 failures" in said
    assert "1 failed, " in said
    assert "passed" not in said
    (latest,) = set((project / "usual").iterdir()) - {folder}
    assert {run["model"] for run in records(latest)} <= {"fragile", "moody"}


def test_a_node_without_the_package_that_joins_later_gets_no_runs(
    cluster: Loopback, project: Path
) -> None:
    cells = ("-k", exactly("patient"), "--seeds", "4", "--results-dir", "joined")
    session = start(cluster, project, cells=cells)
    plan = "joined/*/session.json"  # it is written when the nodes have been checked
    wait_until(lambda: any(project.glob(plan)), session)
    cluster.add_stranger()
    assert session.stdout
    told = []
    while not told or "it gets no more runs" not in told[-1]:
        told.append(session.stdout.readline())
        assert told[-1], told
    (project / "go").touch()
    said, _ = session.communicate(timeout=120)
    cluster.kill("stranger")
    assert session.returncode == 0, said
    assert len(records(project / "joined")) == 4
    assert "(No module named stn_core); this session has stn_core " in told[-1]
    assert "it gets no more runs" not in said


def test_a_cluster_that_disappears_ends_the_session(cluster: Loopback, project: Path) -> None:
    session = start(cluster, project, "--results-dir", "gone")
    wait_for_records(session, project / "gone", 2)
    cluster.kill("head")
    said, _ = session.communicate(timeout=60)
    assert session.returncode == pytest.ExitCode.INTERRUPTED, said
    assert f"Interrupted: --ray {cluster.address}: the cluster is gone" in said
    assert "results, budget brief" in said
    assert len(records(project / "gone")) >= 2
