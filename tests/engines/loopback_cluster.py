"""A Ray cluster of three nodes on this machine, in a process that is controlled by its input.

    python tests/engines/loopback_cluster.py FOLDER      # a short name: it holds sockets

It writes a line of JSON when it is up, and one in answer to each line that it reads: "worker" kills
the process of a run that is under way, "node" kills a node with a run, "head" what all the others
depend on; "add stranger" adds a node without the package, "stranger" kills it. When its input ends,
it ends all that it started.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NODES = 3
STORE_BYTES = 80 * 2**20
HOW: dict[str, Any] = {
    "object_store_memory": STORE_BYTES,
    "include_dashboard": False,
    "node_ip_address": "127.0.0.1",
}


def environment(folder: Path) -> dict[str, str]:
    """What the cluster and those who join it share: loopback only, and a token."""
    token = folder / "token"
    if not token.exists():
        token.touch(mode=0o600)
        token.write_text("0123456789abcdef" * 4)
    return {
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # use 127.0.0.1 of the machine's addresses
        "RAY_BACKEND_LOG_LEVEL": "error",
    }


def processes() -> Iterator[tuple[int, int, str]]:
    """Every process: its id, its parent's, and its command."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            yield int(folder.name), parent, (folder / "cmdline").read_text().replace("\0", " ")
        except (OSError, IndexError):
            continue


def running(raylets: set[int]) -> list[tuple[int, int]]:
    """The processes that are computing a run, each with its node's."""
    return [
        (process, parent)
        for process, parent, command in processes()
        if parent in raylets and command.startswith("ray::") and "compute" in command
    ]


def main(folder: Path) -> None:
    os.environ.update(environment(folder))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        nodes = [cluster.add_node(num_cpus=1, **HOW) for _ in range(NODES)]
        raylets = {n.all_processes["raylet"][0].process.pid: n for n in nodes}
        say(address=cluster.address)
        for line in sys.stdin:
            if line.strip() == "add stranger":
                stranger = add_stranger(cluster, folder)
                say(added="stranger")
                continue
            if line.strip() == "stranger":
                cluster.remove_node(stranger, allow_graceful=False)
                say(killed="stranger")
                continue
            head = nodes[0].all_processes
            if line.strip() == "head":
                os.kill(head["gcs_server"][0].process.pid, signal.SIGKILL)
                say(killed="head")
                break
            others = set(raylets) - {head["raylet"][0].process.pid}
            process, raylet = wait_for_a_run(set(raylets) if line.strip() == "worker" else others)
            if line.strip() == "worker":
                os.kill(process, signal.SIGKILL)
            else:
                cluster.remove_node(raylets.pop(raylet), allow_graceful=False)
            say(killed=line.strip())
        sys.stdin.read()
    finally:
        end(cluster)


def add_stranger(cluster: Any, folder: Path) -> Any:
    """Add a node on which the package cannot be imported."""
    shadow = folder / "shadow" / "stn_core.py"
    shadow.parent.mkdir()
    shadow.write_text("raise ModuleNotFoundError('No module named stn_core')")
    path = {"PYTHONPATH": str(shadow.parent)}
    return cluster.add_node(num_cpus=1, **HOW, env_vars=path)


def wait_for_a_run(raylets: set[int]) -> tuple[int, int]:
    while not (found := running(raylets)):
        time.sleep(0.02)
    return found[0]


def say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def end(cluster: object) -> None:
    """End the processes that were started here, in whatever state they are."""
    for node in cluster.list_all_nodes():  # type: ignore[attr-defined]
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
