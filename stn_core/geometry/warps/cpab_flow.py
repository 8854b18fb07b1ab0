"""How points drift through a field that is affine on the triangles of a lattice of cells.

A lattice has cells_x by cells_y cells, each cut into four triangles by its diagonals, and a ring of
cells around them. Its field is a table (6, B, 4 (cells_y + 2) (cells_x + 2)): the velocity at
(x, y) is (a x + b y + e, c x + d y + f), in units of one cell, and the six stand in the order
a b c d e f. Triangles: left, top, bottom, right of each cell, cells row by row, the ring included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

# A step ends this much after it has reached an edge, in units of the whole flow, so that the next
# one starts safely in the next triangle. The field is continuous, so being late costs this squared.
_LATE = 2.0**-10
# A step is at least and at most these multiples of an equal share of the time that is left. The
# floor keeps points that graze an edge from using up the steps; the ceiling keeps the series short.
_SHORTEST, _LONGEST = 1 / 16, 2.5
# Keeps distances and rates off 0, in cells and per flow.
_TINY = 1e-6
# How many points flow at once on a CPU. Of a point that takes 20 steps autograd keeps 1.9 KB in
# float32, and to touch gigabytes of fresh memory takes longer than to drift again.
_POINTS_AT_ONCE = 2**17


def drift(
    table: Tensor, x: Tensor, y: Tensor, cells_xy: tuple[int, int], steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Drift for one unit of time.

    On a CPU many points flow part by part, and again in the backward pass, which so needs the
    memory of one part only. A compiler plans its memory itself, and a GPU is best kept full.
    Derivatives of parts are those of torch.func, with its limits: torch refuses a backward pass
    inside ``saved_tensors_hooks``, and forward mode but by ``torch.func.jvp``.

    Args:
        table: (6, B, triangles), the field.
        x: (B, N) or (N,), where the points start, in units of one cell.
        y: the same.
        cells_xy: cells along the width and the height.
        steps: steps of the integration.

    Returns:
        The displacements along x and y and the integral of the divergence along the way, (B, N)
        each.
    """
    samples, points = math.prod(table.shape[1:-1]), x.shape[-1]
    at_once = torch.compiler.is_compiling() or x.device.type != "cpu"
    if at_once or samples * points <= _POINTS_AT_ONCE:
        return _drift_at_once(table, x, y, cells_xy, steps)
    part = max(1, _POINTS_AT_ONCE // samples)
    parts = [
        _DriftAgain.apply(table, *xy, cells_xy, steps)
        for xy in zip(x.split(part, dim=-1), y.split(part, dim=-1), strict=True)
    ]
    moved_x, moved_y, divergence = (torch.cat(part, dim=-1) for part in zip(*parts, strict=True))
    return moved_x, moved_y, divergence


class _DriftAgain(torch.autograd.Function):
    """``_drift_at_once``, keeping its inputs only: a derivative needs another drift."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        table: Tensor, x: Tensor, y: Tensor, cells_xy: tuple[int, int], steps: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _drift_at_once(table, x, y, cells_xy, steps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.cells_xy, ctx.steps = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        again = partial(_drift_at_once, cells_xy=ctx.cells_xy, steps=ctx.steps)
        pull_back = torch.func.vjp(again, *ctx.saved_tensors)[1]
        return *pull_back(gradients), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        again = partial(_drift_at_once, cells_xy=ctx.cells_xy, steps=ctx.steps)
        return tuple(torch.func.jvp(again, ctx.saved_tensors, tangents[:3])[1])


def _drift_at_once(
    table: Tensor, x: Tensor, y: Tensor, cells_xy: tuple[int, int], steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    samples = table.shape[1:-1]
    position = start = x.expand(*samples, -1), y.expand(*samples, -1)
    time_left = torch.ones_like(start[0])
    divergence = torch.zeros_like(start[0])
    for steps_left in range(steps, 0, -1):
        lines = _across_edges(position)
        floors = [line.floor() for line in lines]
        a, b, c, d, *shift = _affine_field_at(table, floors, cells_xy)
        velocity = _multiply_add((a, b, c, d), position, shift)
        acceleration = _multiply_add((a, b, c, d), velocity)
        if steps_left == 1:
            duration = time_left
        else:
            rate = _exit_rate(lines, floors, velocity, acceleration)
            duration = _step_duration(rate, time_left, steps_left)
        trace = (a + d) * duration
        duration_squared = duration * duration
        along_v, along_a = _flow_series(trace, (a * d - b * c) * duration_squared)
        along_v, along_a = along_v * duration, along_a * duration_squared
        position = (
            position[0] + along_v * velocity[0] + along_a * acceleration[0],
            position[1] + along_v * velocity[1] + along_a * acceleration[1],
        )
        divergence = divergence + trace
        time_left = time_left - duration
    return position[0] - start[0], position[1] - start[1], divergence


def velocity_at(
    table: Tensor, x: Tensor, y: Tensor, cells_xy: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The velocity along x and y, in cells per flow.

    Args:
        table: (6, B, triangles), the field.
        x: (B, N) or (N,), in units of one cell.
        y: the same.
        cells_xy: cells along the width and the height.

    Returns:
        (B, N) each.
    """
    samples = table.shape[1:-1]
    x, y = x.expand(*samples, -1), y.expand(*samples, -1)
    floors = [line.floor() for line in _across_edges((x, y))]
    triangle = _affine_field_at(table, floors, cells_xy)
    return _multiply_add(triangle[:4], (x, y), triangle[4:])


def _affine_field_at(
    table: Tensor, floors: Sequence[Tensor], cells_xy: tuple[int, int]
) -> tuple[Tensor, ...]:
    """The six coefficients, (B, N) each, of the affine field in each point's triangle.

    Args:
        table: (6, B, triangles), the field.
        floors: the integers below x, y, x + y and x - y, (B, N) each, which name the triangle.
        cells_xy: cells along the width and the height.
    """
    x, y, x_plus_y, x_minus_y = floors
    cells_x, cells_y = cells_xy
    # Which side of the cell's diagonals, as the numbers 0 and 1: adding booleans takes a CPU
    # three times as long. Rounding may put a point on an edge in no triangle at all.
    above_falling = (x_minus_y - (x - y) + 1).clamp(0, 1)
    below_rising = (x_plus_y - (x + y)).clamp(0, 1)
    cell = (y.clamp(-1, cells_y) + 1) * (cells_x + 2)
    cell = cell + (x.clamp(-1, cells_x) + 1)
    index = (4 * cell + above_falling + 2 * below_rising).nan_to_num(0.0).long()
    return table.gather(-1, index.expand(6, *index.shape)).unbind(0)


def _multiply_add(
    matrix: Sequence[Tensor], vector: tuple[Tensor, Tensor], shift: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor]:
    a, b, c, d = matrix
    x, y = a * vector[0] + b * vector[1], c * vector[0] + d * vector[1]
    return (x + shift[0], y + shift[1]) if shift else (x, y)


def _flow_series(trace: Tensor, determinant: Tensor) -> tuple[Tensor, Tensor]:
    """The integral of exp(sM) over s in [0, 1] as along_v I + along_a M, for a 2x2 matrix M.

    By Cayley and Hamilton M^k = p_k M - det(M) p_(k-1) I, where p_1 = 1, p_2 = trace(M) and
    p_(k+1) = trace(M) p_k - det(M) p_(k-1); the sum over M^k / (k + 1)! goes to k = 4.
    """
    p3 = trace * trace - determinant
    p4 = trace * (p3 - determinant)
    along_a = 1 / 2 + trace / 6 + p3 / 24 + p4 / 120
    along_v = 1 - determinant * (1 / 6 + trace / 24 + p3 / 120)
    return along_v, along_a


def _across_edges(xy: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """What is an integer on the edges of triangles, in units of one cell: x, y, x + y and x - y."""
    x, y = (coordinate.detach() for coordinate in xy)
    return x, y, x + y, x - y


@torch.no_grad()
def _exit_rate(
    lines: Sequence[Tensor],
    floors: Sequence[Tensor],
    velocity: tuple[Tensor, Tensor],
    acceleration: tuple[Tensor, Tensor],
) -> Tensor:
    """One over the time (B, N) until a point leaves its triangle, positive.

    Without a gradient, and none is needed: velocities agree on both sides of an edge, so the end of
    the flow does not depend, to first order, on when a step passes from one to the other.

    The time t to cover a distance D is the root of D = v t + a t²/2, so 1/t = (v + root)/(2 D) with
    root = sqrt(v² + 2 a D); if it has no solution, the time to the turning point is used.
    """
    fastest = torch.full_like(lines[0], 2 * _TINY)
    velocities = _across_edges(velocity)
    accelerations_twice = _across_edges((2 * acceleration[0], 2 * acceleration[1]))
    for line, floor, v, a_twice in zip(lines, floors, velocities, accelerations_twice, strict=True):
        below = line - floor
        above, below = (1 - below).clamp_min_(_TINY), below.clamp_min_(_TINY)
        v_squared = v * v
        # Never the root of exactly 0, which takes a CPU 40 times as long as any other.
        root_up = torch.addcmul(v_squared, a_twice, above).clamp_min_(_TINY**2).sqrt_()
        root_down = torch.addcmul(v_squared, a_twice, below, value=-1).clamp_min_(_TINY**2).sqrt_()
        sooner = torch.maximum(root_up.add_(v).div_(above), root_down.sub_(v).div_(below))
        fastest = torch.maximum(fastest, sooner)
    return fastest / 2


def _step_duration(rate: Tensor, time_left: Tensor, steps_left: int) -> Tensor:
    """How long to stay in a triangle that is left after 1/rate, (B, N)."""
    share = time_left / steps_left
    duration = torch.maximum(1 / rate + _LATE, _SHORTEST * share)
    return torch.minimum(duration, _LONGEST * share).minimum(time_left)
