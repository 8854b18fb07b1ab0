"""Log-polar pictures: what turning and zooming an image does to them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.grids import normalised_to_pixel
from stn_core.geometry.sampling import sample
from stn_core.layers.log_polar import PolarTransformer, largest_radius, log_polar_grid
from tests.strategies import points_xy, sizes_hw

OUT_HW = (12, 9)


class At(nn.Module):
    """Predicts one origin for every image."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.origin = torch.tensor([x, y], dtype=torch.float64)

    def forward(self, image: Tensor) -> Tensor:
        return self.origin.expand(len(image), 2)


def picture(image: Tensor, x: float = 0.0, y: float = 0.0, out_hw=OUT_HW, **options) -> Tensor:
    return PolarTransformer(At(x, y), out_hw, **options)(image)


def offsets_in_pixels(origin: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """How far from its origin each place of the grid lies: (B, angles, radii, 2)."""
    places = normalised_to_pixel(log_polar_grid(origin, size_hw, OUT_HW), size_hw)
    return places - normalised_to_pixel(origin, size_hw)[:, None, None]


def images_of(height: int, width: int, channels: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, channels, height, width, generator=generator, dtype=torch.float64)


@given(origin=points_xy(count=1), size_hw=sizes_hw(least=2))
def test_rows_are_angles_and_columns_logarithms_of_radii(origin, size_hw):
    x, y = offsets_in_pixels(origin[:, 0], size_hw).unbind(-1)
    radius, angle = torch.hypot(x, y), torch.atan2(y, x) % (2 * math.pi)
    largest = math.hypot(*size_hw) / 2
    radii = [largest ** (j / 9) for j in range(9)]
    angles = [2 * math.pi * i / 12 for i in range(12)]
    # Coordinates of up to ten pixels go to normalised ones and back: some ulp of float64.
    torch.testing.assert_close(radius, radius.new_tensor(radii).expand_as(radius))
    turns = (angle - angle.new_tensor(angles)[:, None]) / (2 * math.pi)
    torch.testing.assert_close(turns, turns.round(), rtol=0, atol=1e-12)


@given(origin=points_xy(count=1), size_hw=sizes_hw(least=2), rows=st.integers(0, 12))
def test_a_turn_about_the_origin_rolls_the_rows(origin, size_hw, rows):
    offsets = offsets_in_pixels(origin[:, 0], size_hw)
    angle = 2 * math.pi * rows / 12
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = offsets.unbind(-1)
    turned = torch.stack((cos * x - sin * y, sin * x + cos * y), dim=-1)
    torch.testing.assert_close(turned, offsets.roll(-rows, dims=1), rtol=0, atol=1e-12)


@given(origin=points_xy(count=1), size_hw=sizes_hw(least=2), columns=st.integers(1, 8))
def test_a_zoom_about_the_origin_shifts_the_columns(origin, size_hw, columns):
    offsets = offsets_in_pixels(origin[:, 0], size_hw)
    zoom = largest_radius(size_hw) ** (columns / 9)
    torch.testing.assert_close(
        zoom * offsets[:, :, :-columns], offsets[:, :, columns:], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.3, -0.2)])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_the_picture_of_a_turned_image_is_rolled(x, y, quarters):
    """Exactly, for quarters of a turn: pixels fall on pixels; of images that are not square."""
    image = images_of(9, 14)
    turned = image.rot90(-quarters, dims=(2, 3))  # clockwise
    turned_x, turned_y = [(x, y), (-y, x), (-x, -y), (y, -x)][quarters]
    # Interpolation between pixels that differ by a few units, at places off by some ulp.
    torch.testing.assert_close(
        picture(turned, turned_x, turned_y),
        picture(image, x, y).roll(3 * quarters, dims=2),
        rtol=0,
        atol=1e-12,
    )
    assert not torch.allclose(picture(turned, turned_x, turned_y), picture(image, x, y))


def test_the_picture_of_an_enlarged_image_is_shifted():
    """Exactly, for images whose brightness is linear: there bilinear interpolation is, too."""
    size_hw, origin, columns = (30, 40), torch.tensor([0.1, -0.2], dtype=torch.float64), 3
    zoom = largest_radius(size_hw) ** (columns / 9)
    pixels = torch.stack(
        torch.meshgrid(torch.arange(40.0), torch.arange(30.0), indexing="xy"), dim=-1
    ).double()
    centre = normalised_to_pixel(origin, size_hw)
    slope = torch.tensor([0.7, -0.3], dtype=torch.float64)

    def linear(places: Tensor) -> Tensor:
        return (places @ slope)[None, None]

    image, enlarged = linear(pixels), linear(centre + (pixels - centre) / zoom)
    at, inside = origin.tolist(), slice(columns, 7)  # up to 10 pixels from the origin
    shifted = picture(image, *at).roll(columns, dims=3)
    torch.testing.assert_close(
        picture(enlarged, *at)[..., inside], shifted[..., inside], rtol=0, atol=1e-12
    )


def test_outside_of_the_image_is_the_padding():
    image = torch.ones(2, 3, 9, 14, dtype=torch.float64)
    far = picture(image, 0.9, 0.9, padding=(-0.5, 0.25, 2.0))[..., 0, -1]
    assert far.tolist() == [[-0.5, 0.25, 2.0]] * 2


def test_transform_returns_where_it_looked():
    image = images_of(9, 14)
    warped = PolarTransformer(At(0.3, -0.2), OUT_HW).transform(image)
    assert warped.theta.tolist() == [[0.3, -0.2]] * 3
    assert warped.grid.shape == (3, *OUT_HW, 2)
    assert torch.equal(warped.grid, log_polar_grid(warped.theta, (9, 14), OUT_HW))
    assert torch.equal(warped.image, sample(image, warped.grid))


def test_the_gradient_of_the_origin_is_right():
    origin = torch.tensor([[0.31, -0.22]], dtype=torch.float64, requires_grad=True)
    image = images_of(9, 14)[:1]

    def look(origin: Tensor) -> Tensor:
        return sample(image, log_polar_grid(origin, (9, 14), OUT_HW))

    assert torch.autograd.gradcheck(look, (origin,))


@pytest.mark.parametrize("width", [1, 3])
def test_origins_of_another_width_are_reported(width: int) -> None:
    """One number an image would be its x and its y."""
    locate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(width))
    with pytest.raises(UsageError, match=rf"origins must be \(B, 2\), .*; got \(3, {width}\)"):
        PolarTransformer(locate, OUT_HW).double()(images_of(9, 14))


def test_places_keep_float32_under_autocast():
    origin = torch.tensor([[0.31, -0.22]])
    expected = log_polar_grid(origin, (9, 14), OUT_HW)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(log_polar_grid(origin, (9, 14), OUT_HW), expected)
    assert log_polar_grid(origin.bfloat16(), (9, 14), OUT_HW).dtype == torch.float32
    assert log_polar_grid(origin.to("meta"), (9, 14), OUT_HW).is_meta


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_hw": (2.5, 5)}, r"out_hw is \(height, width\) in pixels, not \(2.5, 5\)"),
        ({"out_hw": OUT_HW, "padding": "zero"}, "did you mean zeros"),
        ({"out_hw": OUT_HW, "padding": math.inf}, "a fill must be finite"),
    ],
)
def test_wrong_options_are_reported_at_once(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PolarTransformer(At(0.0, 0.0), **options)
