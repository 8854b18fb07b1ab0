"""Warps whose map is a matrix."""

from __future__ import annotations

from torch import Tensor

from stn_core.geometry.precision import full_precision
from stn_core.geometry.warps.base import Warp


class WarpWithMatrix(Warp):
    """A warp whose map is a matrix that theta decides."""

    def matrix(self, theta: Tensor) -> Tensor:
        """The matrix of the map.

        Args:
            theta: (B, P).

        Returns:
            (B, 2, 3), as ``torch.nn.functional.affine_grid`` takes it, or (B, 3, 3) of a projective
            warp; float32 or wider.

        Raises:
            UsageError: theta belongs to another family.
        """
        theta = self._prepare_theta(theta)
        with full_precision(theta):
            return self._matrix(theta)

    def _matrix(self, theta: Tensor) -> Tensor:
        """``matrix`` of a checked theta; abstract, every family defines it."""
        raise NotImplementedError(f"the warp {self.name!r} does not define _matrix")
