"""Kept copies: found again as they were, made again when anything changed, never a condition."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stn_core.datasets.sources.decoded import (
    DAYS_KEPT,
    Arrays,
    Layout,
    Tensors,
    cache_folder,
    decoded_once,
    filled_once,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"encoded")
    return path


def content(seed: int = 0) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (3, 2, 4, 5), dtype=torch.uint8, generator=generator)
    return {"images": images, "labels": torch.arange(3)}


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def must_not_decode() -> Tensors:
    raise AssertionError("was decoded again")


def kept(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_a_copy_is_decoded_once_and_found_again(source: Path, cache: Path) -> None:
    assert same(decoded_once("set", [source], "as it is", content), content())
    assert same(decoded_once("set", [source], "as it is", must_not_decode), content())
    (path,) = kept(cache)
    assert path.name.startswith("set-")


def _as_if_unused_for_long(path: Path) -> None:
    then = time.time() - (DAYS_KEPT + 1) * 24 * 60 * 60
    os.utime(path, (then, then))


def test_a_copy_that_nobody_used_for_long_is_deleted_when_another_is_made(
    source: Path, cache: Path
) -> None:
    decoded_once("unused", [source], "as it is", content)
    decoded_once("used", [source], "as it is", content)
    for path in kept(cache):
        _as_if_unused_for_long(path)
    decoded_once("used", [source], "as it is", must_not_decode)
    decoded_once("new", [source], "as it is", content)
    assert [path.name.split("-")[0] for path in kept(cache)] == ["new", "used"]
    _as_if_unused_for_long(kept(cache)[0])
    layout: Layout = {"numbers": ("U8", (2,))}
    filled_once("filled", [source], "as it is", layout, lambda arrays: arrays["numbers"].fill(1))
    assert [path.name.split("-")[0] for path in kept(cache)] == ["filled", "used"]


def _other_size(source: Path) -> Path:
    state = source.stat()
    source.write_bytes(b"encoded otherwise")
    os.utime(source, ns=(state.st_atime_ns, state.st_mtime_ns))
    return source


def _other_time(source: Path) -> Path:
    state = source.stat()
    os.utime(source, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))
    return source


def _other_place(source: Path) -> Path:
    state = source.stat()
    other = source.with_name("other")
    other.write_bytes(source.read_bytes())
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    return other


@pytest.mark.parametrize("change", [_other_size, _other_time, _other_place])
def test_a_changed_source_is_decoded_again(source: Path, change: Callable[[Path], Path]) -> None:
    decoded_once("set", [source], "as it is", content)
    changed = change(source)
    assert same(decoded_once("set", [changed], "as it is", lambda: content(1)), content(1))


def test_another_reading_is_another_copy(source: Path) -> None:
    decoded_once("set", [source], "as it is", content)
    assert same(decoded_once("set", [source], "halved", lambda: content(1)), content(1))
    assert same(decoded_once("set", [source], "as it is", must_not_decode), content())


def test_two_processes_at_once_leave_a_sound_copy(source: Path) -> None:
    def decode_while_another_does() -> Tensors:
        decoded_once("set", [source], "as it is", content)
        return content()

    assert same(decoded_once("set", [source], "as it is", decode_while_another_does), content())
    assert same(decoded_once("set", [source], "as it is", must_not_decode), content())


def test_threads_at_once_leave_a_sound_copy(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    threads = 4
    together = threading.Barrier(threads, timeout=60)

    def save_in_two_parts(tensors: Tensors, path: Path, metadata: dict[str, str]) -> None:
        whole = safetensors.torch.save(dict(tensors), metadata)
        with path.open("wb") as file:
            file.write(whole[:50])
            file.flush()
            together.wait()
            file.write(whole[50:])
        together.wait()

    monkeypatch.setattr("safetensors.torch.save_file", save_in_two_parts)
    with ThreadPoolExecutor(threads) as pool, caplog.at_level(logging.WARNING):
        made = [
            pool.submit(decoded_once, "set", [source], "as it is", content) for _ in range(threads)
        ]
        assert all(same(each.result(), content()) for each in made)
    assert caplog.text == ""
    assert same(decoded_once("set", [source], "as it is", must_not_decode), content())
    assert len(kept(cache)) == 1


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_copy_is_made_again(source: Path, cache: Path, data: st.DataObject) -> None:
    decoded_once("set", [source], "as it is", content)
    (path,) = kept(cache)
    sound = path.read_bytes()
    place = data.draw(st.integers(0, len(sound) - 1), label="place")
    flip = data.draw(st.integers(0, 255), label="flip")  # 0: the file ends here
    changed = bytes([sound[place] ^ flip]) + sound[place + 1 :] if flip else b""
    path.write_bytes(sound[:place] + changed)
    assert same(decoded_once("set", [source], "as it is", content), content())
    assert same(decoded_once("set", [source], "as it is", must_not_decode), content())


def test_nothing_in_a_copy_is_unpickled(source: Path, cache: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "exploded",))

    decoded_once("set", [source], "as it is", content)
    (path,) = kept(cache)
    torch.save(Bomb(), path)
    assert same(decoded_once("set", [source], "as it is", content), content())
    assert not (tmp_path / "exploded").exists()


def _file_in_its_place(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_bytes(b"")


def _full_disk(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fill)


@pytest.mark.parametrize("defect", [_file_in_its_place, _full_disk])
def test_a_copy_that_cannot_be_written_is_reported_and_the_images_are_used_without_it(
    source: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    defect: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    defect(cache, monkeypatch)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert same(decoded_once("set", [source], "as it is", content), content())
        assert "could not be written" in caplog.text
    assert [path for path in kept(cache) if path.stat().st_size] == []


def test_without_a_home_nothing_is_kept(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    for variable in ("STN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert cache_folder() is None
    assert same(decoded_once("set", [source], "as it is", content), content())


def test_a_cache_in_an_unknown_users_home_is_reported_once(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STN_CACHE", "~nobody-of-that-name/cache")
    with caplog.at_level(logging.WARNING):
        assert same(decoded_once("set", [source], "as it is", content), content())
    (record,) = caplog.records
    assert "STN_CACHE is ~nobody-of-that-name/cache" in record.getMessage()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is another folder")
def test_the_folder_is_the_users_own_unless_another_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "stn_core"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" / "stn_core"
    monkeypatch.setenv("STN_CACHE", "here")
    assert cache_folder() == Path("here")


LAYOUT: Layout = {"images": ("U8", (3, 2, 4, 5)), "labels": ("I64", (3,))}


def fill(arrays: Arrays) -> None:
    for name, tensor in content().items():
        arrays[name][:] = tensor.numpy()


def must_not_fill(arrays: Arrays) -> None:
    raise AssertionError("was filled again")


def test_a_copy_is_filled_once_in_place(source: Path, cache: Path) -> None:
    assert same(filled_once("set", [source], "as it is", LAYOUT, fill), content())
    assert same(filled_once("set", [source], "as it is", LAYOUT, must_not_fill), content())
    (path,) = kept(cache)
    assert same(safetensors.torch.load_file(path), content())


def test_a_damaged_copy_is_filled_again(source: Path, cache: Path) -> None:
    filled_once("set", [source], "as it is", LAYOUT, fill)
    (path,) = kept(cache)
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    assert same(filled_once("set", [source], "as it is", LAYOUT, fill), content())


def test_on_a_full_disk_the_arrays_are_in_memory(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert same(filled_once("set", [source], "as it is", LAYOUT, fill), content())
    assert "No space left on device" in caplog.text
    assert kept(cache) == []


def test_a_failure_while_a_copy_is_written_leaves_nothing(source: Path, cache: Path) -> None:
    with pytest.raises(AssertionError):
        filled_once("set", [source], "as it is", LAYOUT, must_not_fill)
    assert kept(cache) == []
