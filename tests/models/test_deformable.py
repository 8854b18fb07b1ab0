"""Deformable convolution, against torchvision's operator and by its definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_core.errors import UsageError
from stn_core.models import create_model
from stn_core.models.deformable import DeformableConv2d
from tests.models.parts import layers_of

SIZE_HW = (9, 12)
OUT_HW = (7, 10)


def images_of(batch: int = 2, channels: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *SIZE_HW, generator=generator, dtype=torch.float64)


def layer_of(channels: int = 2, kernel_size: int = 3, *, moved: bool = False) -> DeformableConv2d:
    """A layer; moved: its offsets reach across the whole image."""
    torch.manual_seed(0)
    layer = DeformableConv2d(channels, 4, kernel_size)
    if moved:
        with torch.no_grad():
            layer.deformation.weight.normal_()
            layer.deformation.bias.normal_()  # type: ignore[union-attr]
    return layer.double()


def test_it_starts_as_a_plain_convolution_of_half_the_image() -> None:
    layer, images = layer_of(), images_of()
    expected = F.conv2d(images / 2, layer.conv.weight, layer.conv.bias)
    torch.testing.assert_close(layer(images), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("x", "y"), [(1, 0), (0, 2), (-3, 1)])
def test_whole_offsets_shift_what_is_seen(x: int, y: int) -> None:
    layer, images = layer_of(), images_of()
    offsets = torch.tensor([x, y], dtype=torch.float64)[:, None].expand(2, *OUT_HW, 2, 9)
    mask = torch.ones(2, *OUT_HW, 9, dtype=torch.float64)
    shifted = torch.zeros_like(images)
    height, width = SIZE_HW
    shifted[..., max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)] = images[
        ..., max(y, 0) : height - max(-y, 0), max(x, 0) : width - max(-x, 0)
    ]
    expected = F.conv2d(shifted, layer.conv.weight, layer.conv.bias)
    torch.testing.assert_close(layer.convolve(images, offsets, mask), expected, rtol=0, atol=1e-12)


def torchvisions(layer: DeformableConv2d, images: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
    """The same by torchvision, whose offsets are (y, x) and whose taps are channels."""
    from torchvision.ops import deform_conv2d

    by_row, mask = offsets.flip(-2).mT.flatten(-2).movedim(-1, 1), mask.movedim(-1, 1)
    result: Tensor = deform_conv2d(images, by_row, layer.conv.weight, layer.conv.bias, mask=mask)
    return result


def test_values_and_gradients_are_those_of_torchvision() -> None:
    layer, images = layer_of(moved=True), images_of().requires_grad_()
    offsets, mask = layer.deform(images)
    # Some taps look beyond the image, where zeros lie, and some are between it and those.
    assert offsets.abs().max() > max(SIZE_HW)
    ours, theirs = layer(images), torchvisions(layer, images, offsets, mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    sources = [images, *layer.parameters()]
    gradients = [
        torch.autograd.grad(result.square().sum(), sources, retain_graph=True)
        for result in (ours, theirs)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_gradients_are_right() -> None:
    layer, images = layer_of(1, 2, moved=True), images_of(1, 1)[..., :3, :4]

    def loss(*parameters: Tensor) -> Tensor:
        names = [name for name, _ in layer.named_parameters()]
        result: Tensor = torch.func.functional_call(
            layer, dict(zip(names, parameters, strict=True)), (images,)
        )
        return result

    arguments = tuple(p.detach().requires_grad_() for p in layer.parameters())
    assert torch.autograd.gradcheck(loss, arguments)


def test_offsets_that_are_nan_stay_in_their_place() -> None:
    layer, images = layer_of(), images_of()
    offsets, mask = layer.deform(images)
    offsets = offsets.clone()
    offsets[1, 3, 5, 0, 4] = torch.nan
    lost = layer.convolve(images, offsets, mask).isnan()
    expected = torch.zeros_like(lost)
    expected[1, :, 3, 5] = True
    assert torch.equal(lost, expected)


def test_places_keep_float32_whatever_predicts_the_offsets() -> None:
    layer, images = layer_of().float(), images_of().float()
    offsets, mask = layer.deform(images)
    # Offsets of zero are exact in bfloat16, and places between -1 and 1 are not.
    result = layer.convolve(images, offsets.bfloat16(), mask)
    torch.testing.assert_close(result, layer(images), rtol=0, atol=1e-5)


def test_it_runs_under_autocast() -> None:
    layer, images = layer_of().float(), images_of().float()
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(images)
    # Products in bfloat16, of 8 bits, and sums of 18 of them.
    torch.testing.assert_close(result.float(), layer(images), rtol=0, atol=0.03)
    with torch.autocast("cpu", torch.bfloat16):
        layer_of(4).float()(result).sum().backward()


def test_both_convolutions_of_the_cnn_are_replaced() -> None:
    model = create_model("deform_cnn", (1, 28, 28), num_classes=10)
    assert [layer.kernel_size for layer in layers_of(model, DeformableConv2d)] == [5, 5]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    # Those of the CNN, and 75 filters of 5×5 for 1 and for 10 channels.
    assert parameters == 21_840 + 75 * (25 * 1 + 1) + 75 * (25 * 10 + 1)


def test_beyond_the_image_is_the_background_and_beyond_a_feature_map_nothing() -> None:
    model = create_model("deform_cnn", (1, 28, 35), num_classes=10, background=-0.4)
    first, second = layers_of(model, DeformableConv2d)
    assert (first.padding, second.padding) == (-0.4, "zeros")
    images = torch.full((1, 1, 28, 35), -0.4)
    offsets, mask = first.deform(images)
    far = first.convolve(images, offsets + 100, mask)
    # A picture of background alone looks the same wherever the taps look.
    torch.testing.assert_close(far, first.convolve(images, offsets, mask))


def test_an_unknown_padding_is_reported_at_once() -> None:
    with pytest.raises(UsageError, match="did you mean zeros"):
        DeformableConv2d(1, 2, 3, padding="zero")
