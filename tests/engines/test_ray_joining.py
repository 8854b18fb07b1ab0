"""The messages for a cluster that cannot be joined; no cluster is needed for it."""

from __future__ import annotations

import builtins
import contextlib
import os
import platform
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from stn_core.engines import ray_joining
from stn_core.engines.away import Code, inspect_node
from stn_core.engines.ray_joining import ClusterRequest, join_cluster
from stn_core.engines.ray_node import assigned_device
from stn_core.engines.ray_sent import make_compute, make_probe
from stn_core.errors import UsageError
from tests.platforms import needs_posix_signals


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_a_line_at_once(silent_port: int, scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{silent_port}"
    started = time.monotonic()
    with pytest.raises(UsageError) as told:
        join_cluster(ClusterRequest(address, "cpu"))
    assert str(told.value).startswith(f"--ray {address}: nothing listens there; start a cluster ")
    assert time.monotonic() - started < 2 * ray_joining.CONNECT_SECONDS


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", None])
def test_what_listens_and_is_not_ray_is_a_line_at_once(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_joining, "CONNECT_SECONDS", 0.2)
    with listening(answer) as port, pytest.raises(UsageError, match="what listens there is not"):
        join_cluster(ClusterRequest(f"127.0.0.1:{port}", "cpu"))


def test_an_answer_in_http2_may_be_ray() -> None:
    settings = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100])
    with listening(settings) as port:
        assert ray_joining.speaks_http2("127.0.0.1", port)


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A port with a server that gives one answer, or None at all, to whatever it is told."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)
            if answer is None:
                self.request.recv(1)  # until the client gives up
            else:
                self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@needs_posix_signals
def test_a_cluster_that_is_not_joined_in_time_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def never(**_: object) -> None:
        while True:
            with contextlib.suppress(Exception):  # as Ray's attempts do
                time.sleep(60)

    monkeypatch.setattr(ray, "init", never)
    monkeypatch.setattr(ray_joining, "JOIN_SECONDS", 0.05)
    for name in ray_joining._PATIENCE:
        monkeypatch.setenv(name, "1")
    handler, settings = signal.getsignal(signal.SIGALRM), bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    with listening(settings) as port, pytest.raises(UsageError) as told:
        join_cluster(ClusterRequest(f"127.0.0.1:{port}", "cpu"))
    assert "something listens there, but Ray did not join it within 0.05 s: " in str(told.value)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("address", ["host", "host:", ":1", "host:port", "ray://x", "a:123456"])
def test_an_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="expected auto, local, HOST:PORT or ray://HOST:PORT"):
        join_cluster(ClusterRequest(address, "cpu"))


def test_an_old_ray_is_refused() -> None:
    for version in ("2.52.0", "2.60.1", "3.0"):
        ray_joining._check_version(version)
    with pytest.raises(UsageError, match=r"^Ray 2.51.9 is too old: --ray needs 2.52 or newer$"):
        ray_joining._check_version("2.51.9")


def test_a_cluster_with_another_ray_or_python_is_a_line_with_both_versions() -> None:
    ray = pytest.importorskip("ray")
    there = {"ray_version": "2.40.0", "python_version": "3.9.1"}
    with pytest.raises(RuntimeError) as raised:  # as when a cluster is joined
        ray._private.utils.check_version_info(there, "this address")
    assert ray_joining._why_not_joined("auto", raised.value) == (
        "--ray auto: the cluster has Ray 2.40.0 and Python 3.9.1, this machine"
        f" Ray {ray.__version__} and Python {platform.python_version()}: install the same on both"
    )


def test_without_ray_the_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"ray is not installed: pip install 'stn-core\[ray\]'"):
        join_cluster(ClusterRequest("local", "cpu"))


@pytest.mark.parametrize(
    ("kind", "cards", "visible", "device"),
    [
        ("cpu", [], None, "cpu"),
        ("cuda", [0], None, "cuda:0"),
        ("cuda", ["2"], None, "cuda:2"),
        ("cuda", ["5"], "4,5", "cuda:1"),
        ("cuda", ["GPU-b"], "GPU-a,GPU-b", "cuda:1"),
    ],
)
def test_a_run_computes_on_the_card_that_it_was_given(
    kind: str, cards: list[int | str], visible: str | None, device: str
) -> None:
    assert assigned_device(kind, cards, visible) == device


def test_a_node_says_what_it_lacks() -> None:
    code = str(Code.here())
    assert inspect_node((), "", code, ("digits",), None, None, "a")[0] == ""
    asked = ((), "", code, ("mnist",), "/nowhere", None)
    assert inspect_node(*asked, "a")[0].startswith("node a: no train-images")
    assert (
        "this session has other: install" in inspect_node((), "", "other", (), None, None, "a")[0]
    )


def test_a_node_without_the_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *arguments: object) -> object:
        if name.startswith("stn_core"):
            raise ModuleNotFoundError("No module named 'stn_core'")
        return real(name, *arguments)  # type: ignore[arg-type]

    look = make_probe()
    monkeypatch.setattr(builtins, "__import__", lacking)
    refusal, _ = look((), "", "stn_core 1", (), None, None, "a")
    assert refusal.startswith("node a has stn_core ")
    assert refusal.endswith("(No module named 'stn_core'); this session has stn_core 1")


def test_a_run_on_a_node_with_other_code_gives_the_node_and_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = SimpleNamespace(get_node_id=lambda: "f00")
    util = SimpleNamespace(get_node_ip_address=lambda: "a")
    ray = SimpleNamespace(util=util, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)
    node_id, why = make_compute()(((), "", "other"), b"not to be read", None)
    assert node_id == "f00"
    assert why.startswith("node a has stn_core ")
    assert why.endswith("; this session has other: install the same on every node")


def test_native_output_is_silenced_while_a_cluster_is_joined(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ray_joining._silent_descriptor():
        os.write(2, b"noise\n")
    os.write(2, b"said\n")
    assert capfd.readouterr().err == "said\n"
