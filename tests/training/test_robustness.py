"""Changed images are what their amount says, and a model is judged on them."""

import dataclasses

import pytest
import torch
from torch import nn

from stn_core.datasets import Split
from stn_core.training.robustness import CHANGES, posed, robustness

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
    assert torch.equal(posed(square, (quarter, 1, 0, 0), BACKGROUND), clockwise)
    assert torch.equal(posed(square, (-quarter, 1, 0, 0), BACKGROUND), square.rot90(1, (2, 3)))


def test_a_shift_by_whole_pixels_moves_them_and_uncovers_the_background():
    moved = posed(images(), (0, 1, 3, -2), BACKGROUND)
    assert torch.equal(moved[:, :, :-2, 3:], images()[:, :, 2:, :-3])
    for channel, value in enumerate(BACKGROUND):
        assert (moved[:, channel, :, :3] == value).all()
        assert (moved[:, channel, -2:] == value).all()


def test_twice_as_large_is_the_middle_and_half_as_large_is_surrounded():
    flat = torch.full((1, 2, 8, 12), 200, dtype=torch.uint8)
    assert (posed(flat, (0, 2, 0, 0), BACKGROUND) == 200).all()
    small = posed(flat, (0, 0.5, 0, 0), BACKGROUND)
    assert (small[:, :, 3:5, 4:8] == 200).all()
    assert (small[:, 0, :, [0, -1]] == 7).all()
    assert (small[:, 0, [0, -1]] == 7).all()


class Bright(nn.Module):
    """Says which corner of an image is the brightest: left, then right."""

    def forward(self, pixels):
        return torch.stack((pixels[:, 0, 0, 0], pixels[:, 0, 0, -1]), dim=1)


def test_accuracy_falls_where_the_answer_leaves_the_picture():
    picture = torch.zeros(2, 1, 6, 8, dtype=torch.uint8)
    picture[0, 0, 0, 0] = picture[1, 0, 0, -1] = 255
    split = Split(picture, torch.tensor([0, 1]))
    shift = dataclasses.replace(CHANGES[2], amounts=(0, 8))
    unmoved, moved = robustness(Bright(), split, lambda image: image.float(), (0.0,), [shift])
    assert (unmoved.change, unmoved.amount, unmoved.accuracy) == ("translation", 0, 1.0)
    # Nothing is left of either picture, so the first corner is named: right for one of two.
    assert (moved.amount, moved.accuracy) == (8, 0.5)
