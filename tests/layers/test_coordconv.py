"""CoordConv: which coordinates, in which order, and that the rest is torch's convolution."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn.utils import prune

from stn_core.errors import UsageError
from stn_core.layers import AddCoords, CoordConv1d, CoordConv2d, CoordConv3d

LAYERS = {1: (CoordConv1d, nn.Conv1d), 2: (CoordConv2d, nn.Conv2d), 3: (CoordConv3d, nn.Conv3d)}
SIZES = {1: (9,), 2: (7, 10), 3: (6, 9, 7)}

ARGUMENTS = [
    {},
    {"stride": 2, "padding": 1, "bias": False},
    {"padding": "same", "dilation": 2},
    {"padding": 2, "padding_mode": "reflect"},
    {"padding": 1, "padding_mode": "circular", "with_r": True},
]


def coordinates(*size, with_r=False, dtype=torch.float64):
    """The appended channels, of an image without channels of its own."""
    return AddCoords(with_r, rank=len(size))(torch.zeros(1, 0, *size, dtype=dtype))[0]


@settings(deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_row_then_column_from_minus_one_to_one(height, width):
    rows, columns = coordinates(height, width)
    for axis, n in ((rows[:, 0], height), (columns[0], width)):
        if n == 1:
            assert axis.tolist() == [0.0]
        else:
            assert (axis[0], axis[-1]) == (-1.0, 1.0)
        assert torch.equal(axis, -axis.flip(0))
        # Equal steps, to the rounding of numbers up to 1.
        torch.testing.assert_close(
            axis.diff(), axis.diff().mean().expand(n - 1), rtol=0, atol=1e-15
        )
    assert torch.equal(rows, rows[:, :1].expand(height, width))
    assert torch.equal(columns, columns[:1].expand(height, width))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("n", [2, 5, 7, 28, 41, 224])
def test_the_ends_are_exact_in_every_type(dtype, n):
    (axis,) = coordinates(n, dtype=dtype)
    assert axis.dtype == dtype
    assert (axis[0], axis[-1]) == (-1.0, 1.0)
    assert torch.equal(axis, -axis.flip(0))


def test_depth_comes_after_row_and_column():
    rows, columns, depths = coordinates(2, 3, 4)  # depth, height, width
    assert depths[:, 0, 0].tolist() == [-1.0, 1.0]
    assert rows[0, :, 0].tolist() == [-1.0, 0.0, 1.0]
    torch.testing.assert_close(columns[0, 0], torch.linspace(-1, 1, 4, dtype=torch.float64))


@pytest.mark.parametrize("size", [(5,), (5, 9), (1, 4), (3, 5, 7)])
def test_r_is_the_distance_from_the_centre(size):
    *axes, r = coordinates(*size, with_r=True)
    torch.testing.assert_close(r, torch.stack(axes).norm(dim=0), rtol=0, atol=1e-15)
    assert torch.equal(r, r.flip(*range(len(size))))
    assert r.flatten()[r.numel() // 2] == 0 or size == (1, 4)
    assert r.max() == pytest.approx(sum(n > 1 for n in size) ** 0.5, abs=1e-15)


def test_coordinates_follow_the_images_own_channels():
    image = torch.randn(2, 3, 4, 6)
    result = AddCoords(with_r=True)(image)
    assert result.shape == (2, 6, 4, 6)
    assert torch.equal(result[:, :3], image)
    assert torch.equal(result[0, 3:], result[1, 3:])


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_is_torchs_convolution_of_image_and_coordinates(rank, arguments):
    layer = LAYERS[rank][0](2, 4, 3, **arguments).double()
    image = torch.randn(2, 2, *SIZES[rank], dtype=torch.float64)
    expected = layer.conv(layer.add_coords(image))
    # Sums of up to 6·27 products of numbers of size 1, in another order.
    torch.testing.assert_close(layer(image), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(layer(image[0]), expected[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_without_coordinate_weights_it_is_torchs_layer(rank, arguments):
    coord_type, torch_type = LAYERS[rank]
    layer = coord_type(2, 4, 3, **arguments).double()
    plain = torch_type(2, 4, 3, **{k: v for k, v in arguments.items() if k != "with_r"}).double()
    with torch.no_grad():
        layer.conv.weight[:, :2] = plain.weight
        layer.conv.weight[:, 2:] = 0
        if plain.bias is not None:
            layer.conv.bias.copy_(plain.bias)
    image = torch.randn(2, 2, *SIZES[rank], dtype=torch.float64)
    torch.testing.assert_close(layer(image), plain(image), rtol=0, atol=1e-13)


def test_groups_divide_image_and_coordinates_together():
    layer = CoordConv2d(4, 6, 3, groups=2, padding=1).double()
    image = torch.randn(2, 4, 5, 8, dtype=torch.float64)
    first, second = AddCoords()(image).chunk(2, dim=1)
    weights, biases = layer.conv.weight.chunk(2), layer.conv.bias.chunk(2)
    expected = torch.cat(
        [
            F.conv2d(first, weights[0], biases[0], padding=1),
            F.conv2d(second, weights[1], biases[1], padding=1),
        ],
        dim=1,
    )
    torch.testing.assert_close(layer(image), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("with_r", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_parameter_overhead(rank, with_r):
    coord_type, torch_type = LAYERS[rank]
    count = [
        sum(p.numel() for p in layer.parameters())
        for layer in (coord_type(5, 7, 3, with_r=with_r), torch_type(5, 7, 3))
    ]
    assert count[0] - count[1] == (rank + with_r) * 3**rank * 7


def test_gradients_are_those_of_the_plain_convolution():
    layer = CoordConv2d(2, 3, (3, 2), stride=(1, 2), padding=(0, 1), with_r=True).double()
    image = torch.randn(3, 2, 6, 9, dtype=torch.float64, requires_grad=True)
    wanted = [image, *layer.parameters()]
    cotangent = torch.randn_like(layer(image))
    ours = torch.autograd.grad((layer(image) * cotangent).sum(), wanted)
    plain = torch.autograd.grad((layer.conv(layer.add_coords(image)) * cotangent).sum(), wanted)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_coordinates_are_no_part_of_the_state():
    layer = CoordConv2d(1, 2, 3)
    layer(torch.zeros(1, 1, 5, 6))
    assert set(layer.state_dict()) == {"conv.weight", "conv.bias"}
    assert not list(layer.buffers())


def test_coordinates_that_were_handed_out_can_be_written_to():
    image = torch.zeros(1, 1, 20, 21)
    expected = AddCoords()(image)
    AddCoords().coordinates(image).mul_(0)
    assert torch.equal(AddCoords()(image), expected)


def test_a_copy_of_a_used_layer_works():
    layer, image = CoordConv2d(1, 2, 3), torch.randn(1, 1, 5, 6)
    expected = layer(image)
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(image), expected)
    assert twin.double()(image.double()).dtype == torch.float64


def test_training_works_after_inference_mode():
    layer, image = CoordConv2d(1, 2, 3), torch.randn(1, 1, 14, 15)
    with torch.inference_mode():
        layer(image)
    layer(image).sum().backward()
    assert layer.conv.weight.grad.abs().sum() > 0


def test_a_run_with_fake_tensors_changes_no_later_one():
    layer, image = CoordConv2d(1, 2, 3), torch.zeros(1, 1, 16, 17)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        layer(mode.from_tensor(image))
    assert type(layer(image)) is torch.Tensor
    assert layer(image).isfinite().all()


def test_it_works_inside_transforms():
    layer = CoordConv2d(1, 2, 3).double()
    images = torch.randn(3, 2, 1, 18, 19, dtype=torch.float64)
    mapped = torch.func.vmap(layer)(images)
    slope = torch.func.grad(lambda image: layer(image).square().sum())(images[0])
    assert slope.shape == images[0].shape
    looped = torch.stack([layer(image) for image in images])
    torch.testing.assert_close(mapped, looped, rtol=0, atol=1e-13)


def test_pruning_the_convolution_is_seen():
    layer, image = CoordConv2d(2, 4, 3).double(), torch.randn(3, 2, 6, 9, dtype=torch.float64)
    prune.random_unstructured(layer.conv, "weight", amount=0.5)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        before = layer(image)
        optimiser.zero_grad()
        before.square().mean().backward()
        optimiser.step()
    assert (layer.conv.weight_orig.grad[layer.conv.weight_mask == 0] == 0).all()
    assert not torch.equal(layer(image), before)
    weight = layer.conv.weight_orig * layer.conv.weight_mask
    expected = F.conv2d(layer.add_coords(image), weight, layer.conv.bias)
    # The same sums in another order.
    torch.testing.assert_close(layer(image), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "register", ["forward", "forward_pre", "full_backward", "full_backward_pre"]
)
def test_hooks_on_the_convolution_are_called(register):
    layer, calls = CoordConv2d(2, 4, 3), []
    getattr(layer.conv, f"register_{register}_hook")(lambda *arguments: calls.append(arguments))
    layer(torch.randn(3, 2, 6, 9, requires_grad=True)).sum().backward()
    assert len(calls) == 1


class Doubled(torch.nn.Conv2d):
    """A convolution that does more, as those of quantisation-aware training do."""

    def forward(self, image):
        return 2 * super().forward(image)


@pytest.mark.parametrize("how", ["put in its place", "patched in"])
def test_another_forward_of_the_convolution_is_what_runs(how):
    layer, image = CoordConv2d(2, 4, 3), torch.randn(3, 2, 6, 9)
    expected = 2 * layer(image)
    if how == "patched in":
        convolve = layer.conv.forward
        layer.conv.forward = lambda image: 2 * convolve(image)
    else:
        doubled = Doubled(4, 4, 3)
        doubled.load_state_dict(layer.conv.state_dict())
        layer.conv = doubled
    # The same sums in another order.
    torch.testing.assert_close(layer(image), expected, rtol=0, atol=1e-5)


@pytest.mark.nightly
@pytest.mark.parametrize("with_r", [False, True])
def test_compiled_equals_eager(with_r):
    layer = CoordConv2d(2, 3, 3, with_r=with_r).double()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for size in ((6, 9), (8, 5)):
        image = torch.randn(2, 2, *size, dtype=torch.float64)
        results = [function(image) for function in (layer, compiled)]
        gradients = [torch.autograd.grad(r.square().sum(), layer.conv.weight) for r in results]
        torch.testing.assert_close(*results, rtol=0, atol=1e-12)
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


def test_channels_last_is_kept():
    layer = CoordConv2d(3, 4, 3).to(memory_format=torch.channels_last)
    image = torch.randn(2, 3, 8, 6).contiguous(memory_format=torch.channels_last)
    result = layer(image)
    assert result.is_contiguous(memory_format=torch.channels_last)
    # float32 sums of 5·9 products of numbers of size 1.
    torch.testing.assert_close(result, layer(image.contiguous()), rtol=0, atol=1e-5)


def test_autocast():
    layer, image = CoordConv2d(1, 2, 3), torch.randn(1, 1, 6, 7)
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(image)
    assert result.dtype == torch.bfloat16
    # bfloat16 keeps 8 bits of sums of 27 products.
    torch.testing.assert_close(result.float(), layer(image), rtol=0, atol=0.05)


def test_on_the_device(device):
    layer, image = CoordConv2d(2, 3, 3, with_r=True), torch.randn(2, 2, 6, 9)
    expected = layer(image)
    torch.testing.assert_close(
        layer.to(device)(image.to(device)).cpu(), expected, rtol=0, atol=1e-2
    )


def test_wrong_input_is_reported_in_one_line():
    with pytest.raises(UsageError, match="rank 1, 2 or 3, not 4"):
        AddCoords(rank=4)
    with pytest.raises(UsageError, match=r"rank 2 .*\(5, 6\)"):
        AddCoords()(torch.zeros(5, 6))
    for shape in ((5, 6), (1, 3, 5, 6), (2, 5, 6)):  # 3 channels are 1 and two coordinates
        with pytest.raises(UsageError, match=r"images of 1 channels with 2 axes .*; got \("):
            CoordConv2d(1, 2, 3)(torch.zeros(shape))
    with pytest.raises(UsageError, match=r"torch.uint8 cannot hold: convert"):
        AddCoords()(torch.zeros(1, 1, 5, 6, dtype=torch.uint8))
    with pytest.raises(UsageError, match=r"groups=2 .* 3 image channels \+ 2 coordinate"):
        CoordConv2d(3, 4, 3, groups=2)
