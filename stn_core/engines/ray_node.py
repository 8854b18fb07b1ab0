"""Computing a run on the node of a Ray cluster that it was given to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stn_core.engines.away import Returned, run_away
from stn_core.engines.ray_board import TellBoard
from stn_core.errors import needs_extra


def compute_pickled(run: bytes, board: Any, node: str) -> Returned:
    """Compute a run, on its node.

    Args:
        run: its number, its task and the session's surroundings.
        board: where it reports how far it is.
        node: this machine's name in messages.

    Raises:
        RefusedError: this machine lacks what the session has.
    """
    with needs_extra("ray"):
        import ray
    number, task, surroundings = ray.cloudpickle.loads(run)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    device = assigned_device(task.settings.device, ray.get_gpu_ids(), visible)
    task = replace(task, settings=replace(task.settings, device=device))
    return run_away(task, surroundings, node, [TellBoard(board, number)])


def assigned_device(kind: str, cards: Sequence[int | str], visible: str | None) -> str:
    """The device of a run, as torch numbers it in the run's process.

    Args:
        kind: "cpu" or "cuda".
        cards: the ones that Ray gave to the run, by their names on the node.
        visible: CUDA_VISIBLE_DEVICES, None if all cards are visible.
    """
    if kind != "cuda":
        return kind
    names = visible.split(",") if visible else []
    card = str(cards[0])
    return f"cuda:{names.index(card) if card in names else card}"
