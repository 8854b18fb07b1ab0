"""Joining a Ray cluster, and a one-line message if that fails."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.errors import UsageError, needs_extra

OLDEST_RAY = (2, 52)
"""The first release with tokens, which a cluster must use."""

LOCAL_STORE_BYTES = 100 * 2**20
"""For a cluster that is started here: a run sends back little, and Ray spills what does not fit."""

_HTTP2_FRAME_HEAD, _HTTP2_SETTINGS = 9, 4
_HTTP2_PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + bytes([_HTTP2_SETTINGS]) + bytes(5)
)
"""What a client says first: a fixed text and an empty frame of settings (RFC 9113, 3.4)."""

CONNECT_SECONDS = 5
"""How long to wait for an address to accept a connection."""

JOIN_SECONDS = 20
"""How long joining a cluster may take, unless it is started here or sent a folder first."""

_PATIENCE = {
    "RAY_NUM_REDIS_GET_RETRIES": "5",
    "RAY_py_gcs_connect_timeout_s": "10",
    "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "3",
    "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "3",
}
"""How long Ray tries to join. From inside a cluster: its attempts, a second apart, and the seconds
that each waits for an answer, which cannot be interrupted. From outside: the seconds of the first
attempt, and of later ones. By default, a wrong token takes 20 or 30 s."""


@dataclass(frozen=True)
class ClusterRequest:
    """What a session asks of a cluster.

    Args:
        address: "auto", "local", "host:port" or "ray://host:port".
        device: as the user wrote it; "auto" is a card if the cluster has one.
        threads: of each run, which takes as many CPUs.
        gpu_share: the share of a card for each run; None leaves it to the card's memory.
        working_dir: a folder that Ray copies to every node, None to copy nothing.
        data_root, datasets, image_size: what must be on every node.
    """

    address: str
    device: str
    threads: int = 1
    gpu_share: float | None = None
    working_dir: Path | None = None
    data_root: str | None = None
    datasets: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None


def join_cluster(request: ClusterRequest) -> Any:
    """Connect to a cluster, or start one here.

    Returns:
        The module `ray`, connected.
    """
    _check_address(request.address)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # or it writes between pytest's lines
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if request.address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # it listens on all addresses
        options |= {"include_dashboard": False, "object_store_memory": LOCAL_STORE_BYTES}
    else:
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
    if request.working_dir:
        options["runtime_env"] = {"working_dir": str(request.working_dir)}
    with needs_extra("ray"):
        import ray
    _check_version(ray.__version__)
    logging.getLogger("ray").setLevel(logging.ERROR)
    on_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        takes_long = request.address == "local" or request.working_dir
        limit = math.inf if takes_long else JOIN_SECONDS
        with _silent_descriptor(), warnings.catch_warnings(), _interrupted_after(limit):
            warnings.simplefilter("ignore")  # about a failed connection, which our line reports
            ray.init(address=request.address, **options)
    except _TooLateError:
        raise UsageError(
            f"--ray {request.address}: something listens there, but Ray did not join it within"
            f" {JOIN_SECONDS} s: check the port, or try again when the machine is less busy"
        ) from None
    except Exception as error:  # Ray raises half a dozen classes
        raise UsageError(_why_not_joined(request.address, error)) from None
    finally:
        if on_main_thread:
            signal.signal(signal.SIGTERM, before)  # which Ray replaces
    return ray


@contextlib.contextmanager
def _silent_descriptor() -> Iterator[None]:
    """Silence the process's standard error, to which Ray's core writes past Python."""
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


class _TooLateError(BaseException):
    """Joining took too long; no Exception, or Ray would catch it and try again."""


@contextlib.contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """Interrupt what the main thread waits for; in other threads and on Windows, nothing can.

    Raises:
        _TooLateError: it took longer.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if math.isinf(seconds) or not on_main_thread or not hasattr(signal, "setitimer"):
        yield
        return

    def interrupt(*_: object) -> None:
        raise _TooLateError

    handler = signal.signal(signal.SIGALRM, interrupt)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _check_version(version: str) -> None:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_RAY:
        oldest = ".".join(map(str, OLDEST_RAY))
        raise UsageError(f"Ray {version} is too old: --ray needs {oldest} or newer")


def _check_address(address: str) -> None:
    """Check that Ray may be there; Ray itself takes minutes to notice that it is not."""
    if address in ("auto", "local"):
        return
    host, port = host_and_port(address)
    if not port:
        raise UsageError(f"--ray {address}: expected auto, local, HOST:PORT or ray://HOST:PORT")
    if not listens(host, port):
        raise UsageError(
            f"--ray {address}: nothing listens there; start a cluster with"
            " 'ray start --head', or let --ray local start one here"
        )
    if "RAY_USE_TLS" not in os.environ and not speaks_http2(host, port):
        raise UsageError(f"--ray {address}: what listens there is not Ray")


def _why_not_joined(address: str, error: Exception) -> str:
    line = first_line(error)
    if "Version mismatch" in line:
        versions = re.findall(r"(Ray|Python): (\S+)", str(error))
        there, here = (" and ".join(map(" ".join, some)) for some in (versions[:2], versions[2:]))
        line = f"the cluster has {there}, this machine {here}: install the same on both"
    elif address == "auto" and isinstance(error, ConnectionError):
        line = "no cluster runs here; start one with 'ray start --head', or use --ray local"
    elif isinstance(error, ConnectionError):
        line = "something listens there, but Ray could not join it: is it the right port of Ray"
        line += " (10001 needs ray://), with the same token"
        line += f" (RAY_AUTH_MODE is {os.environ.get('RAY_AUTH_MODE', 'not set')})?"
    return f"--ray {address}: {line}"


def first_line(error: BaseException) -> str:
    """The first line of one of Ray's errors; if a task raised it, of what was raised there."""
    error = getattr(error, "cause", None) or error
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of an address; port 0 if it is malformed."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host, int(port) if host and port.isdecimal() and len(port) <= 5 else 0


def listens(host: str, port: int) -> bool:
    """Whether anything accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return True
    except (OSError, OverflowError):
        return False


def speaks_http2(host: str, port: int) -> bool:
    """Whether what listens there answers the beginning of HTTP/2, which all parts of Ray speak."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as connection:
            connection.sendall(_HTTP2_PREFACE)
            answer = connection.makefile("rb").read(_HTTP2_FRAME_HEAD)
    except OSError:
        return False
    return len(answer) == _HTTP2_FRAME_HEAD and answer[3] == _HTTP2_SETTINGS
