"""Runs as tasks of a Ray cluster.

Ray schedules the runs and reports which process or machine died. `cluster` tries such a run again
and counts the attempts: Ray's own count leaves out tasks that were killed for their memory. Ray's
logs stay in Ray's files. A machine that turns out to lack what the session needs gets no more runs.
"""

from __future__ import annotations

import logging
import math
import queue
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from stn_core.engines.away import Returned, Surroundings
from stn_core.engines.base import EngineError, Task
from stn_core.engines.cluster import Ended
from stn_core.engines.ray_board import make_board
from stn_core.engines.ray_joining import (
    ClusterRequest,
    first_line,
    host_and_port,
    join_cluster,
    listens,
)
from stn_core.engines.ray_sent import make_compute, make_probe
from stn_core.errors import UsageError, needs_extra
from stn_core.session.beats import Beat
from stn_core.training.callbacks.base import reason_of

START_SECONDS, PROBE_SECONDS, CHECK_SECONDS, IDLE_SECONDS = 30, 10, 5, 60
"""Seconds that joining and the nodes' first answers take together at most, that nodes have for
their answers even if joining took longer, between two checks that the cluster is there, and to wait
for a node on which a run fits."""

_LOGGER = logging.getLogger(__name__)

_NODE_LABEL = "ray.io/node-id"

_DEATHS = {
    "OutOfMemoryError": "its node ran out of memory",
    "WorkerCrashedError": "its process died: killed, or out of memory?",
    "NodeDiedError": "its node died",
    "LocalRayletDiedError": "its node died",
}


class RayExecutor:
    """Computes runs on a cluster that it joins when it is made and leaves when it is closed.

    Args:
        request: which cluster, and what the session needs from it.
        surroundings: what every run needs.
        tell: called with a line for each node that gets no more runs.

    Raises:
        UsageError: the cluster cannot be joined, or it or a node lacks what the session needs.
    """

    def __init__(
        self,
        request: ClusterRequest,
        surroundings: Surroundings,
        tell: Callable[[str], None] = _LOGGER.warning,
    ) -> None:
        self._request = request
        self._tell = tell
        self._refused: set[str] = set()
        self._began = time.monotonic()
        self._ray = join_cluster(request)
        try:
            inside = self._ray.get_runtime_context().gcs_address
            # From outside a cluster, only the address that was given can be reached.
            outside = request.address.startswith("ray://")
            self._head = host_and_port(request.address if outside else inside)
            self.device = self._choose_device()
            if request.working_dir:
                surroundings = replace(surroundings, folder="")
            self._surroundings = surroundings
            per_card = self._probe()
            # Ray counts four decimals.
            self._share = request.gpu_share or math.floor(1e4 / per_card) / 1e4
            self.workers = self._fitting_runs()
            if not self.workers:
                raise UsageError(f"--ray {request.address}: {self._lacking()}")
        except BaseException:  # Ctrl-C, too, must not leave a cluster behind
            self._ray.shutdown()
            raise
        self._ended: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()
        self._running: dict[int, tuple[Any, Task]] = {}
        self._pickled_by_value: set[str] = set()
        self._remote = self._ray.remote(**self._resources(), max_retries=0)(make_compute())
        here = self._ray.get_runtime_context().get_node_id()
        self._board = (
            self._ray.remote(num_cpus=0, max_restarts=-1)(make_board())
            .options(scheduling_strategy=self._on_node(here, soft=True))
            .remote()
        )
        self._beats: Future[dict[int, Beat]] = Future()
        self._beats.set_result({})
        self._told: dict[int, Beat] = {}
        self._looked = self._fitted = time.monotonic()
        self._is_gone = False

    def _resources(self) -> dict[str, Any]:
        """What a run needs on its node."""
        asked: dict[str, Any] = {"num_cpus": self._request.threads, "scheduling_strategy": "SPREAD"}
        if self.device == "cuda":
            asked["num_gpus"] = self._share
        return asked | self._process()

    def _process(self) -> dict[str, Any]:
        """What the process of a run is like; that of the check is the same, so a run can use it."""
        if self.device != "cuda":
            return {}
        # It sees all cards and each run is given its own: a process computes many runs, but which
        # cards it sees is fixed once it has used one. Older releases of Ray hide all cards from
        # what asks for none, as the check does.
        variables = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}
        return {"runtime_env": {"env_vars": variables}}

    def _choose_device(self) -> str:
        kind = self._request.device.partition(":")[0]
        if kind not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--ray: device {kind}: use auto, cpu or cuda")
        has_cards = any(node["Resources"].get("GPU") for node in self._nodes())
        if kind == "cuda" and not has_cards:
            raise UsageError(f"--ray {self._request.address}: {self._lacking()}")
        return ("cuda" if has_cards else "cpu") if kind == "auto" else kind

    def _nodes(self) -> list[dict[str, Any]]:
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        return [node for node in alive if node["NodeID"] not in self._refused]

    def _fitting_runs(self) -> int:
        """How many runs the nodes compute at once."""
        runs = 0
        for node in self._nodes():
            on_node = int(node["Resources"].get("CPU", 0) // self._request.threads)
            if self.device == "cuda":
                cards = node["Resources"].get("GPU", 0)
                on_node = min(on_node, int(cards * int(1 / self._share + 1e-6)))
            runs += on_node
        return runs

    def _count_workers(self) -> int:
        """Note how many runs the present nodes compute at once; 0 if a run fits on none."""
        fitting = self._fitting_runs()
        self.workers = max(fitting, 1)
        return fitting

    def _lacking(self) -> str:
        asked = f"{self._request.threads} CPU{'s' if self._request.threads > 1 else ''}"
        if self._request.device.startswith("cuda"):
            asked += " and a GPU"
        has = "; ".join(
            f"{node['NodeManagerAddress']} has {node['Resources'].get('CPU', 0):g} CPUs"
            f" and {node['Resources'].get('GPU', 0):g} GPUs"
            for node in self._nodes()
        )
        return f"a run needs {asked}, and no node offers that ({has or 'there is no node'})"

    def _on_node(self, node_id: str, *, soft: bool = False) -> Any:
        with needs_extra("ray"):
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node_id, soft=soft)

    def _probe(self) -> int:
        """Check that every node that can compute a run has the code and the data.

        Nodes that are slow to answer are checked by their runs.

        Returns:
            How many runs fit on a card at once, on the node where that is lowest.
        """
        request, surroundings = self._request, self._surroundings
        asked = (
            surroundings.imports,
            surroundings.folder,
            str(surroundings.code),
            request.datasets,
            request.data_root,
            request.image_size,
        )
        probe = self._ray.remote(num_cpus=0, max_retries=0, **self._process())(make_probe())
        kinds = {"CPU": request.threads} | ({"GPU": 1e-4} if self.device == "cuda" else {})
        capable = [
            node
            for node in self._nodes()
            if all(node["Resources"].get(kind, 0) >= least for kind, least in kinds.items())
        ]
        answers = {
            probe.options(scheduling_strategy=self._on_node(node["NodeID"])).remote(
                *asked, node["NodeManagerAddress"]
            ): node["NodeID"]
            for node in capable
        }
        if not answers:
            return 1
        left = max(START_SECONDS - (time.monotonic() - self._began), PROBE_SECONDS)
        ready, _ = self._ray.wait(list(answers), num_returns=len(answers), timeout=left)
        said = []
        for answer in ready:
            try:
                said.append(self._ray.get(answer))
            except Exception as error:  # whatever Ray raises if a node cannot even be asked
                if answers[answer] in [node["NodeID"] for node in self._nodes()]:
                    raise UsageError(f"--ray {request.address}: {first_line(error)}") from None
        if refusals := [refusal for refusal, _ in said if refusal]:
            raise UsageError(f"--ray {request.address}: {'; '.join(refusals)}")
        return min((per_card for _, per_card in said if per_card), default=1)

    def start(self, number: int, task: Task) -> None:
        """Start a run.

        Raises:
            EngineError: the connection is lost, or a callback cannot be sent.
        """
        sent = self._packed(number, task)
        try:
            reference = self._submit(sent)
        except Exception as error:  # Ray raises several classes
            raise EngineError(f"--ray {self._request.address}: {first_line(error)}") from None
        self._running[number] = reference, task
        reference.future().add_done_callback(lambda done: self._ended.put((number, done)))

    def _packed(self, number: int, task: Task) -> bytes:
        """A run as bytes: a node that lacks the package could not even receive it as arguments."""
        for callback in task.callbacks:
            self._pickle_by_value(type(callback).__module__)
        try:
            packed: bytes = self._ray.cloudpickle.dumps((number, task, self._surroundings))
        except Exception as error:  # whatever the fields of a callback raise
            raise EngineError(
                f"--ray {self._request.address}: a callback of pytest_stn_callbacks cannot be sent"
                f" to another machine: {first_line(error)}"
            ) from None
        return packed

    def _submit(self, sent: bytes) -> Any:
        options = {}
        if self._refused:
            options = {"label_selector": {_NODE_LABEL: f"!in({','.join(sorted(self._refused))})"}}
        surroundings = self._surroundings
        asked = surroundings.imports, surroundings.folder, str(surroundings.code)
        return self._remote.options(**options).remote(asked, sent, self._board)

    def _pickle_by_value(self, module: str) -> None:
        """Send a module's definitions along with the runs: no node imports a conftest.py."""
        if module.partition(".")[0] != "stn_core" and module not in self._pickled_by_value:
            self._pickled_by_value.add(module)
            self._ray.cloudpickle.register_pickle_by_value(sys.modules[module])

    def ended(self, seconds: float) -> Ended | None:
        """The next run that has ended, None if none ends within that many seconds.

        Raises:
            EngineError: the cluster is gone, or each of its nodes was refused.
        """
        self._collect_beats()
        try:
            number, done = self._ended.get(timeout=seconds)
        except queue.Empty:
            self._check_cluster()
            return None
        _, task = self._running.pop(number, (None, None))
        if task is None:
            return None
        error = done.exception()
        if error:
            return self._explain(number, error)
        answer = done.result()
        if isinstance(answer, Returned):
            return Ended(number, answer)
        self._refuse(*answer)
        self.start(number, task)
        return None

    def _refuse(self, node_id: str, why: str) -> None:
        """Give a node no more runs: one that joined later, or that was slow to answer at first."""
        if node_id in self._refused:
            return
        self._refused.add(node_id)
        if not self._count_workers():
            raise EngineError(f"--ray {self._request.address}: {why}")
        self._tell(f"--ray {self._request.address}: {why}; it gets no more runs")

    def _explain(self, number: int, error: BaseException) -> Ended:
        """Why a run gave no result, and whether to try it again."""
        kind, cause = type(error).__name__, getattr(error, "cause", error)
        if kind in _DEATHS:
            return Ended(number, death=_DEATHS[kind])
        if isinstance(error, self._ray.exceptions.RayTaskError):
            return Ended(number, death=reason_of(cause), again=False)
        if isinstance(error, self._ray.exceptions.ObjectLostError):
            return Ended(number, death="its node died")
        raise EngineError(f"--ray {self._request.address}: {first_line(error)}")

    def _check_cluster(self) -> None:
        """Check now and then that the cluster is there, and that a run fits on one of its nodes."""
        now = time.monotonic()
        if now - self._looked < CHECK_SECONDS:
            return
        self._looked = now
        if not listens(*self._head):
            self._is_gone = True
            raise EngineError(
                f"--ray {self._request.address}: the cluster is gone; nothing answers"
            )
        if self._count_workers():
            self._fitted = now
        elif now - self._fitted > IDLE_SECONDS:
            raise EngineError(f"--ray {self._request.address}: {self._lacking()}")

    def _collect_beats(self) -> None:
        if self._beats.done():
            if not self._beats.exception():
                self._told = self._beats.result()
            self._beats = self._board.all.remote().future()

    def beats(self) -> Sequence[Beat]:
        """How far the runs are."""
        return [beat for number, beat in self._told.items() if number in self._running]

    def cancel(self, numbers: Sequence[int]) -> None:
        """Stop runs that were started."""
        for number in numbers:
            reference, _ = self._running.pop(number, (None, None))
            if reference is not None and not self._is_gone:
                self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster, which ends if it was started for this session."""
        self._ray.shutdown()
