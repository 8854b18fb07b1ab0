"""What an .npz may hold: splits of its own, other names, floats, one-hot labels."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from stn_core.datasets import Dataset, check_dataset, load_dataset
from tests.datasets.sources.test_npz_files import Arrays, arrays, complaint, saved


def loaded_from(folder: Path, made: Arrays) -> Dataset:
    saved(folder, made)
    return load_dataset("mine", folder)


def with_validation(made: Arrays, images: str, labels: str) -> Arrays:
    return {**made, images: made["x_train"][:9] // 2, labels: made["y_train"][:9]}


@pytest.mark.parametrize(
    "names", [("x_val", "y_val"), ("x_valid", "y_valid"), ("X_valid", "Y_valid")]
)
def test_validation_images_of_its_own_validate_and_all_of_train_trains(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    made = arrays()
    dataset = loaded_from(tmp_path, with_validation(made, *names))
    assert np.array_equal(dataset.train.images[:, 0], made["x_train"])
    assert dataset.train.labels.tolist() == made["y_train"].tolist()
    assert np.array_equal(dataset.val.images[:, 0], made["x_train"][:9] // 2)
    assert "validation split as in the files" in dataset.notes


def test_medmnists_names_are_read(tmp_path: Path) -> None:
    made = with_validation(arrays(), "x_val", "y_val")
    renamed = {
        f"{name[2:]}_{'images' if name[0] == 'x' else 'labels'}": array
        for name, array in made.items()
    }
    for split in ("train", "val", "test"):
        renamed[f"{split}_labels"] = renamed[f"{split}_labels"].astype(np.uint8)[:, None]
    dataset = loaded_from(tmp_path, renamed)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (40, 9, 12)
    assert dataset.test.labels.tolist() == made["y_test"].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("highest", [1, 255])
def test_floats_are_the_whole_numbers_that_they_were(
    tmp_path: Path, dtype: type, highest: int
) -> None:
    made = arrays()
    images = {name: made[name] for name in ("x_train", "x_test")}
    floats = {name: (array / 255 * highest).astype(dtype) for name, array in images.items()}
    dataset = loaded_from(tmp_path, {**made, **floats})
    assert np.array_equal(dataset.test.images[:, 0], made["x_test"])
    assert f"floats in [0, {highest}] were rounded to 256 levels" in dataset.notes


@pytest.mark.parametrize(
    ("dtype", "highest", "lowest_read", "highest_read"),
    [
        (np.float32, 1, -1e-7, 1.0000001),
        (np.float16, 1, 0, 1.001),  # one step of float16 above 1
        (np.float64, 1, -0.0009, 1.0009),
        (np.float32, 255, -0.01, 255.01),
        (np.float16, 255, 0, 255.125),
    ],
)
def test_floats_that_leave_their_range_by_rounding_are_clipped(
    tmp_path: Path, dtype: type, highest: int, lowest_read: float, highest_read: float
) -> None:
    made = arrays()
    ends = {0: lowest_read, 255: highest_read}
    rounded = {}
    for name in ("x_train", "x_test"):
        made[name][:, 1, :2] = 0, 255
        floats = made[name] / 255 * highest
        for level, read in ends.items():
            floats[made[name] == level] = read
        rounded[name] = floats.astype(dtype)
    dataset = loaded_from(tmp_path, {**made, **rounded})
    assert np.array_equal(dataset.test.images[:, 0], made["x_test"])
    assert f"floats in [0, {highest}] were rounded to 256 levels" in dataset.notes


@pytest.mark.parametrize("highest", [1.002, 1.5, 1.99])
def test_floats_that_may_mean_either_range_are_refused(tmp_path: Path, highest: float) -> None:
    made = arrays()
    saved(tmp_path, {**made, "x_train": made["x_train"] / 255 * highest})
    said = complaint(tmp_path)
    assert f"x_train holds float64 up to {highest:g}, which fits neither [0, 1] nor" in said
    assert "clip to [0, 1]" in said


@pytest.mark.parametrize(("low", "high"), [(-0.01, 1), (-1, 255), (0, 256), (0, np.nan)])
def test_floats_outside_of_both_ranges_are_refused(tmp_path: Path, low: float, high: float) -> None:
    made = arrays()
    floats = made["x_train"] / 255
    floats[0, 1, :2] = low, high
    saved(tmp_path, {**made, "x_train": floats})
    assert f"from {np.nan if np.isnan(high) else low:g} to {high:g}" in complaint(tmp_path)


def test_flattened_squares_and_one_hot_labels_are_read(tmp_path: Path) -> None:
    made = arrays()
    made |= {name: made[name][:, :, :5].reshape(-1, 25) for name in ("x_train", "x_test")}
    numbers = made["y_test"].tolist()
    made |= {name: np.eye(3)[made[name]] for name in ("y_train", "y_test")}
    dataset = loaded_from(tmp_path, made)
    assert np.array_equal(dataset.test.images[:, 0].reshape(-1, 25), made["x_test"])
    assert dataset.test.labels.tolist() == numbers
    assert "25 numbers an image were 5x5 pixels" in dataset.notes
    assert "labels were one-hot" in dataset.notes


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_may_come_first(tmp_path: Path, channels: int) -> None:
    made = arrays()
    for name in ("x_train", "x_test"):
        made[name] = np.stack([made[name] // (k + 1) for k in range(channels)], axis=1) / 255
    dataset = loaded_from(tmp_path, made)
    assert check_dataset("mine", tmp_path) == dataset.image_shape == (channels, 5, 7)
    assert np.array_equal(dataset.test.images, np.rint(made["x_test"] * 255))
    assert "channels came first" in dataset.notes


def test_splits_of_two_scales_are_refused(tmp_path: Path) -> None:
    made = arrays()
    made = {**made, "x_train": made["x_train"] / 255, "x_test": made["x_test"] * 1.0}
    saved(tmp_path, made)
    assert "holds x_train in [0, 1] and x_test in [0, 255]" in complaint(tmp_path)


def test_a_folder_hidden_by_a_file_of_the_same_name_is_reported(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    notes = loaded_from(tmp_path, arrays()).notes
    assert notes.endswith(f"not read: the folder {tmp_path / 'mine'}")


def test_the_note_says_what_was_not_read_and_how_it_was_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "stn_core"):
        dataset = loaded_from(tmp_path, {**arrays(), "weights": np.ones(3)})
    assert dataset.notes == (
        "36 / 4 / 12 images (train / val / test) of 3 classes, 12 a class in train; "
        "4 of train set aside for val; not read: weights"
    )
    assert caplog.messages == [f"{tmp_path / 'mine.npz'}: {dataset.notes}"]


def test_no_class_loses_its_last_training_image(tmp_path: Path) -> None:
    made = arrays()
    made["y_train"] = np.where(np.arange(40) < 3, np.arange(40) + 1, 0)  # three classes of one
    dataset = loaded_from(tmp_path, {**made, "y_test": made["y_test"] % 2})
    assert dataset.train.labels.unique().tolist() == [0, 1, 2, 3]
    assert len(dataset.train) + len(dataset.val) == 40


def test_validation_shares_images_if_every_class_has_only_one(tmp_path: Path) -> None:
    made = arrays()
    dataset = loaded_from(tmp_path, {**made, "y_train": np.arange(40)})
    assert dataset.train.labels.sort().values.tolist() == list(range(40))
    assert len(dataset.val) == 4
    assert "val shares its images with train" in dataset.notes
    assert "test has no image of class 3" in dataset.notes


def test_a_file_that_unpacks_to_more_than_the_memory_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, arrays())
    monkeypatch.setattr("stn_core.datasets.sources.memory.total_memory", lambda: 1 << 10)
    for load in (check_dataset, load_dataset):
        assert "mine.npz unpacks to 0.0 GiB, more than the 0.0 GiB of memory here" in complaint(
            tmp_path, load
        )


def test_a_large_file_is_kept_decoded_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = loaded_from(tmp_path, arrays())
    monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("stn_core.datasets.sources.found.KEPT_FROM", 0)
    monkeypatch.setattr("stn_core.datasets.sources.npz_files.CHUNK_BYTES", 100)  # two images
    for _ in range(2):
        kept = load_dataset("mine", tmp_path)
        assert kept.hash == plain.hash
        for name in ("train", "val", "test"):
            assert torch.equal(getattr(kept, name).images, getattr(plain, name).images)
            assert torch.equal(getattr(kept, name).labels, getattr(plain, name).labels)
        monkeypatch.setattr("stn_core.datasets.sources.found._scatter", pytest.fail)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1
