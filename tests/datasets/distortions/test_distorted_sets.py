"""Distorted sets: the papers' recipes, of any grey dataset, fixed where they are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stn_core.datasets import (
    AffineDistortion,
    ChannelwiseDistortion,
    ClutterDistortion,
    Dataset,
    ElasticDistortion,
    ProjectiveDistortion,
    Sources,
    Split,
    check_dataset,
    load_dataset,
    register_dataset,
)
from stn_core.datasets import registry as dataset_registry
from stn_core.datasets.assembly import assemble
from stn_core.datasets.distortions.added_pairs import added_pairs
from stn_core.datasets.distortions.distorted_sets import KINDS, distorted
from stn_core.datasets.sources import by_name
from stn_core.errors import UsageError
from stn_core.registry import Registry

NUM_TRAIN, NUM_VAL, NUM_TEST = 36, 4, 12
every_kind = pytest.mark.parametrize("kind", KINDS)


def save_npz(folder: Path, name: str, channels: int = 1) -> None:
    """40 + 12 black pictures of 14×21 with grey noise in the middle, in 3 classes."""
    rng = np.random.default_rng(0)
    made = {}
    for split, count in (("train", NUM_TRAIN + NUM_VAL), ("test", NUM_TEST)):
        images = np.zeros((count, 14, 21, channels), dtype=np.uint8)
        images[:, 3:-3, 4:-4] = rng.integers(1, 256, (count, 8, 13, channels), dtype=np.uint8)
        made |= {f"x_{split}": images, f"y_{split}": np.arange(count) % 3}
    np.savez(folder / f"{name}.npz", **made)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    save_npz(made, "mine")
    save_npz(made, "colour", channels=3)
    return made


def complaint(load: Callable, name: str, root: Path | None) -> str:
    with pytest.raises(UsageError) as caught:
        load(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


RTS = AffineDistortion((42, 42), 45.0, (0.7, 1.2), random_place=True)


@pytest.mark.parametrize(
    ("kind", "distortion"),
    [
        ("r", AffineDistortion((28, 28), 90.0, (1.0, 1.0), random_place=False)),
        ("rts", RTS),
        ("p", ProjectiveDistortion((28, 28), (0.75, 1.0), corner_sigma_pixels=5.0)),
        ("e", ElasticDistortion((28, 28), (0.75, 1.0), control_sigma_pixels=1.5)),
        ("tc", ClutterDistortion((60, 60), patch_size=6, num_patches=6)),
        ("add", ChannelwiseDistortion(RTS, channels=2)),
    ],
)
def test_distortions_of_28_pixel_images_are_the_papers(kind: str, distortion: object) -> None:
    assert KINDS[kind]((28, 28)) == distortion


def test_distortions_of_other_sizes_scale_with_the_papers() -> None:
    assert KINDS["r"]((14, 35)).canvas_hw == (14, 35)
    assert KINDS["rts"]((14, 35)).canvas_hw == (21, 52)
    assert KINDS["p"]((14, 35)) == ProjectiveDistortion((14, 35), (0.75, 1.0), 2.5)
    assert KINDS["e"]((35, 14)) == ElasticDistortion((35, 14), (0.75, 1.0), 0.75)
    assert KINDS["tc"]((14, 35)) == ClutterDistortion((30, 75), 3, 6)
    assert KINDS["tc"]((1, 2)).patch_size == 1


@every_kind
def test_any_grey_file_can_be_distorted(folder: Path, kind: str) -> None:
    check_dataset(f"mine_{kind}", folder)
    plain, dataset = load_dataset("mine", folder), load_dataset(f"mine_{kind}", folder)
    assert dataset.name == f"mine_{kind}"
    assert dataset.distortion == KINDS[kind]((14, 21))
    splits = (dataset.train, dataset.val, dataset.test)
    assert [len(split) for split in splits] == [NUM_TRAIN, NUM_VAL, NUM_TEST]
    assert torch.equal(dataset.train.images[:, :1], plain.train.images)
    assert dataset.image_shape[1:] == dataset.distortion.canvas_hw
    if kind != "add":
        assert dataset.class_names == plain.class_names
        for name in ("train", "val", "test"):
            assert torch.equal(getattr(dataset, name).labels, getattr(plain, name).labels)


def test_a_registered_dataset_can_be_distorted() -> None:
    dataset = load_dataset("digits_r")
    assert dataset.distortion == KINDS["r"]((28, 28))
    assert len(dataset.test) == 500


def test_the_note_says_of_which_files_it_tells(folder: Path) -> None:
    """Sums of two have more classes than the files in the note."""
    plain, sums = load_dataset("mine", folder), load_dataset("mine_add", folder)
    assert sums.num_classes > plain.num_classes
    assert sums.notes == f"made of mine, {plain.notes}"


def test_every_kind_is_another_dataset(folder: Path) -> None:
    names = ["mine", *(f"mine_{kind}" for kind in KINDS)]
    assert len({load_dataset(name, folder).hash for name in names}) == len(names)


@pytest.mark.parametrize(
    ("kind", "made_by"),
    [
        ("p", (ProjectiveDistortion, "theta_out_to_in")),
        ("e", (ElasticDistortion, "theta_out_to_in")),
        ("tc", (ClutterDistortion, "applied")),
    ],
)
def test_the_hash_sees_another_geometry(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, made_by: tuple[type, str]
) -> None:
    before = load_dataset(f"mine_{kind}", folder)
    rule = getattr(*made_by)

    def changed(*arguments: object) -> NDArray:
        made = rule(*arguments).copy()
        made[0, 0] += 1
        return made

    monkeypatch.setattr(*made_by, changed)
    after = load_dataset(f"mine_{kind}", folder)
    assert after.hash != before.hash
    assert not torch.equal(after.test.images, before.test.images)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "add"])
def test_with_nothing_to_distort_the_splits_are_those_of_the_plain_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """So no picture is in two splits of a distorted set either: the plain sets have that law."""
    still = AffineDistortion((14, 21), 0.0, (1.0, 1.0), random_place=False)
    monkeypatch.setitem(KINDS, kind, lambda size_hw: still)
    plain, dataset = load_dataset("mine", folder), load_dataset(f"mine_{kind}", folder)
    for name in ("train", "val", "test"):
        assert torch.equal(getattr(dataset, name).images, getattr(plain, name).images)


@every_kind
def test_test_images_are_made_once(folder: Path, kind: str) -> None:
    torch.manual_seed(1)
    first = load_dataset(f"mine_{kind}", folder)
    torch.manual_seed(2)
    again = load_dataset(f"mine_{kind}", folder)
    assert first.hash == again.hash
    assert torch.equal(first.test.images, again.test.images)
    assert torch.equal(first.val.images, again.val.images)


def test_a_file_of_the_full_name_is_read_and_not_distorted(tmp_path: Path) -> None:
    save_npz(tmp_path, "mine_rts")
    assert load_dataset("mine_rts", tmp_path).distortion is None
    assert load_dataset("mine_rts_e", tmp_path).image_shape == (1, 14, 21)


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
def test_only_grey_images_are_distorted(folder: Path, load: Callable) -> None:
    message = complaint(load, "colour_rts", folder)
    assert message == (
        "cannot make the dataset 'colour_rts': only grey images can be distorted, and those "
        "of 'colour' have 3 channels"
    )


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("birds_r", "those of 'birds' have 3 channels"),
        ("birds_224_e", "those of 'birds_224' have 3 channels"),
        ("birds_cropped_add", "those of 'birds_cropped' have 3 channels"),
        ("cifar10_rts", "those of 'cifar10' have 3 channels"),
        ("coordinates_uniform_r", "those of 'coordinates_uniform' have 2 channels"),
        ("coordinates_quadrant_tc", "those of 'coordinates_quadrant' have 2 channels"),
        ("digits_rts_r", "'digits_rts' is already distorted"),
        ("mnist_rts_e", "'mnist_rts' is already distorted"),
        ("fashion_mnist_tc_p", "'fashion_mnist_tc' is already distorted"),
    ],
)
def test_a_dataset_that_cannot_be_distorted_is_refused_before_its_files_are_looked_for(
    tmp_path: Path, load: Callable, name: str, said: str
) -> None:
    for root in (tmp_path, None):
        assert complaint(load, name, root).startswith(f"cannot make the dataset {name!r}: ")
        assert said in complaint(load, name, root)


def test_it_is_known_of_a_users_function_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset_registry, "_DATASETS", Registry("dataset"))
    for name, options in (("told", {"channels": 3}), ("untold", {}), ("grey", {"channels": 1})):
        register_dataset(name, **options)(lambda root, download: pytest.fail("was loaded"))
    assert "those of 'told' have 3 channels" in complaint(check_dataset, "told_r", None)
    check_dataset("untold_r")
    check_dataset("grey_r")


def test_nothing_is_distorted_twice(folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        distorted("mine_rts_e", "e", load_dataset("mine_rts", folder))
    assert str(caught.value) == (
        "cannot make the dataset 'mine_rts_e': 'mine_rts' is already distorted"
    )


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
def test_a_missing_dataset_is_reported_with_both_files_that_would_do(
    folder: Path, tmp_path: Path, load: Callable
) -> None:
    message = complaint(load, "yours_rts", tmp_path)
    assert message.endswith(f"({tmp_path} holds no yours_rts.npz or yours.npz)")
    message = complaint(load, "yours_rts", None)
    assert message.endswith("(a yours_rts.npz or yours.npz needs root=, --data-root or STN_DATA)")
    assert complaint(load, "mine_xyz", folder).endswith(f"({folder} holds no mine_xyz.npz)")
    assert "unknown dataset" in complaint(load, "../mine_rts", folder / "inner")
    assert "unknown dataset" in complaint(load, "_rts", folder)


@pytest.mark.parametrize("load", [check_dataset, load_dataset])
@pytest.mark.parametrize("name", ["mnist_tc", "fashion_mnist_add"])
def test_missing_mnist_is_reported_as_for_mnist_itself(
    tmp_path: Path, load: Callable, name: str
) -> None:
    message = complaint(load, name, tmp_path)
    assert message == complaint(load, name.rpartition("_")[0], tmp_path)
    assert "--download" in message


def test_the_check_reads_no_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_name, "load_npz", lambda *_: pytest.fail("was loaded"))
    check_dataset("mine_rts", folder)


def test_a_download_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_registry, "_DATASETS", Registry("dataset"))
    built: list[tuple[Path | None, bool]] = []

    @register_dataset("stripes")
    def stripes(root: Path | None, download: bool) -> Dataset:
        built.append((root, download))
        images = torch.arange(2 * 4 * 5, dtype=torch.uint8).reshape(2, 1, 4, 5)
        split = Split(images, torch.tensor([0, 1]))
        return assemble("stripes", Sources(split, split, split, ("no", "yes")))

    load_dataset("stripes_p", str(tmp_path), download=True)
    assert built == [(tmp_path, True)]


@every_kind
def test_the_hash_depends_on_the_digest_of_the_files_and_not_on_how_they_were_decoded(
    kind: str, tmp_path: Path
) -> None:
    save_npz(tmp_path, "mine")
    plain = replace(load_dataset("mine", tmp_path), digest="of the files")
    splits = {"train": plain.train, "val": plain.val, "test": plain.test}
    decoded_otherwise = {
        name: Split(split.images ^ 1, split.labels) for name, split in splits.items()
    }
    first = distorted("mine_x", kind, plain)
    again = distorted("mine_x", kind, replace(plain, **decoded_otherwise))
    assert not torch.equal(first.train.images, again.train.images)
    assert first.hash == again.hash
    assert distorted("mine_x", kind, replace(plain, digest="of others")).hash != first.hash
    without = distorted("mine_x", kind, replace(plain, digest=None))
    assert (
        without.hash
        != distorted("mine_x", kind, replace(plain, digest=None, **decoded_otherwise)).hash
    )


def numbered(count: int) -> Split:
    """Black images (1, 1, 2) that end with their number, which is also their label."""
    numbers = torch.arange(count)
    images = torch.zeros(count, 1, 1, 2, dtype=torch.uint8)
    images[:, 0, 0, 1] = numbers
    return Split(images, numbers)


SOURCES = Sources(numbered(60), numbered(9), numbered(20), tuple(f"class {k}" for k in range(60)))


def test_the_label_of_a_pair_is_the_sum_of_both() -> None:
    pairs = added_pairs(SOURCES)
    for split in (pairs.train, pairs.val, pairs.test):
        assert torch.equal(split.labels, split.images.sum((1, 2, 3)))
    assert pairs.class_names == tuple(str(total) for total in range(119))


@pytest.mark.parametrize("count", [2, 3, 10, 57])
def test_no_image_is_added_to_itself(count: int) -> None:
    some = replace(SOURCES, train=numbered(count), val=numbered(2))
    for split in (added_pairs(some).train, added_pairs(some).val):
        first, second = split.images[:, :, 0, 1].T
        assert not torch.any(first == second)


def test_every_image_is_first_once_and_second_once_in_its_own_split() -> None:
    pairs = added_pairs(SOURCES)
    for split, plain in ((pairs.train, 60), (pairs.val, 9), (pairs.test, 20)):
        first, second = split.images[:, :, 0, 1].T
        assert first.tolist() == list(range(plain))
        assert sorted(second.tolist()) == list(range(plain))


def test_the_pairs_are_those_of_every_earlier_version() -> None:
    # Where this changes, PAIRS_VERSION must: models were measured on the old pairs.
    pairs = added_pairs(SOURCES)
    assert pairs.val.images[:, 1, 0, 1].tolist() == [1, 2, 3, 7, 6, 8, 5, 4, 0]
    # fmt: off
    assert pairs.test.images[:, 1, 0, 1].tolist() == [
        6, 5, 8, 19, 11, 12, 18, 9, 13, 17, 0, 15, 4, 7, 1, 2, 14, 10, 3, 16
    ]
    # fmt: on


def test_the_digest_of_pairs_is_another_than_that_of_their_images() -> None:
    assert added_pairs(SOURCES).digest is None
    digest = added_pairs(replace(SOURCES, digest="of the files")).digest
    assert digest == "of the files, pairs 2"
