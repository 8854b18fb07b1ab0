"""CIFAR-10's pickled batches: damage is named, and no code of the files' choosing runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stn_core.datasets.sources.cifar_batches import read_batches
from stn_core.errors import UsageError
from tests.datasets.sources.test_cifar10 import (
    _string,
    _zeros,
    batch,
    complaint,
    images,
    write_batches,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))


DEFECTS = {
    "nothing": (b"", "Ran out of input"),
    "no pickle": (b"a batch", "is damaged or not a batch"),
    "no mapping": (b"\x80\x02](K\x01e.", "is damaged or not a batch"),
    "no images": (
        b"\x80\x02}(" + _string(b"labels") + b"](K\x01euK\x01.",
        "is damaged or not a batch",
    ),
    "a number for images": (
        b"\x80\x02}(" + _string(b"labels") + b"](K\x01e" + _string(b"data") + b"K\x01u.",
        "is damaged or not a batch",
    ),
    "grey images": (batch(_zeros(2, 1024), [0, 1]), "images are of shape (2, 1024)"),
    "no image": (batch(_zeros(0), []), "images are of shape (0, 3072)"),
    "floats": (batch(_zeros(2, dtype="<f4"), [0, 1]), "images are b'<f4', not bytes"),
    "fewer labels": (batch(_zeros(2), [0]), "int64 (1,) labels of 2 images"),
    "label above": (batch(_zeros(2), [0, 10]), "label 10 is out of range, 0 to 9"),
    "label below": (batch(_zeros(2), [-1, 0]), "label -1 is out of range, 0 to 9"),
}


@pytest.mark.parametrize(("content", "said"), DEFECTS.values(), ids=DEFECTS)
@pytest.mark.parametrize("name", ["data_batch_4", "test_batch"])
def test_a_damaged_batch_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = write_batches(tmp_path) / name
    path.write_bytes(content)
    message = complaint(tmp_path)
    assert said in message
    assert str(path) in message
    assert "--download" in message


@given(data=st.data())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_batch_is_damaged_wherever_it_ends(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "data_batch_1"
    content = batch(images(3, 0).reshape(3, -1), [0, 1, 2])
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(UsageError, match="is damaged or not a batch of CIFAR-10"):
        read_batches([path])


@pytest.mark.parametrize(
    "call",
    [
        b"cos\nsystem\n" + _string(b"touch exploded") + b"\x85R",
        b"cbuiltins\neval\n" + _string(b"open('exploded', 'w')") + b"\x85R",
        b"cnumpy\nload\n" + _string(b"exploded") + b"\x85R",
        b"(" + _string(b"touch exploded") + b"ios\nsystem\n",
        b"cnumpy.core.multiarray\nscalar\n" + _string(b"x") + b"\x85R",
    ],
    ids=["os.system", "eval", "numpy.load", "INST", "numpy scalar"],
)
def test_no_code_of_the_files_choosing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "test_batch"
    path.write_bytes(batch(_zeros(2), [0, 1], extra=_string(b"filenames") + call))
    with pytest.raises(UsageError, match="which no batch does"):
        read_batches([path])
    assert not (tmp_path / "exploded").exists()


def test_allowed_names_in_a_batch_are_not_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "test_batch"
    path.write_bytes(batch(_zeros(2), [0, 1]))
    monkeypatch.setattr("numpy.ndarray", lambda *_: pytest.fail("numpy's array was made"))
    monkeypatch.setattr("numpy.dtype", lambda *_: pytest.fail("numpy's dtype was made"))
    assert read_batches([path]).labels.tolist() == [0, 1]
