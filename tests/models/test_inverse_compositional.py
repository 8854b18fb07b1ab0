"""The inverse compositional STN: what is composed, in which order, and from which image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.grids import base_grid
from stn_core.geometry.sampling import sample
from stn_core.geometry.warps import create_warp, list_warps, warp_for
from stn_core.models import create_model
from stn_core.models.inverse_compositional import InverseCompositionalTransformer

SHAPE = (2, 28, 35)
CLOSED = [name for name in list_warps() if create_warp(name).closed_under_composition]


class Script(nn.Module):
    """A localisation network that answers, whatever it sees, with one residual after the other."""

    def __init__(self, *residuals: list[float]) -> None:
        super().__init__()
        self.residuals = iter(residuals)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return image.new_tensor(next(self.residuals)).expand(len(image), -1)


def images_of(shape: tuple[int, ...] = SHAPE, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, *shape, generator=generator, dtype=torch.float64)


def fresh(name: str, **options: object) -> nn.Module:
    """A model whose localisation network moves what it sees, differently at every look."""
    torch.manual_seed(0)
    model = create_model(name, SHAPE, num_classes=5, background=(-0.4, 0.3), **options)
    with torch.no_grad():
        model.transformer.localisation.residual.weight.normal_(std=0.3)
    return model.double().eval()


def test_one_step_is_the_stn() -> None:
    images = images_of()
    assert torch.equal(fresh("ic_stn", steps=1)(images), fresh("stn")(images))
    assert not torch.allclose(fresh("ic_stn", steps=2)(images), fresh("stn")(images))


def test_more_steps_cost_no_parameters() -> None:
    counts = {
        sum(p.numel() for p in create_model(name, (1, 28, 28), 10, **options).parameters())
        for name, options in (("stn", {}), ("ic_stn", {}), ("ic_stn", {"steps": 9}))
    }
    assert counts == {27_360}


@pytest.mark.parametrize("name", CLOSED)
def test_each_step_warps_what_the_network_saw(name: str) -> None:
    """Against the definition, spelt out: image ∘ theta seen, then image ∘ theta ∘ step."""
    model, images = fresh("ic_stn", warp=name, steps=3), images_of()
    localise, warp = model.transformer.localisation, warp_for(name, SHAPE[1:])
    identity = warp.identity(dtype=torch.float64)
    pixels = base_grid(SHAPE[1:], dtype=torch.float64).flatten(0, 1)
    steps: list[Tensor] = []
    seen = images
    for _ in range(3):
        steps.append(identity + localise(seen) / 3)
        # Output points go through the last step first, and through the first one last.
        points = pixels.expand(3, -1, -1)
        for theta in reversed(steps):
            points = warp.points(theta, points)
        grid = points.unflatten(1, SHAPE[1:])
        seen = sample(images, grid, padding=(-0.4, 0.3))
    warped = model.transform(images)
    # Matrices are multiplied here and points mapped there: roundings of float64, magnified by
    # coordinates of up to some tens.
    torch.testing.assert_close(warped.grid, grid, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(warped.image, seen, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(warp.grid(warped.theta, SHAPE[1:]), warped.grid)
    if name not in ("rotation", "translation"):  # whose members commute
        points = pixels.expand(3, -1, -1)
        for theta in steps:
            points = warp.points(theta, points)
        assert not torch.allclose(points.unflatten(1, SHAPE[1:]), warped.grid, atol=1e-3)


def test_shifting_back_restores_what_left_the_canvas() -> None:
    """Each time the original is sampled: pixels handed on from step to step would be lost."""
    images, script = images_of(), Script([4.0, 0.0], [-4.0, 0.0])
    transformer = InverseCompositionalTransformer(create_warp("translation"), script, steps=2)
    warped = transformer.double().transform(images)
    assert not script.seen[1].any()
    # The grid is exact; sampling turns it into pixels and rounds there.
    torch.testing.assert_close(warped.image, images, rtol=0, atol=1e-12)


def test_every_look_counts_in_the_gradient() -> None:
    transformer = InverseCompositionalTransformer(
        create_warp("attention"), nn.Sequential(nn.Flatten(), nn.Linear(70, 3)), steps=3
    ).double()
    images = images_of((2, 5, 7), batch=2).requires_grad_()
    with torch.no_grad():
        transformer.localisation[1].weight.mul_(0.3)

    def theta(images: Tensor) -> Tensor:
        return transformer.transform(images).theta

    assert torch.autograd.gradcheck(theta, (images,))


@pytest.mark.parametrize("name", [name for name in list_warps() if name not in CLOSED])
def test_a_family_that_cannot_be_composed_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"'{name}'.*cannot be composed; use affine, .* or ") as e:
        create_model("ic_stn", SHAPE, num_classes=5, warp=name)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("steps", [0, 2.5, None])
def test_steps_are_counted_from_one(steps: object) -> None:
    with pytest.raises(
        UsageError, match=f"steps must be a whole number of at least 1; got {steps}"
    ):
        create_model("ic_stn", SHAPE, num_classes=5, steps=steps)


def test_its_print_shows_the_steps() -> None:
    assert "warp=affine, sampler=bilinear, out_size=None, steps=4" in repr(
        create_model("ic_stn", SHAPE, num_classes=5)
    )


@pytest.mark.parametrize("width", [1, 5])
def test_a_localisation_network_that_does_not_fit_is_reported(width: int) -> None:
    locate = nn.Sequential(nn.Flatten(), nn.LazyLinear(width))
    transformer = InverseCompositionalTransformer(create_warp("affine"), locate, steps=2)
    with pytest.raises(UsageError, match=rf"gave \(3, {width}\), but the warp 'affine' has 6"):
        transformer(torch.zeros(3, 1, 9, 11))
