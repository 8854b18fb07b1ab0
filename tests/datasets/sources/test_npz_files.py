"""The .npz route: what goes in comes out, and every defect gets one line that names it."""

from __future__ import annotations

import errno
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy
from numpy.typing import NDArray

from stn_core.datasets import check_dataset, load_dataset
from stn_core.errors import UsageError

Arrays = dict[str, NDArray]


def arrays() -> Arrays:
    """40 + 12 images of 5×7 in 3 classes; the first two pixels of an image spell its number."""
    rng = np.random.default_rng(0)
    made: Arrays = {}
    for split, count in (("train", 40), ("test", 12)):
        images = rng.integers(0, 256, (count, 5, 7), dtype=np.uint8)
        images[:, 0, 0] = np.arange(count)
        made[f"x_{split}"] = images
        made[f"y_{split}"] = np.arange(count) % 3
    return made


def saved(folder: Path, made: Arrays) -> Path:
    path = folder / "mine.npz"
    np.savez_compressed(path, **made)
    return path


def complaint(folder: Path, load: Callable = load_dataset) -> str:
    with pytest.raises(UsageError) as caught:
        load("mine", folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.count(str(folder / "mine.npz")) == 1
    return message


def test_a_file_in_the_keras_layout_is_a_dataset(tmp_path: Path) -> None:
    made = arrays()
    saved(tmp_path, made)
    check_dataset("mine", tmp_path)
    dataset = load_dataset("mine", tmp_path)
    assert dataset.name == "mine"
    assert dataset.class_names == ("0", "1", "2")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (36, 4, 12)
    assert np.array_equal(dataset.test.images[:, 0].numpy(), made["x_test"])
    assert dataset.test.labels.tolist() == made["y_test"].tolist()
    for split in (dataset.train, dataset.val):
        numbers = split.images[:, 0, 0, 0].long()
        assert np.array_equal(split.images[:, 0].numpy(), made["x_train"][numbers])
        assert torch.equal(split.labels, numbers % 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["C", "F"])
def test_channels_come_first_out(tmp_path: Path, channels: int, order: str) -> None:
    made = arrays()
    for split in ("train", "test"):
        stack = np.stack([made[f"x_{split}"] + channel for channel in range(channels)], axis=-1)
        made[f"x_{split}"] = np.asarray(stack, order=order)
    saved(tmp_path, made)
    dataset = load_dataset("mine", tmp_path)
    assert dataset.image_shape == (channels, 5, 7)
    assert np.array_equal(dataset.test.images.numpy(), made["x_test"].transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i4", "uint64"])
def test_any_integers_are_labels_in_one_or_two_dimensions(tmp_path: Path, dtype: str) -> None:
    made = arrays()
    made["y_train"] = made["y_train"].astype(dtype)[:, None]
    made["y_test"] = made["y_test"].astype(dtype)
    saved(tmp_path, made)
    assert load_dataset("mine", tmp_path).test.labels.tolist() == made["y_test"].tolist()


def test_an_lzma_file_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.npz", "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays().items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.save(stream, array)
    assert len(load_dataset("mine", tmp_path).test) == 12


def test_every_array_is_decoded_once_and_a_check_decodes_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, arrays())
    decoded: list[int] = []
    read_array = npy.read_array

    def counted(*args: object, **kwargs: object) -> NDArray:
        array = read_array(*args, **kwargs)
        decoded.append(array.ndim)
        return array

    monkeypatch.setattr(npy, "read_array", counted)
    check_dataset("mine", tmp_path)
    assert decoded == []
    load_dataset("mine", tmp_path)
    assert sorted(decoded) == [1, 1]  # images come by the chunk


Defect = tuple[str, Callable[[NDArray], object], str]

IN_HEADERS: dict[str, Defect] = {
    "no square": ("x_test", lambda x: x.reshape(12, 35), "x_test is uint8 (12, 35)"),
    "channels second": (
        "x_train",
        lambda x: x[:, :, None],
        "x_train is uint8 (40, 5, 1, 7)",
    ),
    "whole numbers": ("x_train", lambda x: x.astype(np.int16), "x_train is int16"),
    "no test images": ("x_test", lambda x: x[:0], "x_test is empty"),
    "no width": ("x_train", lambda x: x[:, :, :0], "x_train is empty"),
    "other size": ("x_test", lambda x: x[:, :4], "x_test holds images of shape (4, 7)"),
    "fewer labels": ("y_train", lambda y: y[:39], "y_train holds 39 labels, x_train 40 images"),
    "fewer images": ("x_test", lambda x: x[:11], "y_test holds 12 labels, x_test 11 images"),
    "float labels": ("y_test", lambda y: y * 1.0, "y_test is float64"),
    "text": ("y_train", lambda y: y.astype("U3"), "y_train holds text; number the classes"),
    "a single label": ("y_test", lambda y: y[0], "y_test is int64 ()"),
    "objects": ("x_train", lambda x: x.astype(object), "x_train is object"),
}
"""What is wrong without a look at an image or a label."""

IN_CONTENTS: dict[str, Defect] = {
    "several labels": (
        "y_train",
        lambda y: np.ones((40, 3), int),
        "y_train is int64 (40, 3) and not one-hot: an image may have one label only",
    ),
    "labels from 1": ("y_train", lambda y: y + 1, "y_train has no image of class 0; its labels"),
    "negative label": ("y_train", lambda y: y - 1, "label -1 in y_train is out of range"),
    "gap in labels": ("y_train", lambda y: y * 2, "y_train has no image of class 1, 3; its labels"),
    "large gap": ("y_train", lambda y: y * 10**12, "no image of class 1, 2, 3, 4, 5, …; its"),
    "unseen label": ("y_test", lambda y: y + 1, "label 3 in y_test is out of range"),
    "beyond int64": ("y_test", lambda y: ~y.astype(np.uint64), "in y_test is out of range"),
    "one class": ("y_train", lambda y: y * 0, "y_train holds one class only"),
    "far floats": ("x_train", lambda x: x * 3.0, "x_train holds float64 from 0 to 765; floats"),
    "no number": ("x_train", lambda x: np.where(x > 9, np.nan, x), "x_train holds float64 from"),
}


@pytest.mark.parametrize(("array", "defect", "said"), IN_HEADERS.values(), ids=IN_HEADERS)
def test_a_defect_is_named_before_anything_is_decoded(
    tmp_path: Path, array: str, defect: Callable[[NDArray], object], said: str
) -> None:
    made = arrays()
    saved(tmp_path, {**made, array: np.asarray(defect(made[array]))})
    assert said in complaint(tmp_path, check_dataset)
    assert said in complaint(tmp_path)


@pytest.mark.parametrize(("array", "defect", "said"), IN_CONTENTS.values(), ids=IN_CONTENTS)
def test_a_defect_in_the_content_is_named_when_it_is_read(
    tmp_path: Path, array: str, defect: Callable[[NDArray], object], said: str
) -> None:
    made = arrays()
    saved(tmp_path, {**made, array: np.asarray(defect(made[array]))})
    assert said in complaint(tmp_path)


@pytest.mark.parametrize("array", ["x_train", "y_train", "x_test", "y_test"])
def test_a_missing_array_is_named_with_what_is_there(tmp_path: Path, array: str) -> None:
    made = arrays()
    made["images"] = made.pop(array)
    saved(tmp_path, made)
    message = complaint(tmp_path, check_dataset)
    assert f"no array {array}" in message
    assert "images" in message


@pytest.mark.parametrize("member", ["data/x_train.npy", "x_train", "x_train.txt"])
def test_a_member_that_is_no_array_of_that_name_is_not_taken_for_it(
    tmp_path: Path, member: str
) -> None:
    path = saved(tmp_path, arrays())
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents[member] = contents.pop("x_train.npy")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    message = complaint(tmp_path, check_dataset)
    assert "no array x_train; the file holds " in message
    assert member.removesuffix(".npy") in message


def test_too_few_images_to_validate_are_refused(tmp_path: Path) -> None:
    made = arrays()
    saved(tmp_path, {**made, "x_train": made["x_train"][:9], "y_train": made["y_train"][:9]})
    assert "x_train holds 9 images; at least 10" in complaint(tmp_path)


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    made = arrays()
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        for name, array in made.items():
            stream = io.BytesIO()
            np.save(stream, array)
            content = stream.getvalue()
            archive.writestr(f"{name}.npy", content[:-1] if name == "x_test" else content)
    assert "x_test is damaged, 419 bytes" in complaint(tmp_path, check_dataset)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_a_truncated_file_is_damaged_wherever_it_ends(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("truncated")
    path = saved(folder, arrays())
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert "is damaged or not an .npz file" in complaint(folder, check_dataset)


def test_a_changed_byte_among_the_images_is_found_by_loading(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays())
    with zipfile.ZipFile(path) as archive:
        middle = archive.getinfo("x_train.npy").header_offset + 600
    content = bytearray(path.read_bytes())
    content[middle] ^= 0xFF
    path.write_bytes(content)
    assert "is damaged or not an .npz file" in complaint(tmp_path)


def save_large(folder: Path) -> Path:
    """Save images of 15×21, so many bytes that their checksum does not protect their header."""
    path = folder / "mine.npz"
    made = arrays()
    large = {f"x_{split}": np.tile(made[f"x_{split}"], (1, 3, 3)) for split in ("train", "test")}
    np.savez(path, **{**made, **large})
    return path


@given(st.data())
@settings(max_examples=100)
@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # numpy's, of a header that Python 2 wrote
def test_a_changed_byte_of_a_header_is_damage_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    path = save_large(folder)
    with zipfile.ZipFile(path) as archive:
        info = data.draw(st.sampled_from(archive.infolist()))
    header = 30 + len(info.filename)  # the archive's own, then the array's
    content = bytearray(path.read_bytes())
    place = info.header_offset + data.draw(st.integers(0, header + 128), label="place")
    content[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    path.write_bytes(content)
    try:
        check_dataset("mine", folder)
    except UsageError:
        complaint(folder, check_dataset)


def test_a_header_that_ends_in_a_bracket_is_damage(tmp_path: Path) -> None:
    path = save_large(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"(40, 15, 21), }  ", b"(40, 15, 21), } ("))
    assert "is damaged or not an .npz file" in complaint(tmp_path, check_dataset)


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, arrays())

    def forbidden(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbidden)
    for load in (check_dataset, load_dataset):
        assert complaint(tmp_path, load).endswith("mine.npz cannot be read: Permission denied")


def test_reading_never_unpickles(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "exploded",))

    for array in ("x_train", "y_train", "x_test", "y_test"):
        saved(tmp_path, {**arrays(), array: np.array([Bomb()] * 12, dtype=object)})
        assert f"{array} is object" in complaint(tmp_path)
    assert not (tmp_path / "exploded").exists()
