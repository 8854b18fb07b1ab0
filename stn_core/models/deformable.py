"""The CNN with deformable convolutions: every tap of a filter learns where to look."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_core.geometry.grids import pixel_to_normalised
from stn_core.geometry.precision import working_dtype
from stn_core.geometry.sampling import Padding, sample
from stn_core.geometry.sampling.padding import parse_padding
from stn_core.models.backbone import (
    CHANNELS,
    HIDDEN,
    KERNELS,
    check_size,
    classifier,
    classifier_stages,
    smallest_side,
)
from stn_core.models.registry import Background, ImageShape, register_model


class DeformableConv2d(nn.Module):
    """A modulated deformable convolution (Zhu et al. 2019, arXiv 1811.11168, eq. 1).

    A second convolution predicts, at every place and for every tap of the filter, an offset in
    pixels from where the tap would look, and a factor from 0 to 1 on what it finds there. It starts
    with zeros: no offset, and a factor of one half, so the layer starts as a plain convolution of
    half the image. No padding, stride 1.

    Taps are read as this library reads any image, by ``stn_core.sample``. Torchvision's operator
    computes the same, but on a CPU it takes four to six times as long for a training step (both
    layers of ``deform_cnn``, one core, batch 64, n = 5 and 4, November 2026), knows no bfloat16,
    and reads outside of its memory where an offset is NaN.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the result.
        kernel_size: side of the filter in pixels.
        padding: what moved taps find outside the image, as in ``stn_core.sample``.

    Raises:
        UsageError: an unknown padding.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, padding: Padding = "zeros"
    ) -> None:
        super().__init__()
        parse_padding(padding)  # here, not at the first batch
        self.kernel_size = kernel_size
        self.padding = padding
        taps = kernel_size**2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size)
        self.deformation = nn.Conv2d(in_channels, 3 * taps, kernel_size)
        for parameter in self.deformation.parameters():
            nn.init.zeros_(parameter)

    def forward(self, image: Tensor) -> Tensor:
        """Convolve.

        Args:
            image: (B, in_channels, H, W).

        Returns:
            (B, out_channels, H - kernel_size + 1, W - kernel_size + 1).
        """
        offsets, mask = self.deform(image)
        return self.convolve(image, offsets, mask)

    def deform(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Where the taps look, and how much what they find counts.

        Args:
            image: (B, in_channels, H, W).

        Returns:
            At each place of the result, for each of the K taps row by row: offsets (B, h, w, 2, K),
            x and y in pixels, and factors (B, h, w, K).
        """
        taps = self.kernel_size**2
        predicted = self.deformation(image).permute(0, 2, 3, 1)
        offsets, mask = predicted.split((2 * taps, taps), dim=-1)
        return offsets.unflatten(-1, (2, taps)), mask.sigmoid()

    def convolve(self, image: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
        """Convolve with taps moved and weighted; the arguments are ``deform``'s."""
        taps, (height, width) = mask.shape[-1], image.shape[-2:]
        offsets = offsets.to(working_dtype(image))
        places = self._unmoved_places(offsets)
        x, y = pixel_to_normalised(places, (height, width)).unbind(-1)
        right, down = offsets.unbind(-2)
        grid = torch.stack((x + right * (2 / width), y + down * (2 / height)), dim=-1)
        seen = sample(image, grid.flatten(2, 3), padding=self.padding)
        found = seen.unflatten(-1, (-1, taps)) * mask[:, None]
        # What a place's taps found in all channels is a row, as are the weights of a filter.
        rows = found.permute(0, 2, 3, 1, 4).flatten(-2)
        return F.linear(rows, self.conv.weight.flatten(1), self.conv.bias).permute(0, 3, 1, 2)

    def _unmoved_places(self, offsets: Tensor) -> Tensor:
        """Where each tap looks without its offset: (h, w, K, 2), x and y in pixels."""
        height, width = offsets.shape[1:3]
        rows, columns, steps = (
            torch.arange(n, device=offsets.device, dtype=offsets.dtype)
            for n in (height, width, self.kernel_size)
        )
        y = rows[:, None, None, None] + steps[:, None]
        x = columns[:, None, None] + steps
        return torch.stack(torch.broadcast_tensors(x, y), dim=-1).flatten(2, 3)


@register_model(family="cnn", source="Zhu et al. 2019, arXiv 1811.11168", channels_last=True)
def deform_cnn(
    in_shape: ImageShape,
    num_classes: int,
    background: Background,
    channels: Sequence[int] = CHANNELS,
    kernels: Sequence[int] = KERNELS,
    hidden: int = HIDDEN,
) -> nn.Module:
    """The CNN with deformable convolutions in place of both."""
    stages = classifier_stages(channels, kernels)
    check_size(in_shape[1:], smallest_side(stages))
    network = classifier(in_shape, num_classes, stages=stages, hidden=hidden)
    features = network.get_submodule("features")
    outside: Padding = background  # of the image; beyond a feature map there is nothing
    for name, layer in list(features.named_children()):
        if isinstance(layer, nn.Conv2d):
            widths, side = (layer.in_channels, layer.out_channels), layer.kernel_size[0]
            setattr(features, name, DeformableConv2d(*widths, side, outside))
            outside = "zeros"
    return network
