"""Thin-plate splines: the smoothest map that moves a grid of control points as told."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_core.errors import UsageError
from stn_core.precision import full_precision
from stn_core.warps.base import Warp
from stn_core.warps.matrices import determinant_2x2

# Newton's method squares the error at each step; from the nearest point of the lattice these many
# reach rounding in float64.
_NEWTON_STEPS = 8
# The inverse looks for its start, and for folds, on a lattice with so many intervals between two
# control points, over a square so many times as large as the image.
_LATTICE_INTERVALS = 6
_LATTICE_EXTENT = 1.5
# A fold may hide between lattice points around which det J varies by this factor or more. With 10
# none of 540,922 inverses was wrong (1,200 random maps on 6x6 control points, moved by up to 0.24,
# 500 points each, 2026-11); with the sign of det J alone 24 were.
_FOLD_MARGIN = 10
# How many distances between points and the lattice are held at once: 64 MiB in float32.
_DISTANCES_AT_ONCE = 2**24


class ThinPlateSpline(Warp):
    """The thin-plate spline through an n×n grid of control points that spans the image.

    The map is linear in theta: a point moves by the displacements of the control points, weighed by
    their cardinal splines (Bookstein, PAMI 1989). The splines' system is solved once, in float64.

    Convention:
        theta: displacements (dx, dy), in half-widths and half-heights, of control points at equal
            steps from -1 to 1, row by row, so that the outer ones lie on the image's outer edge.
        direction: output to input; the control points stand in the OUTPUT.
        inverse: numerical (Newton's method), to rounding; only first derivatives. A large theta
            folds the plane. The inverse is NaN for input points that are seen from no output point
            within 1.5 half-widths of the centre, from several, or from close to a fold;
            ``inverse_points_and_mask`` says which.
        precision: on a GPU with TF32 matrix products switched on, 4 digits of the displacement.

    Args:
        n: control points along each side, at least 2.
    """

    name = "tps"
    closed_under_inversion = False

    def __init__(self, n: int = 4) -> None:
        super().__init__()
        if not isinstance(n, int) or n < 2:
            raise UsageError(
                f"tps needs a whole number of at least 2 control points a side; got n={n}"
            )
        self.n = n
        self.num_params = 2 * n * n
        side = torch.linspace(-1, 1, n, dtype=torch.float64)
        self.control_points = torch.cartesian_prod(side, side).flip(-1)
        self._coefficients = _cardinal_coefficients(self.control_points)

    def inverse_points_and_mask(self, theta: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse, and where there is one.

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
        # The constants follow the module to its device but keep their type: no buffers, which
        # module.half() would round.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device = fn(torch.empty(0, device=self.control_points.device)).device
        dtype = _exact_dtype(device)
        self.control_points = self.control_points.to(device, dtype)
        self._coefficients = self._coefficients.to(device, dtype)
        return self

    def _points(self, theta: Tensor, xy: Tensor) -> Tensor:
        offsets, log_r2 = self._to_control_points(xy)
        radial = offsets.square().sum(-1) * log_r2
        basis = torch.cat((radial, torch.ones_like(radial[..., :1]), xy.to(radial)), dim=-1)
        return xy + self._weigh(basis, theta)

    def _jacobian_determinant(self, theta: Tensor, xy: Tensor) -> Tensor:
        return determinant_2x2(self._jacobian(theta, xy))

    def _jacobian(self, theta: Tensor, xy: Tensor) -> Tensor:
        """The derivative (B, N, 2, 2) of the map: last axis the direction of the step."""
        offsets, log_r2 = self._to_control_points(xy)
        radial = 2 * offsets * (log_r2 + 1)[..., None]
        zero = torch.zeros_like(radial[..., :1, 0])
        slopes = []
        for axis in (0, 1):
            linear = (zero, zero + (axis == 0), zero + (axis == 1))
            slopes.append(self._weigh(torch.cat((radial[..., axis], *linear), dim=-1), theta))
        return torch.stack(slopes, dim=-1) + torch.eye(2, device=xy.device, dtype=xy.dtype)

    def _to_control_points(self, xy: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets (N, n², 2) from the control points, and the logarithms (N, n²) of r².

        In float64: the spline's terms cancel to a hundredth of their size.
        """
        dtype = _exact_dtype(xy.device)
        offsets = xy.to(dtype)[..., None, :] - self.control_points.to(xy.device, dtype)
        r2 = offsets.square().sum(-1)
        # At a control point r² log r² and its gradient are 0; the bound keeps the product finite.
        return offsets, torch.log(r2.clamp_min(torch.finfo(dtype).tiny))

    def _weigh(self, basis: Tensor, theta: Tensor) -> Tensor:
        """The control points' displacements, weighed by splines given in the basis (N, n² + 3)."""
        weights = (basis @ self._coefficients.to(basis)).to(theta)
        return weights @ theta.reshape(*theta.shape[:-1], self.n**2, 2)

    def _inverse_points(self, theta: Tensor, xy: Tensor) -> Tensor:
        return self._invert(theta, xy)[0]

    def _invert(self, theta: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        leading = torch.broadcast_shapes(theta.shape[:-1], xy.shape[:-2])
        theta = theta.expand(*leading, self.num_params)
        xy = xy.expand(*leading, *xy.shape[-2:])
        with torch.no_grad():
            start, folded = self._nearest_lattice_points(theta, xy)
            found = start
            for _ in range(_NEWTON_STEPS):
                found = found - self._newton_step(theta, found, xy)[0]
            _, residual, determinant = self._newton_step(theta, found, xy)
            tolerance = torch.finfo(xy.dtype).eps ** 0.75
            mask = (residual < tolerance) & (determinant > 0) & ~folded
            mask = mask & (found.abs().amax(-1) <= _LATTICE_EXTENT)
            found = torch.where(mask[..., None], found, start)
        # One step that autograd sees gives the solution its derivatives (the implicit function
        # theorem), whatever path led to it.
        points = found - self._newton_step(theta, found, xy)[0]
        return torch.where(mask[..., None], points, torch.nan), mask

    def _newton_step(self, theta: Tensor, at: Tensor, xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step (B, N, 2) towards the point that maps to xy, |residual| and det J (B, N)."""
        residual = self._points(theta, at) - xy
        jacobian = self._jacobian(theta, at).detach()
        (a, b), (c, d) = (row.unbind(-1) for row in jacobian.unbind(-2))
        determinant = a * d - b * c
        # Never divided by 0: where det J is 0 the step is of no use, but neither is it NaN, which
        # would reach the gradient of theta from points that the mask has sorted out.
        determinant = torch.where(determinant == 0, torch.finfo(xy.dtype).tiny, determinant)
        x, y = residual.unbind(-1)
        step = torch.stack((d * x - b * y, a * y - c * x), dim=-1) / determinant[..., None]
        return step, residual.detach().norm(dim=-1), determinant

    def _nearest_lattice_points(self, theta: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        """For each input point the lattice point whose image is nearest, and whether a fold is.

        The lattice points at or near a fold are those where det J, over the nine points around,
        reaches 0 or varies so much that it may do so in between. All that lies within one interval
        of such a point is taken to be folded.

        Returns:
            (B, N, 2) in the output's frame, and (B, N) booleans.
        """
        intervals = math.ceil(_LATTICE_EXTENT * _LATTICE_INTERVALS * (self.n - 1))
        side = torch.linspace(
            -_LATTICE_EXTENT, _LATTICE_EXTENT, intervals + 1, device=xy.device, dtype=xy.dtype
        )
        lattice = torch.cartesian_prod(side, side)
        images, jacobian = self._points(theta, lattice), self._jacobian(theta, lattice)
        determinant = determinant_2x2(jacobian).reshape(
            images[..., 0, 0].numel(), 1, len(side), len(side)
        )
        highest = F.max_pool2d(determinant, 3, stride=1, padding=1)
        lowest = -F.max_pool2d(-determinant, 3, stride=1, padding=1)
        folds = (_FOLD_MARGIN * lowest <= highest).reshape(images.shape[:-1])
        reach = jacobian.flatten(-2).norm(dim=-1) * (2 * _LATTICE_EXTENT / intervals)

        nearest, folded = [], []
        for part in xy.split(max(1, _DISTANCES_AT_ONCE // max(1, images[..., 0].numel())), dim=-2):
            distance = torch.cdist(part, images, compute_mode="donot_use_mm_for_euclid_dist")
            covered = folds[..., None, :] & (distance < reach[..., None, :])
            folded.append(covered.any(-1))
            nearest.append(distance.masked_fill(folds[..., None, :], torch.inf).argmin(-1))
        return lattice[torch.cat(nearest, dim=-1)], torch.cat(folded, dim=-1)


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
    system = torch.zeros(count + 3, count + 3, dtype=control_points.dtype)
    system[:count, :count] = torch.special.xlogy(r2, r2)
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    inverse: Tensor = torch.linalg.inv(system)
    return inverse[:, :count].contiguous()


def _exact_dtype(device: torch.device) -> torch.dtype:
    """The widest type of a device; Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
