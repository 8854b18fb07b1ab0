"""What every warp can do: the protocol, its checks, and the precision it computes in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.grids import base_grid
from stn_core.geometry.precision import full_precision, working_dtype
from stn_core.geometry.warps.families import families_with


class Warp(nn.Module):
    """A family of maps of the plane: parameters theta say where each output point looks.

    A warp has no learnt state. It is a module all the same, so that it moves with the network that
    it is part of: a spline's constants lie on the network's device, for copying them at every step
    would wait for the device. Theta is data, one row a sample, and a sample never sees another's.
    Every public method computes in float32 at least, whatever the types given and also under
    autocast; NaN and infinity in theta flow through to the result (``validate`` finds them).

    Convention:
        axis order: the last axis of points is (x, y), x right, y down.
        frame: normalised [-1, 1] over the image's outer edges, ``align_corners=False``.
        direction: OUTPUT coordinates to INPUT coordinates.

    A family defines ``_points`` and ``_jacobian_determinant``, and one of ``_inverse`` (its inverse
    as parameters) or ``_inverse_points``. If it is closed under composition, it defines
    ``_compose``. The class is not an ABC: a family that leaves one out works until it is called.

    Attributes:
        name: the name under which the family is registered.
        num_params: P, the number of parameters of one map.
        closed_under_inversion: whether ``inverse`` is available.
        closed_under_composition: whether ``compose`` is available.
        preserves_orientation: whether no theta of the family's stated range folds the image.
    """

    name: str
    num_params: int
    closed_under_inversion: bool = True
    closed_under_composition: bool = False
    preserves_orientation: bool = False

    def identity(
        self,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """The parameters of the identity map.

        >>> from stn_core import create_warp
        >>> create_warp("affine").identity()
        tensor([1., 0., 0., 0., 1., 0.])

        Returns:
            (P,), zeros unless the family says otherwise.
        """
        return torch.zeros(self.num_params, device=device, dtype=dtype)

    def points(self, theta: Tensor, xy: Tensor) -> Tensor:
        """Where output points look in the input.

        >>> from stn_core import create_warp
        >>> create_warp("translation").points(torch.tensor([[0.5, 0.0]]), torch.zeros(1, 2))
        tensor([[[0.5000, 0.0000]]])

        Args:
            theta: (B, P); leading axes may be any that broadcast with those of xy, or none.
            xy: (B, N, 2), or (N, 2) for the same points in every sample.

        Returns:
            (B, N, 2), float32 or wider.

        Raises:
            UsageError: the last axis of theta or of xy has the wrong size, or their batches differ.
        """
        theta, xy = self._prepare(theta, xy)
        with full_precision(theta):
            return self._points(theta, xy)

    def grid(self, theta: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """The sampling grid of an output image.

        >>> from stn_core import create_warp
        >>> warp = create_warp("attention")
        >>> half_the_size = torch.tensor([[-0.69314718, 0.0, 0.0]])  # the logarithm of a half
        >>> warp.grid(half_the_size, (1, 4))[0, 0, :, 0]
        tensor([-0.3750, -0.1250,  0.1250,  0.3750])

        Args:
            theta: (B, P).
            size_hw: height and width of the OUTPUT in pixels.

        Returns:
            (B, H, W, 2), what ``torch.nn.functional.grid_sample`` takes with
            ``align_corners=False``.

        Raises:
            UsageError: theta belongs to another family, or the size is below 1.
        """
        theta = self._prepare_theta(theta)
        xy = base_grid(size_hw, device=theta.device, dtype=theta.dtype)
        with full_precision(theta):
            return self._grid(theta, xy)

    def inverse_points(self, theta: Tensor, xy: Tensor) -> Tensor:
        """Which output points look at the given input points.

        >>> from stn_core import create_warp
        >>> warp, theta = create_warp("tps"), torch.full((1, 32), 0.1)
        >>> warp.inverse_points(theta, torch.tensor([[0.1, 0.1]])).abs().max() < 1e-6
        tensor(True)

        Args:
            theta: (B, P).
            xy: (B, N, 2) or (N, 2), in the input's frame.

        Returns:
            (B, N, 2), in the output's frame.
        """
        theta, xy = self._prepare(theta, xy)
        with full_precision(theta):
            return self._inverse_points(theta, xy)

    def inverse(self, theta: Tensor) -> Tensor:
        """The parameters of the inverse map.

        >>> from stn_core import create_warp
        >>> create_warp("affine").inverse(torch.tensor([[2.0, 0.0, 1.0, 0.0, 1.0, 0.0]]))
        tensor([[ 0.5000, -0.0000, -0.5000, -0.0000,  1.0000,  0.0000]])

        Args:
            theta: (B, P).

        Returns:
            (B, P).

        Raises:
            UsageError: the inverse is not a member of this family.
        """
        theta = self._prepare_theta(theta)
        with full_precision(theta):
            return self._inverse(theta)

    def compose(self, theta_a: Tensor, theta_b: Tensor) -> Tensor:
        """The parameters of b followed by a.

        ``points(compose(theta_a, theta_b), xy) == points(theta_a, points(theta_b, xy))``.

        >>> from stn_core import create_warp
        >>> create_warp("rotation").compose(torch.tensor([[0.5]]), torch.tensor([[1.0]]))
        tensor([[1.5000]])

        Args:
            theta_a: (B, P), the outer map.
            theta_b: (B, P), the inner map.

        Returns:
            (B, P).

        Raises:
            UsageError: the family is not closed under composition, or the batches differ.
        """
        theta_a, theta_b = self._prepare_theta(theta_a), self._prepare_theta(theta_b)
        _check_one_batch("theta_a and theta_b", theta_a, theta_b, axes_of_b=1)
        with full_precision(theta_a):
            return self._compose(theta_a, theta_b)

    def jacobian_determinant(self, theta: Tensor, xy: Tensor) -> Tensor:
        """By how much the map scales areas at each point; at most 0 where it folds.

        >>> from stn_core import create_warp
        >>> warp, theta = create_warp("affine"), torch.tensor([[2.0, 0.0, 0.0, 0.0, 3.0, 0.0]])
        >>> warp.jacobian_determinant(theta, torch.zeros(1, 2))
        tensor([[6.]])

        Args:
            theta: (B, P).
            xy: (B, N, 2) or (N, 2), in the output's frame.

        Returns:
            (B, N).
        """
        theta, xy = self._prepare(theta, xy)
        with full_precision(theta):
            return self._jacobian_determinant(theta, xy)

    def validate(self, theta: Tensor) -> None:
        """Check parameters that a person passes; not for the compiled path, it reads the values.

        ``stn_core.warp_image`` calls it; a network's forward pass does not.

        >>> from stn_core import create_warp
        >>> create_warp("tps").validate(torch.tensor(31 * [0.0] + [torch.nan]))
        Traceback (most recent call last):
        stn_core.errors.UsageError: theta of the warp 'tps' holds 1 value that is not finite, of 32

        Args:
            theta: (B, P) or (P,).

        Raises:
            UsageError: theta has the wrong last dimension or holds a value that is not finite.
        """
        self._check_theta(theta)
        bad = (~torch.isfinite(theta)).sum().item()
        if bad:
            values = "1 value that is" if bad == 1 else f"{bad} values that are"
            raise UsageError(
                f"theta of the warp {self.name!r} holds {values} not finite, of {theta.numel()}"
            )

    def extra_repr(self) -> str:
        """What ``print(model)`` shows of the warp."""
        return f"name={self.name!r}, num_params={self.num_params}"

    def _points(self, theta: Tensor, xy: Tensor) -> Tensor:
        """``points`` of checked arguments; abstract, every family defines it."""
        raise NotImplementedError(f"the warp {self.name!r} does not define _points")

    def _grid(self, theta: Tensor, xy: Tensor) -> Tensor:
        """The points (B, H, W, 2) that the pixels xy (H, W, 2) look at."""
        points = self._points(theta, xy.reshape(-1, 2))
        return points.reshape(*points.shape[:-2], *xy.shape)

    def _jacobian_determinant(self, theta: Tensor, xy: Tensor) -> Tensor:
        """``jacobian_determinant`` of checked arguments; abstract, every family defines it."""
        raise NotImplementedError(f"the warp {self.name!r} does not define _jacobian_determinant")

    def _inverse(self, theta: Tensor) -> Tensor:
        if self.closed_under_inversion:
            raise NotImplementedError(f"the warp {self.name!r} does not define _inverse")
        raise UsageError(
            f"the inverse of a {self.name!r} warp is not one of the same family; use inverse_points"
        )

    def _inverse_points(self, theta: Tensor, xy: Tensor) -> Tensor:
        if not self.closed_under_inversion:
            raise NotImplementedError(f"the warp {self.name!r} does not define _inverse_points")
        return self._points(self._inverse(theta), xy)

    def _compose(self, theta_a: Tensor, theta_b: Tensor) -> Tensor:
        raise UsageError(
            f"two {self.name!r} warps in a row are not one of the same family;"
            " apply points twice instead of compose"
        )

    def _prepare(self, theta: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        self._check_theta(theta)
        _check_tensor("points", xy)
        if xy.ndim < 2 or xy.shape[-1] != 2:
            raise UsageError(f"points must be (B, N, 2) or (N, 2); got {tuple(xy.shape)}")
        _check_one_batch("theta and points", theta, xy, axes_of_b=2)
        dtype = working_dtype(theta, xy)
        return theta.to(dtype), xy.to(dtype)

    def _prepare_theta(self, theta: Tensor) -> Tensor:
        self._check_theta(theta)
        return theta.to(working_dtype(theta))

    def _check_theta(self, theta: Tensor) -> None:
        _check_tensor(f"theta of the warp {self.name!r}", theta)
        if theta.ndim < 1 or theta.shape[-1] != self.num_params:
            raise UsageError(
                f"theta of the warp {self.name!r} must be (B, {self.num_params});"
                f" got {tuple(theta.shape)}{self._hint(theta.shape)}"
            )

    def _hint(self, shape: torch.Size) -> str:
        """What a theta of a wrong shape may be: a matrix, or its like, or another family's."""
        axes = next(
            (n for n in range(2, len(shape) + 1) if shape[-n:].numel() == self.num_params), 0
        )
        # A matrix without a batch may also be several thetas.
        others = families_with(shape[-1]) if shape and axes in (0, len(shape)) else []
        hint = f", which fits {' or '.join(others)}" if others else ""
        return hint + (f"; to flatten it: theta.reshape(-1, {self.num_params})" if axes else "")


def _check_tensor(what: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise UsageError(f"{what} must be a tensor; got a {type(value).__name__}")


def _check_one_batch(what: str, a: Tensor, b: Tensor, axes_of_b: int) -> None:
    """Refuse tensors whose batches, all axes but the last of a and the last few of b, differ."""
    leading = zip(reversed(a.shape[:-1]), reversed(b.shape[:-axes_of_b]), strict=False)
    if any(m != n and m != 1 and n != 1 for m, n in leading):
        raise UsageError(
            f"{what} must have the same batch size; got {tuple(a.shape)} and {tuple(b.shape)}"
        )
