"""What is sent to the nodes of a Ray cluster, which may lack this package or have another version.

Each function is made inside another one, so that Ray sends its code along.
"""

from __future__ import annotations

from typing import Any


def _make_lacking() -> Any:
    """A function that says what a node has instead of the package, "" if it has the package."""

    def lacking(code: str, node: str) -> str:
        import importlib.metadata

        try:
            import stn_core.engines.ray_node  # noqa: F401
        except ImportError as error:
            try:
                there = f"stn_core {importlib.metadata.version('stn-core')}"
            except importlib.metadata.PackageNotFoundError:
                there = "no stn_core"
            return f"node {node} has {there} ({error}); this session has {code}"
        return ""

    return lacking


def make_compute() -> Any:
    """A function that computes a run on its node, which may be new to the session."""
    lacking = _make_lacking()

    def compute(asked: tuple[tuple[str, ...], str, str], run: bytes, board: Any) -> Any:
        """Returns what the run sends back, or else the node's id and why it is refused."""
        import ray

        node, node_id = ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id()
        if why := lacking(asked[-1], node):
            return node_id, why
        from stn_core.engines.away import RefusedError, prepare
        from stn_core.engines.ray_node import compute_pickled

        try:
            prepare(*asked, node)
            return compute_pickled(run, board, node)
        except RefusedError as error:
            return node_id, str(error)

    return compute


def make_probe() -> Any:
    """A function that checks a node before anything trains."""
    lacking = _make_lacking()

    def look(
        imports: tuple[str, ...],
        folder: str,
        code: str,
        datasets: tuple[str, ...],
        data_root: str | None,
        image_size: tuple[int, int] | None,
        node: str,
    ) -> tuple[str, int]:
        if why := lacking(code, node):
            return why, 0
        from stn_core.engines.away import inspect_node

        return inspect_node(imports, folder, code, datasets, data_root, image_size, node)

    return look
