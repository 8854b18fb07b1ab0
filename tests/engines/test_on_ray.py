"""What is asked of Ray, with a stand-in for it that has a node and a head and computes nothing."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stn_core.engines import EngineError, Task, on_ray
from stn_core.engines.away import Surroundings
from stn_core.engines.cluster import Cluster
from stn_core.engines.on_ray import RayExecutor
from stn_core.engines.ray_joining import JOIN_SECONDS, ClusterRequest
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.training.callbacks import Callback
from stn_core.training.run_cell import RunSettings

pytest.importorskip("ray", reason="Ray is not installed: pip install 'stn-core[ray]'")
CELL = Cell("cnn", "digits", "smoke", Recipe(epochs=1))
NODE, HEAD = "a" * 56, "b" * 56


class Ray:
    """As much of the module as the executor uses; four runs fit on a card of its node.

    Args:
        cards: of the node.
        head: the cores of the head, which has no card.
    """

    def __init__(self, cards: int = 0, head: float = 0.0) -> None:
        self.head = head
        self.asked: dict[str, dict[str, Any]] = {}
        self.is_connected = True
        self.cloudpickle = SimpleNamespace(
            dumps=pickle.dumps, register_pickle_by_value=lambda module: None
        )
        self._cards = cards
        self.cores = 8.0
        self.checked: list[str] = []
        self.patience = 0.0

    def nodes(self) -> list[dict[str, Any]]:
        offers = {NODE: {"CPU": self.cores, "GPU": float(self._cards)}, HEAD: {"CPU": self.head}}
        node = {"Alive": True, "NodeManagerAddress": "10.0.0.1"}
        return [{**node, "NodeID": name, "Resources": all_} for name, all_ in offers.items()]

    def get_runtime_context(self) -> SimpleNamespace:
        return SimpleNamespace(gcs_address="10.0.0.1:6379", get_node_id=lambda: NODE)

    def remote(self, **asked: Any) -> Callable[[Any], Any]:
        def defined(what: Any) -> SimpleNamespace:
            self.asked[what.__name__] = asked

            def options(**more: Any) -> SimpleNamespace:
                if what.__name__ == "look":
                    self.checked.append(more["scheduling_strategy"].node_id)
                return remote

            remote = SimpleNamespace(remote=self._start, options=options)
            return remote

        return defined

    def _start(self, *arguments: object) -> SimpleNamespace:
        if not self.is_connected:
            raise ConnectionError("the connection is lost\nwith a long story")
        beats = SimpleNamespace(remote=lambda: Reference(future=Future[Any]))
        return Reference(future=Future[Any], all=beats)

    def wait(
        self, answers: list[Any], *, num_returns: int, timeout: float
    ) -> tuple[list[Any], list[Any]]:
        assert num_returns == len(answers)
        self.patience = timeout
        return answers, []

    def shutdown(self) -> None:
        self.is_connected = False

    def get(self, answer: object) -> tuple[str, int]:
        return "", 4 if self._cards else 0


class Reference(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Ray], RayExecutor]:
    def join(ray: Ray) -> RayExecutor:
        monkeypatch.setattr(on_ray, "join_cluster", lambda request: ray)
        request = ClusterRequest("auto", "auto")
        return RayExecutor(request, Surroundings.here((), tmp_path))

    return join


@dataclass(frozen=True)
class Locked(Callback):
    lock: Any = field(default_factory=threading.Lock)


def test_a_callback_that_cannot_be_sent_is_one_line(joined: Callable[[Ray], RayExecutor]) -> None:
    executor = joined(Ray())
    with pytest.raises(EngineError, match=r"^--ray auto: a callback of .*: cannot pickle '_thread"):
        executor.start(0, Task(CELL, 0, RunSettings(), (Locked(),)))


def test_a_connection_that_is_lost_while_runs_are_sent_is_one_line(
    joined: Callable[[Ray], RayExecutor],
) -> None:
    ray = Ray()
    executor = joined(ray)
    ray.is_connected = False
    with pytest.raises(EngineError, match=r"^--ray auto: the connection is lost$"):
        executor.start(0, Task(CELL, 0, RunSettings()))


def test_as_many_runs_share_a_card_as_its_node_said_and_both_see_all_cards(
    joined: Callable[[Ray], RayExecutor],
) -> None:
    ray = Ray(cards=1)
    executor = joined(ray)
    assert (executor.device, executor.workers) == ("cuda", 4)
    run, check = ray.asked["compute"], ray.asked["look"]
    assert run["num_gpus"] == 0.25
    variables = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}
    assert run["runtime_env"] == check["runtime_env"] == {"env_vars": variables}


def test_the_number_of_workers_follows_the_nodes(
    joined: Callable[[Ray], RayExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "CHECK_SECONDS", 0)
    monkeypatch.setattr(on_ray, "listens", lambda host, port: True)
    ray = Ray()
    executor = joined(ray)
    engine = Cluster(executor)
    for cores, workers in ((8.0, 8), (32.0, 32), (3.0, 3), (0.0, 1)):
        ray.cores = cores
        assert executor.ended(seconds=0) is None
        assert engine.workers == workers


@pytest.mark.parametrize(
    ("cards", "head", "checked"), [(0, 0.0, [NODE]), (0, 2.0, [NODE, HEAD]), (1, 2.0, [NODE])]
)
def test_only_nodes_that_can_compute_a_run_are_checked(
    joined: Callable[[Ray], RayExecutor], cards: int, head: float, checked: list[str]
) -> None:
    ray = Ray(cards, head)
    joined(ray)
    assert ray.checked == checked


@pytest.mark.parametrize(("joining", "patience"), [(0, 30), (18, 12), (JOIN_SECONDS, 10), (60, 10)])
def test_joining_and_the_nodes_first_answers_take_half_a_minute_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, joining: float, patience: float
) -> None:
    """A cluster that is started for the session may take longer; its nodes have 10 s even then."""
    ray, clock = Ray(), iter([100.0, *[100.0 + joining] * 9])
    monkeypatch.setattr(on_ray, "join_cluster", lambda request: ray)
    monkeypatch.setattr(on_ray, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    RayExecutor(ClusterRequest("auto", "auto"), Surroundings.here((), tmp_path))
    assert ray.patience == patience
