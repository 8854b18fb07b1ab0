"""What pictures need comes back from the disk as it was, or is reported as damaged."""

import dataclasses
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.errors import UsageError
from stn_core.session import artifacts as module
from stn_core.session.artifacts import (
    Artifacts,
    Mistakes,
    WarpPictures,
    artifacts_path,
    read_artifacts,
    write_artifacts,
)
from tests.examples import artifacts


def same(a, b):
    """Whether two artifacts hold the same parts and arrays."""
    for part in ("mistakes", "warps"):
        one, other = getattr(a, part), getattr(b, part)
        if (one is None) != (other is None):
            return False
        if one and not all(np.array_equal(x, vars(other)[name]) for name, x in vars(one).items()):
            return False
    return a.digest == b.digest and np.array_equal(a.class_names, b.class_names)


@pytest.mark.parametrize("mistakes", [True, False])
@pytest.mark.parametrize("warps", [True, False])
def test_reading_gives_what_was_written(tmp_path, mistakes, warps):
    whole = artifacts()
    given = Artifacts(
        whole.digest,
        whole.class_names,
        whole.mistakes if mistakes else None,
        whole.warps if warps else None,
    )
    path = artifacts_path(tmp_path / "artifacts", "digits-stn-3")
    write_artifacts(path, given)
    assert same(read_artifacts(path), given)
    assert list(path.parent.iterdir()) == [path]


@given(share=st.floats(0, 0.999))
def test_a_cut_file_is_reported_in_one_line(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "a.npz"
    write_artifacts(path, artifacts())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UsageError, match=r"a\.npz cannot be read") as told:
        read_artifacts(path)
    assert "\n" not in str(told.value)


@given(st.data())
def test_a_changed_file_is_read_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("changed") / "a.npz"
    write_artifacts(path, artifacts())
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    complaint = ""
    try:
        read_artifacts(path)
    except UsageError as error:  # and no other error
        complaint = str(error)
    assert "\n" not in complaint


def test_a_single_array_is_reported(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(UsageError, match="cannot be read"):
        read_artifacts(tmp_path / "a.npz")


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UsageError, match=r"a\.npz is missing"):
        read_artifacts(tmp_path / "a.npz")


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UsageError, match="cannot be read"):
        read_artifacts(path)
    np.savez(path, version=1, class_names=np.array([{}], dtype=object))
    with pytest.raises(UsageError, match="class_names is object with 1 axes"):
        read_artifacts(path)


def test_a_file_too_large_for_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 2**25)
    path = tmp_path / "a.npz"
    many = replaced(batch=np.zeros((1, 1, 2**10, 34 * 2**10), np.uint8))
    np.savez_compressed(path, **many)
    assert path.stat().st_size < 2**18
    tracemalloc.start()
    with pytest.raises(UsageError, match=r"would take 34 MiB, more than the 32 that"):
        read_artifacts(path)
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


def test_names_that_control_a_terminal_are_escaped(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **replaced(class_names=np.array(["a\x1b[2J", "b\nall PASS", "ä"])))
    assert list(read_artifacts(path).class_names) == ["a\\x1b[2J", "b\\nall PASS", "ä"]


def replaced(**changes):
    """The arrays of a good file with some of them exchanged; None leaves one out."""
    whole = artifacts()
    arrays = {"version": 1, "digest": whole.digest, "class_names": whole.class_names}
    arrays |= {**vars(whole.mistakes), **vars(whole.warps), **changes}
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": 2}, "of version 1"),
        ({"version": None}, "of version 1"),
        ({"digest": None}, "digest is missing"),
        ({"class_names": None}, "class_names is missing"),
        ({"first_mistakes": np.array([[0, 0, 9, 0.5]] * 2)}, "first_mistakes names a class"),
        ({"theta": np.zeros((9, 0))}, "theta is empty"),
        ({"grid": None}, "grid is missing"),
        ({"mood": np.zeros(3)}, "'mood' is unknown"),
        ({"batch": np.zeros((2, 1, 4, 5))}, "batch is float64 with 4 axes"),
        ({"batch_labels": np.zeros((2, 2), int)}, "batch_labels is int64 with 2 axes"),
        ({"batch_labels": np.array([0, 99])}, "batch_labels names a class that does not exist"),
        ({"theta_labels": np.array([-1])}, "theta_labels, outside, .* differ in length"),
        ({"film_epochs": np.array([0])}, "film, film_epochs differ in length"),
        ({"calibration": np.zeros((3, 2))}, "calibration has 2 columns, not 3"),
    ],
)
def test_foreign_arrays_are_named(tmp_path, changes, complaint):
    path = tmp_path / "a.npz"
    np.savez(path, **replaced(**changes))
    with pytest.raises(UsageError, match=complaint) as told:
        read_artifacts(path)
    assert str(path) in str(told.value)


def test_every_array_is_checked():
    from stn_core.session.artifacts import _KINDS

    fields = [field.name for part in (Mistakes, WarpPictures) for field in dataclasses.fields(part)]
    assert set(_KINDS) == {"version", "digest", "class_names", *fields}
