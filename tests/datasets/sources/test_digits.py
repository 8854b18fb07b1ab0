"""The embedded digits: real, complete, and enlarged as torch would."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from stn_core.datasets import AffineDistortion, Dataset, load_dataset


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def digits_rts() -> Dataset:
    return load_dataset("digits_rts")


def test_sizes(digits: Dataset, digits_rts: Dataset) -> None:
    assert [len(part) for part in (digits.train, digits.val, digits.test)] == [1097, 200, 500]
    assert [len(part) for part in (digits_rts.train, digits_rts.val, digits_rts.test)] == [
        1097,
        800,
        4000,
    ]
    assert digits_rts.train.images.shape[1:] == (1, 20, 20)


def test_every_original_is_there_once_enlarged_as_torch_does(digits: Dataset) -> None:
    originals = torch.from_numpy(load_digits().images)[:, None] * (255 / 16)
    enlarged = F.interpolate(originals, size=(20, 20), mode="bilinear", align_corners=False)
    ours = torch.cat([part.images for part in (digits.train, digits.val, digits.test)])
    middle = ours[:, :, 4:24, 4:24].double()
    # They come in another order: each must be nearest to an original of its own, and differ from
    # it by no more than rounding, 1/2 (ties are rounded up here; 1e-9 is float64's own error).
    nearest = torch.cdist(middle.flatten(1), enlarged.flatten(1)).argmin(dim=1)
    assert sorted(nearest.tolist()) == list(range(1797))
    assert (middle - enlarged[nearest]).abs().max() <= 0.5 + 1e-9


def test_the_frame_is_empty(digits: Dataset) -> None:
    frame = digits.test.images.clone()
    frame[:, :, 4:24, 4:24] = 0
    assert frame.max() == 0
    assert digits.background == (0.0,)
    assert digits.test.images.max() == 255


def test_both_sets_hold_the_same_digits_in_the_same_splits(
    digits: Dataset, digits_rts: Dataset
) -> None:
    assert torch.equal(digits.train.images[:, :, 4:24, 4:24], digits_rts.train.images)
    assert torch.equal(digits.test.labels.repeat_interleave(8), digits_rts.test.labels)
    assert torch.equal(digits.val.labels.repeat_interleave(4), digits_rts.val.labels)


def test_hashes_are_those_of_every_earlier_version(digits: Dataset, digits_rts: Dataset) -> None:
    # The shipped baselines were measured with these data.
    assert digits.hash == "f2e900c182b97759"
    assert digits_rts.hash == "288ccf14bfdd3d21"


def test_the_distorted_digits_are_made_of_those_of_the_same_split(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    still = AffineDistortion((28, 28), 0.0, (1.0, 1.0), random_place=False)
    monkeypatch.setattr("stn_core.datasets.sources.digits.RTS", still)
    unmoved = load_dataset("digits_rts")
    assert torch.equal(unmoved.val.images, digits.val.images.repeat_interleave(4, dim=0))
    assert torch.equal(unmoved.test.images, digits.test.images.repeat_interleave(8, dim=0))
