"""What it costs to compute runs on a Ray cluster: the figures of docs/speed.md.

    python -m benchmarks.ray_cost efficiency
    python -m benchmarks.ray_cost driver

from the repository's root, on a quiet machine. ``efficiency`` trains equal runs in one process, in
two, and on a cluster of two one-core workers. In ``driver``, 16 workers sleep instead of training:
it measures how busy the process is that hands out tasks and keeps records, and how late a record
comes. Both start a cluster on loopback, with a token, and stop it again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stn_core.engines import Engine, InProcess, Task, on_ray
from stn_core.engines.away import Returned, Surroundings
from stn_core.engines.cluster import Cluster
from stn_core.engines.processes import Processes
from stn_core.engines.ray_joining import ClusterRequest
from stn_core.session.beats import Beat
from stn_core.session.budgets import get_budget
from stn_core.session.cells import Cell
from stn_core.session.store import SessionStore
from stn_core.training.run_cell import RunResult, RunSettings
from tests.engines import loopback_cluster

ARTIFACT_BYTES = 12_000
"""What a run of `digits_rts` sends back beside its record."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_cost")
    measures = parser.add_subparsers(required=True, metavar="efficiency|driver")
    efficiency = measures.add_parser("efficiency")
    efficiency.add_argument("--runs", type=int, default=12)
    efficiency.add_argument("--epochs", type=int, default=16, help="of a run (default: 16)")
    efficiency.add_argument("--workers", type=int, default=2)
    efficiency.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    efficiency.set_defaults(measure=measure_efficiency)
    driver = measures.add_parser("driver")
    driver.add_argument("--tasks", type=int, default=2000)
    driver.add_argument("--seconds", type=float, default=1.0, help="that a task sleeps")
    driver.add_argument("--workers", type=int, default=16)
    driver.set_defaults(measure=measure_driver)
    return parser.parse_args(arguments)


def cell_of(epochs: int) -> Cell:
    """The CNN on the embedded digits, for some epochs."""
    recipe = get_budget("smoke").recipe_for("digits", "cnn", "cnn").replace({"epochs": epochs})
    return Cell("cnn", "digits", "smoke", recipe, is_search=True)


@contextlib.contextmanager
def on_cluster(workers: int) -> Iterator[Engine]:
    """An engine on a cluster of one node that is started for it."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        os.environ.update(loopback_cluster.environment(Path(folder)))
        from ray.cluster_utils import Cluster as Nodes

        nodes = Nodes()
        try:
            nodes.add_node(
                num_cpus=workers,
                object_store_memory=loopback_cluster.STORE_BYTES,
                include_dashboard=False,
                node_ip_address="127.0.0.1",
            )
            request = ClusterRequest(nodes.address, "cpu")
            engine = Cluster(on_ray.RayExecutor(request, Surroundings.here((), Path.cwd())))
            try:
                yield engine
            finally:
                engine.close()
        finally:
            loopback_cluster.end(nodes)


def seconds_of(engine: Engine, tasks: Sequence[Task]) -> tuple[float, float]:
    """How long an engine takes for tasks, and how much processor time of this process."""
    started, used = time.perf_counter(), time.process_time()
    for task in tasks:
        engine.submit(task)
    for _ in tasks:
        outcome = engine.next_outcome()
        assert outcome.result, outcome.lost
        assert outcome.result.record.status == "ok", outcome.result.record.message
    return time.perf_counter() - started, time.process_time() - used


def measure_efficiency(given: argparse.Namespace) -> Iterator[str]:
    """Equal runs in one process, in several, and on as many workers of a cluster, in turn.

    Each engine first computes a run per worker, which pays for the imports. The several processes
    show what the machine loses when all of its cores are busy, the cluster what Ray adds to that.
    """
    cell = cell_of(given.epochs)
    tasks = [Task(cell, seed, RunSettings()) for seed in range(given.runs)]
    shares: dict[str, list[float]] = {"processes": [], "workers on Ray": []}
    for _ in range(given.rounds):
        took = {}
        for name, workers, engine in (
            ("process", 1, contextlib.closing(InProcess())),
            ("processes", given.workers, contextlib.closing(Processes(given.workers))),
            ("workers on Ray", given.workers, on_cluster(given.workers)),
        ):
            with engine as computes:
                seconds_of(computes, tasks[:workers])
                took[name], used = seconds_of(computes, tasks)
            line = f"{workers} {name}: {took[name]:.1f} s"
            if name in shares:
                shares[name].append(took["process"] / (workers * took[name]))
                line += f", efficiency {shares[name][-1]:.2f}"
                line += f"; the driver used {100 * used / took[name]:.1f} % of a core"
            yield line
    for name, found in shares.items():
        yield f"{given.workers} {name}: efficiency {statistics.median(found):.2f} (median)"
    ratios = [
        ray / local
        for local, ray in zip(shares["processes"], shares["workers on Ray"], strict=True)
    ]
    yield f"on Ray / in processes: {', '.join(f'{ratio:.2f}' for ratio in sorted(ratios))}"


def sleeping(
    seconds: float, result: RunResult, files: Mapping[str, bytes]
) -> Callable[[tuple[Any, ...], bytes, Any], Returned]:
    """What a worker does instead of a run; a note says when it has finished."""

    def compute(asked: tuple[Any, ...], run: bytes, board: Any) -> Returned:
        number, task, _ = pickle.loads(run)
        board.tell.remote(number, Beat(task.cell.key, task.seed, 0, 1))
        time.sleep(seconds)
        board.tell.remote(number, None)
        return Returned(RunResult(result.record, (str(time.time()),)), files)

    return compute


def measure_driver(given: argparse.Namespace) -> Iterator[str]:
    """Hand out tasks that sleep, and keep a record and a file of each, as a session does."""
    task = Task(cell_of(epochs=1), 0, RunSettings())
    one = InProcess()
    one.submit(task)
    result = one.next_outcome().result
    assert result
    files = {"artifacts/digits-cnn-0.npz": os.urandom(ARTIFACT_BYTES)}
    on_ray.make_compute = lambda: sleeping(given.seconds, result, files)
    with on_cluster(given.workers) as engine, tempfile.TemporaryDirectory() as folder:
        seconds_of(engine, [task] * given.workers)
        store, delays = SessionStore(Path(folder)), []
        started, used = time.perf_counter(), time.process_time()
        for _ in range(given.tasks):
            engine.submit(task)
        submitted = time.perf_counter() - started
        for _ in range(given.tasks):
            outcome = engine.next_outcome()
            assert outcome.result, outcome.lost
            store.keep(outcome.result.record, outcome.files)
            delays.append(time.time() - float(outcome.result.notes[0]))
            engine.beats()
        took, used = time.perf_counter() - started, time.process_time() - used
    ideal = given.tasks * given.seconds / given.workers
    yield f"{given.tasks} tasks of {given.seconds:g} s on {given.workers} workers: {took:.1f} s"
    yield f"with no overhead: {ideal:.1f} s"
    yield f"handing over: {1000 * submitted / given.tasks:.2f} ms a task"
    yield f"the driver used {100 * used / took:.1f} % of a core"
    last = statistics.quantiles(delays, n=20)[-1]
    yield (
        f"from the end of a task to its record on the disk: median {statistics.median(delays):.3f}"
        f" s, 19 of 20 within {last:.3f} s, at most {max(delays):.3f} s"
    )


if __name__ == "__main__":
    asked = parse_arguments()
    for line in asked.measure(asked):
        print(line, flush=True)
