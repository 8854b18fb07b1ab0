"""CPAB: the flow of a continuous piecewise-affine velocity field (Freifeld et al., PAMI 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_core.errors import UsageError
from stn_core.geometry.option_values import true_or_false, whole_number
from stn_core.geometry.warps.base import Warp
from stn_core.geometry.warps.cpab_flow import drift, velocity_at

# How steep a field may be, per step: the growth rate of distances, per flow. At a third the series
# of a step has an argument below 1, and edges that spiral around a vertex do not use up the steps.
_STEEPEST_PER_STEP = 1 / 3


class CPAB(Warp):
    """Points that drift for one unit of time in a continuous piecewise-affine velocity field.

    The image is cut into cells_x by cells_y cells, each cut into four triangles by its diagonals.
    The field is affine on each triangle and continuous, hence fixed by its velocities at the cells'
    corners and centres, and these are the parameters.

    Each step follows the affine flow of the triangle that a point is in, by a series of order 5,
    up to the edge where it leaves. So the kinks of the field, which hold a scheme of fixed steps to
    second order, cost nothing as long as the steps suffice for the edges that are met.

    Convention:
        theta: velocities (x, y) in half-widths and half-heights per flow, vertex by vertex: first
            the corners row by row (with a zero or a sliding boundary only the inner ones), then the
            centres row by row; with a sliding boundary then the velocities along the edge of the
            corners that lie on it: those of the top and the bottom from left to right (x), then of
            the left and the right from top to bottom (y). With 3x3 cells and a zero boundary these
            are 26 numbers, with a sliding one 34, with a free one 50.
        direction: output to input.
        outside: with a zero boundary points at or beyond the image's edge stay where they are; with
            a sliding or a free one they move like the nearest point of the edge, which a sliding
            boundary lets move along the edge only; so the image's four corners stay.
        range: a field whose steepest triangle stretches by more than steps / 3 (the largest sum of
            |dv/dx| + |dv/dy| of a component, in cells per flow) is scaled down, as a whole and
            sample by sample, until it does not; ``velocity`` is the field that flows. So any theta
            gives a map that keeps orientation and, unless the boundary is free, the image, up to
            the integration error. No default field of 3,600 (standard deviation 0.3) is scaled.
        inverse: at -theta, up to the integration error.
        error: with 3x3 cells and 20 steps, against 400 steps, in widths of the image: at normal
            velocities of standard deviation 0.3 (points move by 0.21 half-widths rms) 2.3e-5 at the
            worst, and there and back 6.4e-5 (n = 216,000 points in 3,600 fields; 16 steps: 4.1e-5
            and 3.6e-4); at 0.2, 3.2e-6 and 2.5e-6 (1,600 fields); at 0.3 with 6x6 cells 1.4e-5 and
            2.1e-4, with 8x2 cells 3.7e-6 and 6.5e-6 (200 fields each). Of fields scaled down to the
            bound 99.9 % of the points are within 4.8e-5 (400 fields of standard deviation 3); the
            worst seen is 2.5e-3, there and back 3e-2. All float64 with 60 points a field, 2026-11.
            50 steps of Euler's method are off by 1.2e-2 at 0.3 and 5.3e-3 at 0.2 (400 fields each).
        creases: the map is continuous with kinks along edges. A straight triangle that lies across
            one can turn over, however small, though nothing folds.
        derivatives: the first are those of the flow, finite at theta = 0 too, to about 1e-3 of the
            field's change of slope at an edge. The second leave out what passing an edge adds. On
            a CPU more than 131,072 points at once, those of the whole batch, flow part by part:
            then forward mode needs ``torch.func.jvp``, and torch refuses a backward pass inside
            ``torch.autograd.graph.saved_tensors_hooks``.
        compiling: the steps are unrolled; the default backend of torch.compile does not finish with
            20 of them in 100 s on one core (torch 2.15, n = 1).

    Args:
        cells_x: cells along the width, at least 1.
        cells_y: cells along the height, at least 1.
        zero_boundary: whether velocities vanish on the boundary of the image; without it the
            boundary is free.
        sliding_boundary: in place of the zero boundary let points slide along the image's edge,
            which they still do not cross.
        steps: steps of the integration, at least 1; 2 + 6 max(cells_x, cells_y) when omitted. They
            also set how steep a field may be.

    Raises:
        UsageError: a number below 1, a boundary that is to slide and to be free, or that is neither
            True nor False.
    """

    name = "cpab"
    preserves_orientation = True

    def __init__(
        self,
        cells_x: int = 3,
        cells_y: int = 3,
        zero_boundary: bool = True,
        steps: int | None = None,
        sliding_boundary: bool = False,
    ) -> None:
        super().__init__()
        cells_x = whole_number("cpab: cells_x", cells_x, least=1)
        cells_y = whole_number("cpab: cells_y", cells_y, least=1)
        if steps is None:
            steps = 2 + 6 * max(cells_x, cells_y)
        self.cells_x = cells_x
        self.cells_y = cells_y
        zero_boundary = true_or_false("cpab: zero_boundary", zero_boundary)
        sliding_boundary = true_or_false("cpab: sliding_boundary", sliding_boundary)
        if sliding_boundary and not zero_boundary:
            raise UsageError(
                "cpab: a boundary slides (sliding_boundary=True) or is free (zero_boundary=False),"
                " not both"
            )
        self.zero_boundary = zero_boundary and not sliding_boundary
        self.sliding_boundary = sliding_boundary
        self.steps = whole_number("cpab: steps", steps, least=1)
        border = -1 if zero_boundary else 1
        self._cells_xy = (cells_x, cells_y)
        self._corners_hw = (cells_y + border, cells_x + border)
        self.num_params = 2 * (self._corners_hw[0] * self._corners_hw[1] + cells_x * cells_y)
        if sliding_boundary:
            self.num_params += 2 * (cells_x - 1 + cells_y - 1)

    def velocity(self, theta: Tensor, xy: Tensor) -> Tensor:
        """The velocity field, scaled down if theta asks for a steeper one than the bound.

        Args:
            theta: (B, P).
            xy: (B, N, 2) or (N, 2).

        Returns:
            (B, N, 2), half-widths and half-heights per flow.
        """
        theta, xy = self._prepare(theta, xy)
        table, x, y = self._in_cell_units(theta, xy)
        return self._to_half_widths(*velocity_at(table, x, y, self._cells_xy))

    def _inverse(self, theta: Tensor) -> Tensor:
        return -theta

    def _points(self, theta: Tensor, xy: Tensor) -> Tensor:
        moved_x, moved_y, _ = self._drift(theta, xy)
        # Adding a displacement, rather than converting positions back, keeps the identity exact.
        return xy + self._to_half_widths(moved_x, moved_y)

    def _jacobian_determinant(self, theta: Tensor, xy: Tensor) -> Tensor:
        # Liouville: the logarithm of the determinant is the divergence met on the way.
        _, _, divergence = self._drift(theta, xy)
        return torch.exp(divergence)

    def _drift(self, theta: Tensor, xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return drift(*self._in_cell_units(theta, xy), self._cells_xy, self.steps)

    def _in_cell_units(self, theta: Tensor, xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The table of affine fields, and positions x and y, (B, N) or (N,), in cells."""
        leading = torch.broadcast_shapes(theta.shape[:-1], xy.shape[:-2])
        x = (xy[..., 0] + 1) * (self.cells_x / 2)
        y = (xy[..., 1] + 1) * (self.cells_y / 2)
        return self._affine_fields(theta.expand(*leading, self.num_params)), x, y

    def _to_half_widths(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack((x * (2 / self.cells_x), y * (2 / self.cells_y)), dim=-1)

    def _affine_fields(self, theta: Tensor) -> Tensor:
        """The affine field of every triangle.

        Outside the image lies a ring of cells in which the field depends on the coordinate along
        the edge only, so that a point outside needs no case of its own.

        Args:
            theta: (B, P).

        Returns:
            (6, B, 4 (cells_y + 2) (cells_x + 2)): the velocity at (x, y) is
            (a x + b y + e, c x + d y + f), all in cells; the six in the order a b c d e f.
            Triangles: left, top, bottom, right of each cell, cells row by row.
        """
        corners, centres = self._vertex_velocities(theta)
        top_left, top_right = corners[..., :-1, :-1], corners[..., :-1, 1:]
        bottom_left, bottom_right = corners[..., 1:, :-1], corners[..., 1:, 1:]
        by_x = (
            2 * centres - top_left - bottom_left,
            top_right - top_left,
            bottom_right - bottom_left,
            top_right + bottom_right - 2 * centres,
        )
        by_y = (
            bottom_left - top_left,
            2 * centres - top_left - top_right,
            bottom_left + bottom_right - 2 * centres,
            bottom_right - top_right,
        )
        slope_x, slope_y = torch.stack(by_x, dim=-1), torch.stack(by_y, dim=-1)
        rows = torch.arange(-1, self.cells_y + 1, device=theta.device)[:, None, None] + 0.5
        columns = torch.arange(-1, self.cells_x + 1, device=theta.device)[:, None] + 0.5
        constant = centres[..., None] - slope_x * columns - slope_y * rows
        # Each of the three is (2, B, rows, columns, 4), its first axis the component of velocity.
        linear = torch.stack((slope_x, slope_y), dim=1).flatten(0, 1)
        fields = torch.cat((linear, constant)).flatten(-3)
        return fields * self._share_kept(fields[:4])

    def _share_kept(self, slopes: Tensor) -> Tensor:
        """What fields with slopes (4, B, triangles) are scaled by, (B, 1), to be within bounds."""
        a, b, c, d = slopes.abs().unbind(0)
        steepest = torch.maximum(a + b, c + d).amax(-1, keepdim=True)
        bound = _STEEPEST_PER_STEP * self.steps
        # A share of 0 would pass an infinite velocity off as a field at rest.
        steepest = torch.where(steepest.isfinite(), steepest, torch.nan)
        return bound / steepest.clamp_min(bound)

    def _vertex_velocities(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Velocities at corners (2, B, cells_y + 3, cells_x + 3) and centres (one less each way).

        In cells per flow, the ring of outer cells included.
        """
        num_corners = self._corners_hw[0] * self._corners_hw[1]
        num_vertices = num_corners + self.cells_x * self.cells_y
        x, y = theta[..., : 2 * num_vertices].unflatten(-1, (num_vertices, 2)).unbind(-1)
        velocities = torch.stack((x * (self.cells_x / 2), y * (self.cells_y / 2)))
        leading = velocities.shape[:-1]
        corners = velocities[..., :num_corners].reshape(*leading, *self._corners_hw)
        centres = velocities[..., num_corners:].reshape(*leading, self.cells_y, self.cells_x)
        centres = F.pad(centres, (1, 1, 1, 1))
        if self.zero_boundary:
            return F.pad(corners, (2, 2, 2, 2)), centres
        if self.sliding_boundary:
            corners = F.pad(corners, (1, 1, 1, 1)) + self._along_the_edge(theta, 2 * num_vertices)
        corners = torch.cat((corners[..., :1, :], corners, corners[..., -1:, :]), dim=-2)
        corners = torch.cat((corners[..., :1], corners, corners[..., -1:]), dim=-1)
        rows = corners[..., :-1, :] + corners[..., 1:, :]
        means = (rows[..., :-1] + rows[..., 1:]) / 4
        inside = torch.ones(self.cells_y, self.cells_x, dtype=torch.bool, device=theta.device)
        return corners, torch.where(F.pad(inside, (1, 1, 1, 1)), centres, means)

    def _along_the_edge(self, theta: Tensor, start: int) -> Tensor:
        """Velocities (2, B, cells_y + 1, cells_x + 1) at the corners on the edge, 0 elsewhere.

        In cells per flow, of a sliding boundary, whose numbers begin at ``start`` in theta.
        """
        inner_x, inner_y = self.cells_x - 1, self.cells_y - 1
        edge = theta[..., start:]
        top, bottom, left, right = edge.split((inner_x, inner_x, inner_y, inner_y), dim=-1)
        # The first and the last row hold x, the first and the last column y; the corners stay.
        rows = torch.stack((top, bottom), dim=-2) * (self.cells_x / 2)
        columns = torch.stack((left, right), dim=-1) * (self.cells_y / 2)
        between_rows = rows.new_zeros(*rows.shape[:-2], inner_y, inner_x)
        between_columns = columns.new_zeros(*columns.shape[:-2], inner_y, inner_x)
        along_x = torch.cat((rows[..., :1, :], between_rows, rows[..., 1:, :]), dim=-2)
        along_y = torch.cat((columns[..., :1], between_columns, columns[..., 1:]), dim=-1)
        return torch.stack((F.pad(along_x, (1, 1)), F.pad(along_y, (0, 0, 1, 1))))
