"""Finding the points that a map of the plane takes to given points, even if the map folds.

Where a map folds, det J, the determinant of its Jacobian, is at most 0. A map that is nearly affine
far away reaches no point twice without reaching it from a fold, too. So a target has an inverse
if a solution with det J > 0 is found and none with det J <= 0, and both kinds are looked for.

All numbers of steps are fixed, whatever the values, and every target is treated alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from stn_core.geometry.warps.matrices import determinant_2x2

# Points (..., N, 2) to their images (..., N, 2) and the Jacobians there (..., N, 2, 2), whose last
# axis is the direction of the step.
MapAndJacobian: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]

# Steps of a search. The last six, undamped, square an error from a tenth to rounding in float64;
# the others are for paths that bend around a fold. With 24 the results are the same.
_SEARCH_STEPS = 16
# How often a lattice point looks around itself for a lower det J, at halving distances.
_WALK_STEPS = 3
# Two solutions farther apart than this share of the lattice's step are not one.
_APART = 1e-3
# No solution is looked for beyond this many half-widths.
FARTHEST = 100.0
# How many pairs of a target and a lattice point are held at once: 64 MiB in float64.
_PAIRS_AT_ONCE = 2**23


class _Places(NamedTuple):
    """Points (..., M, 2), their images (..., M, 2) and the Jacobians there (..., M, 2, 2)."""

    points: Tensor
    images: Tensor
    jacobians: Tensor

    def determinants(self) -> Tensor:
        return determinant_2x2(self.jacobians)

    def replaced_where(self, condition: Tensor, others: _Places) -> _Places:
        """These places, but the others where a condition (..., M) holds."""
        return _Places(
            torch.where(condition[..., None], others.points, self.points),
            torch.where(condition[..., None], others.images, self.images),
            torch.where(condition[..., None, None], others.jacobians, self.jacobians),
        )


def find_preimages(
    evaluate: MapAndJacobian, side: Tensor, targets: Tensor, distant: Tensor, tolerance: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve map(x) = target for every target, in a square centred on 0 or else beyond it.

    Folds are only looked for in the square. A solution beyond it counts only if the square holds
    none.

    Args:
        evaluate: the map.
        side: (S,), equal steps up to the square's sides: the coordinates of a lattice to start
            from, fine enough that det J changes little from one of its points to the next.
        targets: (..., N, 2).
        distant: (..., N, 2), finite: where to look for a solution beyond the square.
        tolerance: (...), how large |map(x) - target| may be at a solution.

    Returns:
        Points (..., N, 2), and where they are the inverse (..., N); elsewhere they are any points
        of finite coordinates.
    """
    lattice, valleys = _lattice_and_valleys(evaluate, side)
    chunk = max(1, _PAIRS_AT_ONCE // max(1, lattice.images[..., 0].numel()))
    points, masks = [], []
    for part, beyond in zip(targets.split(chunk, -2), distant.split(chunk, -2), strict=True):
        starts = [*_starts(lattice, valleys, part), beyond]
        repeated = part.repeat_interleave(len(starts), dim=-2)
        start = torch.stack(starts, dim=-2).flatten(-3, -2)
        found = _search(evaluate, start, repeated, 2 * (side[1] - side[0]))
        residual = (found.images - repeated).norm(dim=-1)
        each = (-1, len(starts))
        reached = found.points.unflatten(-2, each)
        solved = (residual <= tolerance[..., None]).unflatten(-1, each)
        inverse, mask = _unique_solution(
            reached,
            found.determinants().unflatten(-1, each),
            _solutions_that_count(solved, reached.abs().amax(-1), side[-1]),
            _APART * (side[1] - side[0]),
        )
        points.append(inverse)
        masks.append(mask)
    return torch.cat(points, dim=-2), torch.cat(masks, dim=-1)


def newton_step(residual: Tensor, jacobian: Tensor, determinant: Tensor) -> Tensor:
    """The step (..., 2) whose subtraction takes away a residual, to first order.

    Args:
        residual: (..., 2), image less target.
        jacobian: (..., 2, 2).
        determinant: (...), the Jacobian's, or a stand-in where that is 0.
    """
    (a, b), (c, d) = (row.unbind(-1) for row in jacobian.unbind(-2))
    x, y = residual.unbind(-1)
    return torch.stack((d * x - b * y, a * y - c * x), dim=-1) / determinant[..., None]


def _solutions_that_count(solved: Tensor, distance: Tensor, half_side: Tensor) -> Tensor:
    """Which of K searches count, (..., N, K): those solved in the square, or else beyond it."""
    inside = solved & (distance <= half_side)
    return torch.where(inside.any(-1, keepdim=True), inside, solved & (distance <= FARTHEST))


def _unique_solution(
    points: Tensor, determinants: Tensor, solved: Tensor, apart: Tensor
) -> tuple[Tensor, Tensor]:
    """The solution among the results of K searches, (..., N, K), and whether it is unique."""
    forward = solved & (determinants > 0)
    first = forward.to(torch.uint8).argmax(-1, keepdim=True)
    inverse = torch.take_along_dim(points, first[..., None], dim=-2)
    another = forward & ((points - inverse).abs().amax(-1) > apart)
    folded = solved & (determinants <= 0)
    return inverse.squeeze(-2), forward.any(-1) & ~another.any(-1) & ~folded.any(-1)


def _lattice_and_valleys(evaluate: MapAndJacobian, side: Tensor) -> tuple[_Places, _Places]:
    """The points of a square lattice, and those reached from them by descending det J.

    A fold that is smaller than the lattice's step lies at the bottom of a valley.
    """
    points = torch.cartesian_prod(side, side)
    images, jacobians = evaluate(points)
    lattice = valleys = _Places(points.expand_as(images), images, jacobians)
    step = side[1] - side[0]
    for _ in range(_WALK_STEPS):
        step = step / 2
        for direction in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            points = valleys.points + step * side.new_tensor(direction)
            there = _Places(points, *evaluate(points))
            lower = there.determinants() < valleys.determinants()
            valleys = valleys.replaced_where(lower, there)
    return lattice, valleys


def _starts(lattice: _Places, valleys: _Places, targets: Tensor) -> list[Tensor]:
    """Where to start the searches for each target: points (..., N, 2).

    Two searches for a solution with det J > 0, and four for one with det J <= 0, the latter two in
    the valleys: from the place whose image is nearest, which is misled where a fold crowds the
    images, and from the one that takes the shortest of Newton's steps, which is misled where det J
    is nearly 0, so that a place above a fold is no start for the former kind.
    """
    folded, has_fold = lattice.determinants() <= 0, valleys.determinants() <= 0
    starts = []
    for places, by_distance, by_step in (
        (lattice, (~folded, folded), (~has_fold, folded)),
        (valleys, (has_fold,), (has_fold,)),
    ):
        distance, step = _distances_and_steps(places, targets)
        for length, choices in ((distance, by_distance), (step, by_step)):
            for among in choices:
                index = length.masked_fill(~among[..., None, :], torch.inf).argmin(-1)
                starts.append(torch.take_along_dim(places.points, index[..., None], dim=-2))
    return starts


def _distances_and_steps(places: _Places, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Squared lengths (..., N, M), from images to targets and of the Newton steps that lead there.

    Axis by axis: with the axes stacked it takes four times as long.
    """
    x, y = (
        image[..., None, :] - target[..., :, None]
        for image, target in zip(places.images.unbind(-1), targets.unbind(-1), strict=True)
    )
    (a, b), (c, d) = (row.unbind(-1) for row in places.jacobians[..., None, :, :, :].unbind(-2))
    step_x, step_y = d * x - b * y, a * y - c * x
    step = (step_x.square() + step_y.square()) / places.determinants().square()[..., None, :]
    return x.square() + y.square(), step


def _search(evaluate: MapAndJacobian, start: Tensor, targets: Tensor, longest: Tensor) -> _Places:
    """Newton's method, damped: a step that does not come nearer is tried again at a quarter."""
    at = _Places(start, *evaluate(start))
    share = torch.ones_like(start[..., 0])
    for _ in range(_SEARCH_STEPS):
        residual, determinant = at.images - targets, at.determinants()
        tiny = torch.finfo(start.dtype).tiny
        step = newton_step(residual, at.jacobians, torch.where(determinant == 0, tiny, determinant))
        step = step * (longest / step.norm(dim=-1).clamp_min(longest))[..., None]
        points = at.points - share[..., None] * step
        there = _Places(points, *evaluate(points))
        nearer = (there.images - targets).norm(dim=-1) < residual.norm(dim=-1)
        at = at.replaced_where(nearer, there)
        share = torch.where(nearer, 2 * share, share / 4).clamp_max(1)
    return at
