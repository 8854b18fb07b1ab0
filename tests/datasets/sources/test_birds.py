"""The birds: whole and in shape in their squares, split officially, hashed by the files' bytes."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stn_core.datasets import (
    Dataset,
    birds,
    check_dataset,
    load_dataset,
    register_dataset,
    registry,
)
from stn_core.datasets.sources.birds import check_birds, decode_square, load_birds
from stn_core.errors import UsageError
from stn_core.registry import Registry
from tests.datasets.cub_tree import (
    NUMBERS,
    TRAIN_PER_CLASS,
    class_of,
    edit_line,
    encoded,
    image_path,
    write_tree,
)
from tests.datasets.real_data import DATA_ROOT, need_the_expected_species, needs_real

SIZE = 24


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))
    write_tree(tmp_path)
    return tmp_path


def load(root: Path | None, **options: object) -> Dataset:
    return load_birds(root, **{"image_size": SIZE, **options})


def image_file(root: Path, number: int) -> Path:
    return root / "CUB_200_2011" / "images" / image_path(number)


def complaint(root: Path | None, load: Callable = load, *arguments: object) -> str:
    with pytest.raises(UsageError) as caught:
        load(*arguments, root)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- an image becomes a square


# --- the dataset


def grey(number: int) -> int:
    return 10 * number


def numbers(images: torch.Tensor) -> list[int]:
    """Which images these are, by their grey in the middle; JPEG keeps it within a few levels."""
    middle = images[:, :, SIZE // 2, SIZE // 2].float()
    assert torch.all(middle.amax(1) - middle.amin(1) <= 2)  # grey, whatever the file's channels
    return (middle.mean(1) / 10).round().long().tolist()


def test_the_official_test_set_is_the_test_set(root: Path) -> None:
    dataset = load(root)
    assert dataset.class_names == ("Red Kite", "Blue Jay", "Grey Heron")
    assert dataset.image_shape == (3, SIZE, SIZE)
    tests = [number for number in NUMBERS if (number - 1) % 8 >= TRAIN_PER_CLASS]
    assert numbers(dataset.test.images) == tests
    trained = numbers(dataset.train.images) + numbers(dataset.val.images)
    assert sorted(trained) == sorted(set(NUMBERS) - set(tests))
    assert len(dataset.val) == 1
    for split in (dataset.train, dataset.val, dataset.test):
        labels = [[1, 2, 4].index(class_of(number)) for number in numbers(split.images)]
        assert split.labels.tolist() == labels


@pytest.mark.parametrize(
    ("name", "size", "cropped"),
    [("birds", 112, False), ("birds_224", 224, False), ("birds_cropped", 112, True)],
)
def test_the_registered_sets(root: Path, name: str, size: int, cropped: bool) -> None:
    check_dataset(name, root)
    dataset = load_dataset(name, root)
    assert dataset.name == name
    assert dataset.image_shape == (3, size, size)
    # An image of 24×36 leaves bars in a square, a box of 20×12 in its middle does not.
    assert dataset.background == (0.0, 0.0, 0.0) or cropped
    assert bool((dataset.test.images == 0).any()) is not cropped


def test_some_classes_are_a_dataset(root: Path) -> None:
    for number in NUMBERS[:8]:
        image_file(root, number).unlink()
    dataset = load(root, classes=[2, "Grey Heron"])
    assert dataset.class_names == ("Blue Jay", "Grey Heron")
    assert sorted(set(dataset.train.labels.tolist())) == [0, 1]
    assert len(dataset.test) == 6


def test_the_images_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(root)
    decoded: list[bytes] = []

    def counted(content: bytes, *arguments: object) -> np.ndarray:
        decoded.append(content)
        return decode_square(content, *arguments)

    monkeypatch.setattr(birds, "decode_square", counted)
    again = load(root)
    assert not decoded
    assert again.hash == first.hash
    assert torch.equal(again.train.images, first.train.images)
    load(root, crop_to_box=True)
    assert len(decoded) == len(NUMBERS)
    assert load(root, image_size=9).image_shape == (3, 9, 9)
    monkeypatch.setattr("PIL.__version__", "another")
    assert load(root).hash == first.hash
    assert len(decoded) == 3 * len(NUMBERS)


def test_a_changed_image_is_decoded_again(root: Path) -> None:
    before = load(root)
    image_file(root, 8).write_bytes(encoded(np.full((30, 30, 3), 255, np.uint8)))
    after = load(root)
    assert after.test.images[2].float().mean() > 250
    assert after.hash != before.hash


def _append_a_byte(root: Path) -> None:
    path = image_file(root, 5)
    path.write_bytes(path.read_bytes() + b"\0")


def _relabel(root: Path) -> None:
    edit_line(root / "CUB_200_2011", "image_class_labels", 5, "5 2")


def _swap_a_train_and_a_test_image(root: Path) -> None:
    for number, flag in ((5, 0), (6, 1)):
        edit_line(root / "CUB_200_2011", "train_test_split", number, f"{number} {flag}")


def _move_a_box(root: Path) -> None:
    edit_line(root / "CUB_200_2011", "bounding_boxes", 5, "5 5.0 2.0 20.0 12.0")


@pytest.mark.parametrize("change", [_append_a_byte, _relabel, _swap_a_train_and_a_test_image])
def test_the_hash_sees_every_change_of_files_labels_and_split(
    root: Path, change: Callable[[Path], None]
) -> None:
    before = load(root).hash
    change(root)
    assert load(root).hash != before


def test_the_hash_sees_the_parameters_and_boxes_that_are_used(root: Path) -> None:
    options: list[dict] = [
        {},
        {"image_size": SIZE + 1},
        {"classes": [1, 2]},
        {"classes": [1, 4]},
        {"crop_to_box": True},
    ]
    before = [load(root, **each).hash for each in options]
    assert len(set(before)) == len(options)
    _move_a_box(root)
    assert [load(root, **each).hash for each in options[:-1]] == before[:-1]
    assert load(root, crop_to_box=True).hash != before[-1]


def test_the_hash_is_not_of_the_place_nor_of_the_decoder(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(root)
    shutil.copytree(root / "CUB_200_2011", root / "elsewhere" / "CUB_200_2011")

    def brighter(*arguments: object) -> np.ndarray:
        return np.minimum(decode_square(*arguments), 254) + 1

    monkeypatch.setattr(birds, "decode_square", brighter)
    after = load(root / "elsewhere")
    assert not torch.equal(after.test.images, before.test.images)
    assert after.hash == before.hash


@pytest.mark.parametrize("name", ["birds", "birds_224", "birds_cropped"])
@pytest.mark.parametrize("look", [check_dataset, load_dataset])
def test_missing_data_say_where_they_were_looked_for_and_what_to_do(
    tmp_path: Path, name: str, look: Callable
) -> None:
    message = complaint(tmp_path, look, name)
    assert f"no CUB_200_2011 in {tmp_path}" in message
    for way_out in ("root=", "--data-root", "STN_DATA", "https://"):
        assert way_out in message
        assert way_out in complaint(None, look, name)


def test_a_defect_of_the_lists_is_reported_when_they_are_read(root: Path) -> None:
    image_file(root, 3).unlink()
    check_dataset("birds", root)
    assert f"image {image_file(root, 3)} is missing" in complaint(root, load_dataset, "birds")
    edit_line(root / "CUB_200_2011", "bounding_boxes", 3, "")
    assert "bounding_boxes.txt" in complaint(root, load_dataset, "birds_cropped")


def test_too_few_images_to_validate_are_refused(root: Path) -> None:
    for number in NUMBERS:
        if (number - 1) % 8 > 1:
            edit_line(root / "CUB_200_2011", "train_test_split", number, f"{number} 0")
    assert "6 images to train with; at least 10" in complaint(root)


@pytest.mark.parametrize("size", [0, -3, 16.0, "16", None, 10**6])
def test_an_impossible_size_is_refused(root: Path, size: object) -> None:
    with pytest.raises(UsageError, match=f"image_size is {size!r}; it must be a whole number"):
        load(root, image_size=size)


def test_one_image_in_train_and_test_is_reported_with_both_files(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(image_file(root, 5), image_file(root, 6))
    load(root)
    both = f"{image_file(root, 5)} and {image_file(root, 6)}"
    assert f"{both} are one image, in train and in test" in caplog.messages


def test_one_image_twice_in_train_is_left_alone(root: Path) -> None:
    shutil.copy(image_file(root, 4), image_file(root, 5))
    assert len(load(root).test) == 9


def test_an_image_that_may_not_be_read_is_not_called_damaged(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert complaint(root) == f"{image_file(root, 1)} cannot be read: Permission denied"


def test_the_folder_may_be_a_string_and_below_the_home(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("USERPROFILE", str(root))
    for place in (str(root), "~"):
        check_birds(place)
        assert load_birds(place, image_size=SIZE).hash == load(root).hash


def test_chosen_species_are_a_dataset_with_a_check(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_DATASETS", Registry("dataset"))
    species = ("Blue Jay", "Grey Heron")

    @register_dataset("two", check=check_birds, channels=3)
    def two(root: Path | None, download: bool) -> Dataset:
        return load_birds(root, "two", image_size=SIZE, classes=species)

    image_file(root, 1).unlink()  # of another species
    check_dataset("two", root)
    assert load_dataset("two", root).class_names == species
    image_file(root, 9).unlink()
    assert str(image_file(root, 9)) in complaint(root, load_dataset, "two")
    assert "no CUB_200_2011 in" in complaint(root / "empty", check_dataset, "two")
    assert "3 channels" in complaint(root, check_dataset, "two_rts")


@given(data=st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_image_is_named_wherever_it_ends(root: Path, data: st.DataObject) -> None:
    path = image_file(root, data.draw(st.sampled_from(NUMBERS), label="image"))
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1), label="bytes")])
    message = complaint(root)
    path.write_bytes(whole)
    assert f"image {path} cannot be decoded" in message
    assert "0x" not in message  # no address of an object


def test_a_broken_image_and_a_box_outside_it_are_named(root: Path) -> None:
    path = image_file(root, 4)
    edit_line(root / "CUB_200_2011", "bounding_boxes", 4, "4 36.0 2.0 20.0 12.0")
    with pytest.raises(UsageError, match="its box lies outside of it") as caught:
        load(root, crop_to_box=True)
    assert str(path) in str(caught.value)
    path.write_text("a bird")
    assert f"image {path} cannot be decoded (it is not an image file)" in complaint(root)
    image_file(root, 5).write_text("another")
    message = complaint(root)
    assert f"2 of {len(NUMBERS)} images are broken, unpack the dataset again: " in message
    assert str(path) in message
    assert str(image_file(root, 5)) in message


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "cache").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert len(load(root).test) == 9
    assert "could not be written" in caplog.text


# --- the real ones


@needs_real("birds")
@pytest.mark.parametrize(
    ("name", "data_hash"),
    [("birds", "c527b49c16677141"), ("birds_cropped", "9528405bb9149b5a")],
)
def test_the_real_birds_are_the_official_ones(name: str, data_hash: str) -> None:
    check_dataset(name, DATA_ROOT)
    dataset = load_dataset(name, DATA_ROOT)
    need_the_expected_species(dataset)
    assert [len(part) for part in (dataset.train, dataset.val, dataset.test)] == [1350, 150, 1389]
    assert dataset.class_names[0] == "Black footed Albatross"
    everything = torch.cat([part.images for part in (dataset.train, dataset.val, dataset.test)])
    is_grey = (everything == everything[:, :1]).all(dim=1).flatten(1).all(dim=1)
    assert int(is_grey.sum()) == 2
    assert dataset.hash == data_hash


@needs_real("birds")
def test_real_species_are_chosen_by_name() -> None:
    dataset = load_birds(Path(str(DATA_ROOT)), image_size=32, classes=["Laysan Albatross", 50])
    assert dataset.class_names == ("Laysan Albatross", "Eared Grebe")
