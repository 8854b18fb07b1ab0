"""CoordConv: convolutions that see the coordinates (Liu et al. 2018, arXiv 1807.03247)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError

# The image axes, counted from the last, in the order of their channels: row, column, depth. In
# torch's layout (B, C, D, H, W) the depth comes before the row.
_CHANNEL_AXES: dict[int, tuple[int, ...]] = {1: (-1,), 2: (-2, -1), 3: (-2, -1, -3)}

Size: TypeAlias = int | tuple[int, ...]


def coordinate_channels(
    size: tuple[int, ...], with_r: bool, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """The coordinates of every pixel of an image, one channel per axis.

    Args:
        size: ``(L,)``, ``(H, W)`` or ``(D, H, W)``.
        with_r: append r, the distance from the image's centre, ``sqrt(sum of squares of the
            coordinates)``: 0 at the centre, ``sqrt(rank)`` at the corners of any image.
        device: of the channels.
        dtype: their type.

    Returns:
        ``(rank or rank + 1, *size)``: the first ``rank`` of row, column and depth, then r. Along
        its axis each coordinate goes from -1 to 1, both exactly; it is 0 on an axis of size 1.
    """
    wide = torch.promote_types(dtype, torch.float32)
    # Whole numbers over a whole number: both ends and the middle come out exactly.
    axes = [torch.arange(1 - n, n, 2, device=device, dtype=wide) / max(n - 1, 1) for n in size]
    meshes = torch.meshgrid(*axes, indexing="ij")
    channels = torch.stack([meshes[axis] for axis in _CHANNEL_AXES[len(size)]])
    if with_r:
        channels = torch.cat([channels, channels.square().sum(0, keepdim=True).sqrt()])
    return channels.to(dtype)


def _coordinates_of(image: Tensor, rank: int, with_r: bool) -> Tensor:
    """``coordinate_channels`` that fit an image (B, C, *size) or (C, *size).

    Raises:
        UsageError: it has another number of axes, or its type holds no fractions.
    """
    if image.dim() not in (rank + 1, rank + 2):
        raise UsageError(
            f"coordinates of rank {rank} need an image with {rank} axes after the "
            f"channels, not one of shape {tuple(image.shape)}"
        )
    if not image.is_floating_point():
        raise UsageError(
            f"coordinates lie between -1 and 1, which {image.dtype} cannot hold: convert the"
            " image to floating point"
        )
    return coordinate_channels(tuple(image.shape[-rank:]), with_r, image.device, image.dtype)


class AddCoords(nn.Module):
    """Appends the coordinates of every pixel to the channels of an image.

    Args:
        with_r: append also the distance from the centre (see ``coordinate_channels``).
        rank: number of image axes: 1, 2 or 3.

    Raises:
        UsageError: another rank.
    """

    def __init__(self, with_r: bool = False, rank: int = 2) -> None:
        super().__init__()
        if rank not in _CHANNEL_AXES:
            raise UsageError(f"coordinates are for images of rank 1, 2 or 3, not {rank}")
        self.with_r = with_r
        self.rank = rank

    @property
    def num_channels(self) -> int:
        """How many channels are appended."""
        return self.rank + self.with_r

    def coordinates(self, image: Tensor) -> Tensor:
        """The channels that fit an image, ``(num_channels, *size)``."""
        return _coordinates_of(image, self.rank, self.with_r)

    def forward(self, image: Tensor) -> Tensor:
        """Append the coordinates after the image's own channels.

        Args:
            image: ``(B, C, *size)``, or ``(C, *size)`` without a batch.

        Returns:
            ``(B, C + num_channels, *size)``: row, column (, depth) (, r) last.
        """
        coordinates = self.coordinates(image)
        batched = coordinates.expand(*image.shape[: -self.rank - 1], *coordinates.shape)
        return torch.cat([image, batched], dim=-self.rank - 1)

    def extra_repr(self) -> str:
        """The arguments, for ``print(model)``."""
        return f"with_r={self.with_r}, rank={self.rank}"


class _SplitConvolution(nn.modules.conv._ConvNd):
    """A convolution that appends the coordinates to an image itself, without copying the image.

    A convolution is a sum over channels, and the coordinates' part of it is the same for every
    image of a batch: it is computed once. An image that has its coordinates already is convolved as
    torch does. All of this is the layer's own forward, so that hooks (pruning has one) are called.
    """

    with_r: bool

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (B, C, *size) or (C, *size), with or without the coordinates' channels."""
        rank = len(self.kernel_size)
        if image.shape[-rank - 1] == self.in_channels:
            return self._convolve(image, self.weight, self.bias)
        if self.groups > 1:
            with_coordinates = AddCoords(self.with_r, rank)(image)
            return self._convolve(with_coordinates, self.weight, self.bias)
        coordinates = _coordinates_of(image, rank, self.with_r)
        channels = self.in_channels - coordinates.shape[0]
        of_image, of_position = self.weight.tensor_split([channels], dim=1)
        response = self._convolve(image, of_image, self.bias)
        return response + self._convolve(coordinates, of_position, None)

    def _convolve(self, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with this layer's stride, padding and dilation, and other weights."""
        result: Tensor = self._conv_forward(image, weight, bias)
        return result


class _SplitConv1d(_SplitConvolution, nn.Conv1d):
    pass


class _SplitConv2d(_SplitConvolution, nn.Conv2d):
    pass


class _SplitConv3d(_SplitConvolution, nn.Conv3d):
    pass


class _CoordConv(nn.Module):
    """A convolution over an image's channels and its coordinates; the arguments are torch's.

    ``conv.weight`` is (out_channels, in_channels + coordinate channels, *kernel_size): the weights
    of the coordinates come last. It adds rank (with_r: rank + 1) × kernel size × out_channels
    parameters to torch's layer, and gives the same result as that layer on ``AddCoords``' output.

    Args:
        in_channels: channels of the image, without coordinates.
        out_channels: as in torch, like the rest.
        kernel_size: as in torch.
        stride: as in torch.
        padding: as in torch; the coordinates are padded like the image.
        dilation: as in torch.
        groups: as in torch; it divides in_channels + coordinate channels.
        bias: as in torch.
        padding_mode: as in torch.
        device: as in torch.
        dtype: as in torch.
        with_r: also see the distance from the centre (see ``coordinate_channels``).

    Raises:
        UsageError: groups does not divide the channels.
    """

    rank: ClassVar[int]
    # Each takes tuples of its own length, so what all of them take cannot be written down.
    conv_type: ClassVar[Callable[..., _SplitConvolution]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        with_r: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.add_coords = AddCoords(with_r, self.rank)
        extra = self.add_coords.num_channels
        if groups > 1 and (in_channels + extra) % groups:
            raise UsageError(
                f"groups={groups} does not divide {in_channels} image channels "
                f"+ {extra} coordinate channels"
            )
        conv = self.conv_type(
            in_channels + extra,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        conv.with_r = with_r
        self.conv: nn.Module = conv

    def forward(self, image: Tensor) -> Tensor:
        """Convolve.

        Args:
            image: (B, in_channels, *size), or without the batch.

        Returns:
            (B, out_channels, *out_size), as torch's convolution of the same arguments.
        """
        if image.shape[-self.rank - 1 : -self.rank] != (self.in_channels,):
            raise UsageError(
                f"this layer was made for images of {self.in_channels} channels with {self.rank} "
                f"axes after them; got {tuple(image.shape)}"
            )
        if not isinstance(self.conv, _SplitConvolution):  # another layer was put in its place
            image = self.add_coords(image)
        convolved: Tensor = self.conv(image)
        return convolved


class CoordConv1d(_CoordConv):
    """``torch.nn.Conv1d`` that also sees the position (and r, its distance to the centre)."""

    rank = 1
    conv_type = _SplitConv1d


class CoordConv2d(_CoordConv):
    """``torch.nn.Conv2d`` that also sees row and column (and r, the distance to the centre)."""

    rank = 2
    conv_type = _SplitConv2d


class CoordConv3d(_CoordConv):
    """``torch.nn.Conv3d`` that also sees row, column and depth (and r)."""

    rank = 3
    conv_type = _SplitConv3d
