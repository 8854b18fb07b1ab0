"""Files written in one piece: whole or not at all."""

import os
from pathlib import Path

import pytest
import torch

from stn_core import UsageError
from stn_core.atomic_files import (
    append_text,
    is_unfinished,
    read_tensors,
    remove_unfinished,
    replaced_at_once,
    write_at_once,
    write_output,
    write_tensors,
)


def test_writing_replaces_the_whole_text(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    for text in ("old\n", "new: ä\n"):
        write_at_once(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_file_gets_its_folder_or_a_one_line_error(tmp_path: Path) -> None:
    write_output(tmp_path / "new" / "page.html", "page")
    assert (tmp_path / "new" / "page.html").read_text() == "page"
    inside_a_file = tmp_path / "new" / "page.html" / "other.html"
    with pytest.raises(UsageError, match=r"^cannot write .*other\.html: (File|Not)"):
        write_output(inside_a_file, "page")


def test_a_link_stays_one_and_what_it_names_is_written(tmp_path: Path) -> None:
    kept, link = tmp_path / "shared" / "file.txt", tmp_path / "file.txt"
    kept.parent.mkdir()
    kept.write_text("old")
    link.symlink_to(kept)
    left = tmp_path / "shared" / f"file.txt.{'0' * 32}.tmp"
    left.touch()
    remove_unfinished(link)
    write_at_once(link, "new")
    assert link.is_symlink()
    assert kept.read_text() == "new"
    assert [path.name for path in kept.parent.iterdir()] == ["file.txt"]


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with replaced_at_once(path) as unfinished:
        unfinished.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_an_interrupted_write_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def fill_the_disk() -> None:
        with replaced_at_once(path) as unfinished:
            unfinished.write_bytes(b"half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_the_disk()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_at_once_do_not_meet(tmp_path: Path) -> None:
    # As two threads do, or two containers, whose processes have the same number.
    path = tmp_path / "file.txt"
    with replaced_at_once(path) as first:
        first.write_text("first, the lo")
        with replaced_at_once(path) as second:
            second.write_text("second")
            with first.open("a") as more:
                more.write("nger one")
        assert path.read_text() == "second"
    assert path.read_text() == "first, the longer one"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_it_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "file.txt", []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        assert not path.exists()
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_at_once(path, "text")
    assert synced == [4]


def test_a_files_permissions_follow_the_users_umask(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("")
    write_at_once(tmp_path / "file.txt", "")
    write_tensors(tmp_path / "file.safetensors", {"a": torch.zeros(2)})
    names = ("plain.txt", "file.txt", "file.safetensors")
    assert len({(tmp_path / name).stat().st_mode for name in names}) == 1


def test_characters_without_an_encoding_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_at_once(path, "half \ud83d of ä\n")
    append_text(path, "\udcff\n")
    assert path.read_text(encoding="utf-8") == "half \\ud83d of ä\n\\udcff\n"


def test_only_unfinished_files_of_a_killed_writer_are_removed(
    tmp_path: Path,
) -> None:
    names = ["file.json", "file.json.tmp", "file.json.notes.tmp", "fileXjson." + "0" * 32 + ".tmp"]
    for name in names:
        (tmp_path / name).write_text("the user's")
    killed = replaced_at_once(tmp_path / "file.json").__enter__()
    killed.write_text("half of i")
    assert [is_unfinished(name) for name in names] == [False, False, False, True]
    assert is_unfinished(killed.name)
    assert is_unfinished(f"?? folder/{killed.name}")
    remove_unfinished(tmp_path / "file.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize("quick", [False, True])
def test_tensors_come_back_with_their_document(tmp_path: Path, quick: bool) -> None:
    path = tmp_path / "new folder" / "file.safetensors"
    weights = torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last)
    tensors = {"weights": weights, "same": weights, "scalar": torch.tensor(True)}
    write_tensors(path, tensors, {"epoch": 3}, quick=quick)
    found, document = read_tensors(path)
    assert document == {"epoch": 3}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("changed", [b"epoch", b"\x00\x00\x80?"])
def test_a_change_of_tensors_or_document_is_noticed(
    tmp_path: Path, quick: bool, changed: bytes
) -> None:
    path = tmp_path / "file.safetensors"
    write_tensors(path, {"weights": torch.ones(3)}, {"epoch": 3}, quick=quick)
    content = path.read_bytes()
    assert changed in content
    path.write_bytes(content.replace(changed, bytes(reversed(changed)), 1))
    with pytest.raises(ValueError, match="not what its checksum says"):
        read_tensors(path)
