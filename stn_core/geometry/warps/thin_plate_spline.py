"""Thin-plate splines: the smoothest map that moves a grid of control points by given offsets."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Self

import torch
from torch import Tensor

from stn_core.geometry.option_values import whole_number
from stn_core.geometry.precision import full_precision, widest_dtype
from stn_core.geometry.warps.base import Warp
from stn_core.geometry.warps.matrices import determinant_2x2
from stn_core.geometry.warps.preimages import FARTHEST, find_preimages, newton_step

# The inverse looks for its start, and for folds, on a lattice with this many intervals between two
# control points, which extends at least this many half-widths beyond the image.
_LATTICE_INTERVALS = 6
_LATTICE_MARGIN = 0.5
# A residual of up to this many roundings of the map's size, in float64, counts as none: the map's
# terms cancel to a hundredth of their size, and there are many.
_RESIDUAL_ROUNDINGS = 2**12
# How many points a CPU moves at once: each takes some 6 float64 numbers per control point.
_POINTS_AT_ONCE = 2**16


class ThinPlateSpline(Warp):
    """The thin-plate spline through an n×n grid of control points that spans the image.

    The map is linear in theta: a point moves by the displacements of the control points, weighed by
    their cardinal splines (Bookstein, PAMI 1989). The splines' system is solved once, in float64,
    and everything is computed in float64 (on Apple's GPUs, which have none, in float32).

    Convention:
        theta: displacements (dx, dy), in half-widths and half-heights, of control points at equal
            steps from -1 to 1, row by row, so that the outer ones lie on the image's outer edge.
        direction: output to input; the control points stand in the OUTPUT.
        inverse: numerical (Newton's method), to rounding, with first and second derivatives. A
            large theta folds the plane, first where a control point comes near its neighbour. The
            inverse is NaN for input points that are seen from a place where det J <= 0, which are
            seen from elsewhere too, and for those that are seen from nowhere within 100 half-widths
            of the centre; ``inverse_points_and_mask`` says which. Folds are looked for where
            |x| and |y| are at most 1.5; farther out a solution is given, but may not be the only
            one.
        time: the inverse is a search: 28x28 points take 0.2 s for one map and 2 s for a batch of
            eight (float32, one core, 2026-11).
        error: of 277 normal displacements that do not fold (2x2 to 6x6 control points, standard
            deviation 0.1 to 0.3, 100 points each) every point has its inverse. Of 59,840 inverses
            in 240 maps that mostly fold (3x3 to 6x6, 0.15 to 0.3) 2 are one of several solutions,
            beside a fold that the search overlooked; all are solutions, to 3e-14 (2026-11).

    Args:
        n: control points along each side, at least 2.
    """

    name = "tps"
    closed_under_inversion = False

    def __init__(self, n: int = 4) -> None:
        super().__init__()
        self.n = whole_number("tps: n, the control points a side,", n, least=2)
        self.num_params = 2 * self.n**2
        self._place(torch.get_default_device())

    def inverse_points_and_mask(self, theta: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse, and where it exists.

        Args:
            theta: (B, P).
            xy: (B, N, 2) or (N, 2), in the input's frame.

        Returns:
            The points (B, N, 2), NaN where the mask is False, and the mask (B, N).
        """
        theta, xy = self._prepare(theta, xy)
        with full_precision(theta):
            return self._invert(theta, xy)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # The constants follow the module to its device but keep their type, and are made again
        # there. As buffers they would be rounded by module.half(), and left without values by
        # module.to_empty().
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch has no types for it
        self._place(fn(torch.empty(0, device=self.control_points.device)).device)
        return self

    def _place(self, device: torch.device) -> None:
        """Make the constants, on a device."""
        side = torch.linspace(-1, 1, self.n, dtype=torch.float64, device="cpu")
        points = torch.cartesian_prod(side, side).flip(-1)
        self.control_points = points.to(device, widest_dtype(device))
        self._coefficients = _cardinal_coefficients(points).to(device, widest_dtype(device))

    def _points(self, theta: Tensor, xy: Tensor) -> Tensor:
        spline = self._spline(theta)

        def moved(xy: Tensor) -> Tensor:
            offsets, log_r2 = self._to_control_points(xy)
            return xy + _displacement(offsets, log_r2, xy, spline).to(theta)

        return _in_parts(moved, xy)

    def _jacobian_determinant(self, theta: Tensor, xy: Tensor) -> Tensor:
        spline = self._spline(theta)

        def determinant(xy: Tensor) -> Tensor:
            offsets, log_r2 = self._to_control_points(xy)
            return determinant_2x2(_jacobian(offsets, log_r2, spline)).to(theta)[..., None]

        return _in_parts(determinant, xy)[..., 0]

    def _spline(self, theta: Tensor) -> Tensor:
        """The spline's coefficients (B, n² + 3, 2): a displacement for each of its terms.

        In float64, which no GPU rounds in a matrix product, as it may float32.
        """
        coefficients = self._coefficients.to(theta.device, widest_dtype(theta.device))
        spline: Tensor = coefficients @ theta.to(coefficients).unflatten(-1, (self.n**2, 2))
        return spline

    def _to_control_points(self, xy: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets (N, n², 2) from the control points, and the logarithms (N, n²) of r².

        In float64: the spline's terms cancel to a hundredth of their size.
        """
        dtype = widest_dtype(xy.device)
        offsets = xy.to(dtype)[..., None, :] - self.control_points.to(xy.device, dtype)
        r2 = offsets.square().sum(-1)
        # At a control point r² log r² and its gradient are 0; the bound keeps the product finite.
        return offsets, torch.log(r2.clamp_min(torch.finfo(dtype).tiny))

    def _points_and_jacobian(self, spline: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        offsets, log_r2 = self._to_control_points(xy)
        displacement = _displacement(offsets, log_r2, xy, spline)
        return xy + displacement, _jacobian(offsets, log_r2, spline)

    def _inverse_points(self, theta: Tensor, xy: Tensor) -> Tensor:
        return self._invert(theta, xy)[0]

    def _invert(self, theta: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        dtype = theta.dtype
        leading = torch.broadcast_shapes(theta.shape[:-1], xy.shape[:-2])
        spline = self._spline(theta.expand(*leading, self.num_params))
        xy = xy.to(spline).expand(*leading, *xy.shape[-2:])
        evaluate = partial(self._points_and_jacobian, spline)
        with torch.no_grad():
            size = 1 + spline.abs().flatten(-2).amax(-1)
            tolerance = _RESIDUAL_ROUNDINGS * torch.finfo(xy.dtype).eps * size
            points, mask = find_preimages(
                evaluate, self._lattice_side(xy), xy, _affine_preimages(spline, xy), tolerance
            )
        # From a solution without derivatives a Newton step that autograd sees gives one with the
        # first derivatives (the implicit function theorem), and another the second.
        for _ in range(2):
            images, jacobian = evaluate(points)
            # Where there is no inverse nothing is divided by a det J of 0: what autograd multiplies
            # by 0 there must be finite.
            determinant = torch.where(mask, determinant_2x2(jacobian), 1)
            points = points - newton_step(images - xy, jacobian, determinant)
        return torch.where(mask[..., None], points, torch.nan).to(dtype), mask

    def _lattice_side(self, like: Tensor) -> Tensor:
        """The coordinates, along one axis, of a lattice that contains the control points."""
        step = 2 / ((self.n - 1) * _LATTICE_INTERVALS)
        beyond = math.ceil(_LATTICE_MARGIN / step)
        end = 1 + beyond * step
        count = (self.n - 1) * _LATTICE_INTERVALS + 2 * beyond + 1
        return torch.linspace(-end, end, count, device=like.device, dtype=like.dtype)


def _in_parts(function: Callable[[Tensor], Tensor], xy: Tensor) -> Tensor:
    """A function of each point (..., N, 2), computed part by part if there are many.

    On a CPU only: a compiler plans its memory itself, and a GPU is best kept full.
    """
    at_once = torch.compiler.is_compiling() or xy.device.type != "cpu"
    part = max(1, _POINTS_AT_ONCE // max(1, math.prod(xy.shape[:-2])))
    if at_once or xy.shape[-2] <= part:
        return function(xy)
    return torch.cat([function(some) for some in xy.split(part, dim=-2)], dim=-2)


def _displacement(offsets: Tensor, log_r2: Tensor, xy: Tensor, spline: Tensor) -> Tensor:
    """By how much a spline moves points (B, N, 2)."""
    radial = offsets.square().sum(-1) * log_r2
    return torch.cat((radial, torch.ones_like(radial[..., :1]), xy.to(radial)), dim=-1) @ spline


def _jacobian(offsets: Tensor, log_r2: Tensor, spline: Tensor) -> Tensor:
    """The derivative (B, N, 2, 2) of a spline's map: the last axis is the direction of the step."""
    count = log_r2.shape[-1]
    radial = 2 * offsets * (log_r2 + 1)[..., None]
    linear = spline[..., None, count + 1 :, :].mT  # (B, 1, 2, 2): its coefficients of x and of y
    slopes = (radial[..., axis] @ spline[..., :count, :] for axis in (0, 1))
    identity = torch.eye(2, device=offsets.device, dtype=offsets.dtype)
    return torch.stack(tuple(slopes), dim=-1) + linear + identity


def _affine_preimages(spline: Tensor, xy: Tensor) -> Tensor:
    """The points (B, N, 2) that a spline's affine part takes to xy, finite whatever it is.

    Far from the control points, where the radial terms nearly cancel, they are nearly the inverse.
    """
    identity = torch.eye(2, device=spline.device, dtype=spline.dtype)
    matrix = (spline[..., -2:, :].mT + identity)[..., None, :, :]
    points = newton_step(xy - spline[..., -3:-2, :], matrix, determinant_2x2(matrix))
    return points.nan_to_num(0.0).clamp(-FARTHEST, FARTHEST)


def _cardinal_coefficients(control_points: Tensor) -> Tensor:
    """The coefficients of the splines that are 1 at one control point and 0 at the others.

    A spline is the sum of U(r) = r² log r² around each control point and of 1, x and y; the
    coefficients of the former have no moments of order 0 and 1, so its bending energy is finite.

    Args:
        control_points: (n², 2).

    Returns:
        (n² + 3, n²).
    """
    count = len(control_points)
    r2 = torch.cdist(control_points, control_points).square()
    affine = torch.cat((torch.ones_like(control_points[:, :1]), control_points), dim=1)
    system = control_points.new_zeros(count + 3, count + 3)
    system[:count, :count] = torch.special.xlogy(r2, r2)
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    inverse: Tensor = torch.linalg.inv(system)
    return inverse[:, :count].contiguous()
