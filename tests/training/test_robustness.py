"""Changed images are what their amount says, and a model is judged on them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from stn_core.datasets import Split
from stn_core.layers.spatial_transformer import WarpedImages
from stn_core.training.robustness import CHANGES, Pose, misplaced, posed, robustness

BACKGROUND = (7.0, 0.0)


def images(height=10, width=14):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (5, 2, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_the_first_amount_changes_nothing_and_the_others_rise(change):
    for pose in change.poses(change.amounts[0]):
        assert torch.equal(posed(images(), pose, BACKGROUND), images())
    assert list(change.amounts) == sorted(set(change.amounts))


def test_a_quarter_turn_is_torchs():
    square = images(12, 12)
    quarter = torch.pi / 2
    # Clockwise on the screen; rot90 turns from the first axis to the second, the other way.
    clockwise = square.rot90(-1, dims=(2, 3))
    assert torch.equal(posed(square, Pose(angle=quarter), BACKGROUND), clockwise)
    assert torch.equal(posed(square, Pose(angle=-quarter), BACKGROUND), square.rot90(1, (2, 3)))


def test_a_shift_by_whole_pixels_moves_them_and_uncovers_the_background():
    moved = posed(images(), Pose(x=3, y=-2), BACKGROUND)
    assert torch.equal(moved[:, :, :-2, 3:], images()[:, :, 2:, :-3])
    for channel, value in enumerate(BACKGROUND):
        assert (moved[:, channel, :, :3] == value).all()
        assert (moved[:, channel, -2:] == value).all()


def test_twice_as_large_is_the_middle_and_half_as_large_is_surrounded():
    flat = torch.full((1, 2, 8, 12), 200, dtype=torch.uint8)
    assert (posed(flat, Pose(scale=2), BACKGROUND) == 200).all()
    small = posed(flat, Pose(scale=0.5), BACKGROUND)
    assert (small[:, :, 3:5, 4:8] == 200).all()
    assert (small[:, 0, :, [0, -1]] == 7).all()
    assert (small[:, 0, [0, -1]] == 7).all()


def test_sheared_rows_move_by_their_distance_from_the_centre():
    sheared = posed(images(), Pose(shear=2), BACKGROUND)
    for row in range(10):
        moved = round(2 * (row - 4.5))
        expected = images()[:, :, row].roll(moved, dims=-1)
        kept = slice(max(moved, 0), 14 + min(moved, 0))
        assert torch.equal(sheared[:, :, row, kept], expected[:, :, kept])


class Bright(nn.Module):
    """Says which corner of an image is the brightest: left, then right."""

    def forward(self, pixels):
        return torch.stack((pixels[:, 0, 0, 0], pixels[:, 0, 0, -1]), dim=1)


def test_accuracy_falls_once_the_object_leaves_the_image():
    picture = torch.zeros(2, 1, 6, 8, dtype=torch.uint8)
    picture[0, 0, 0, 0] = picture[1, 0, 0, -1] = 255
    split = Split(picture, torch.tensor([0, 1]))
    shift = dataclasses.replace(CHANGES[2], amounts=(0, 8))
    unmoved, moved = robustness(Bright(), split, lambda image: image.float(), (0.0,), [shift])
    assert (unmoved.change, unmoved.amount, unmoved.accuracy) == ("translation", 0, 1.0)
    # Nothing is left of either picture, so the first corner is named: right for one of two.
    assert (moved.amount, moved.accuracy) == (8, 0.5)


def test_a_prediction_that_changes_with_the_image_is_not_invariant():
    picture = torch.zeros(2, 1, 6, 8, dtype=torch.uint8)
    picture[0, 0, 0, 0] = picture[1, 0, 0, -1] = 255
    split = Split(picture, torch.tensor([1, 1]))
    shift = dataclasses.replace(CHANGES[2], amounts=(0, 8))
    unmoved, moved = robustness(Bright(), split, lambda image: image.float(), (0.0,), [shift])
    assert (unmoved.accuracy, unmoved.consistency, unmoved.misplaced) == (0.5, 1.0, None)
    assert (moved.accuracy, moved.consistency) == (0.0, 0.5)


def test_an_amount_counts_with_the_mean_over_all_its_poses():
    model, split = Bright(), Split(images(), torch.tensor([0, 1, 0, 1, 1]))
    found = list(robustness(model, split, lambda image: image.float(), BACKGROUND))
    unchanged = model(split.images.float()).argmax(1)
    amounts = [(change, amount) for change in CHANGES for amount in change.amounts]
    for one, (change, amount) in zip(found, amounts, strict=True):
        shown = [posed(split.images, pose, BACKGROUND).float() for pose in change.poses(amount)]
        named = torch.stack([model(picture).argmax(1) for picture in shown])
        assert one.consistency == pytest.approx(float((named == unchanged).double().mean()))
        assert one.accuracy == pytest.approx(float((named == split.labels).double().mean()))


@pytest.mark.parametrize(
    "transform",
    [
        lambda: 0,
        lambda images: images,
        lambda images, theta: images,
        lambda images: WarpedImages(images, images, images),
        lambda images: WarpedImages(images, torch.zeros(1, 6, 8, 2), images),
        lambda images: WarpedImages(images, torch.zeros(2, 8, 2), images),
    ],
)
def test_warps_are_not_measured_for_a_model_with_another_kind_of_transform(transform, caplog):
    picture = torch.zeros(2, 1, 6, 8, dtype=torch.uint8)
    model = Bright()
    model.transform = transform
    split = Split(picture, torch.tensor([0, 1]))
    shift = dataclasses.replace(CHANGES[2], amounts=(0, 1))
    found = list(robustness(model, split, lambda image: image.float(), (0.0,), [shift]))
    assert [(one.accuracy, one.misplaced) for one in found] == [(0.5, None)] * 2
    assert model.training  # as it was
    (message,) = caplog.messages
    assert message.startswith("how well warps follow is not measured: ")


class Looks(nn.Module):
    """Looks at a frame of the image's size around a point of it: its centre, or what is bright."""

    def __init__(self, follows):
        super().__init__()
        self.follows = follows

    def transform(self, images):
        height, width = images.shape[-2:]
        y, x = torch.meshgrid(
            *((2 * torch.arange(size) + 1) / size - 1 for size in (height, width)), indexing="ij"
        )
        xy = torch.stack((x, y), dim=-1)
        weight = images.sum(1)
        total = weight.sum((1, 2))[:, None]
        place = torch.einsum("bhw,hwd->bd", weight, xy) / total if self.follows else total * 0
        grid = 0.5 * xy + place[:, None, None]
        return WarpedImages(images, grid, place)

    def forward(self, images):
        return self.transform(images).theta


@pytest.mark.parametrize("pose", [Pose(x=2), Pose(x=-1, y=3)], ids=str)
def test_a_warp_that_follows_is_where_it_should_be_and_a_fixed_one_is_off_by_the_shift(pose):
    picture = torch.zeros(3, 1, 20, 28, dtype=torch.uint8)
    for number, (row, column) in enumerate(((9, 9), (12, 16), (8, 14))):
        picture[number, 0, row : row + 2, column : column + 3] = 200

    def found(model):
        return misplaced(model, picture, [pose], (0.0,), lambda images: images.float())[pose]

    assert found(Looks(follows=True)) == pytest.approx(0, abs=1e-4)
    assert found(Looks(follows=False)) == pytest.approx(math.hypot(pose.x, pose.y), rel=1e-5)


def test_a_warp_that_ignores_a_rotation_is_off_by_the_chord():
    turn = Pose(angle=math.pi / 3)
    picture = images(16, 16)[:, :1]
    off = misplaced(Looks(follows=False), picture, [turn], (0.0,), lambda image: image.float())[
        turn
    ]
    points = np.stack(np.meshgrid(*[(np.arange(16) + 0.5 - 8) / 2] * 2), axis=-1)
    expected = np.linalg.norm(points, axis=-1).mean() * 2 * math.sin(math.pi / 6)
    assert off == pytest.approx(expected, rel=1e-5)
