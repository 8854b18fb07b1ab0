"""Looking into the data folder: files and folders told apart, and nothing there is no error."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stn_core.datasets import load_dataset
from stn_core.datasets.data_root import data_folder, is_file, is_folder, state_of
from stn_core.errors import UsageError
from tests.datasets.noise import complaint, write_folder


def test_files_folders_and_missing_paths_are_distinguished(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path, kinds in (
        (file, (True, False)),
        (tmp_path, (False, True)),
        (tmp_path / "none", (False, False)),
        (file / "below a file", (False, False)),
        (tmp_path / "no\0name", (False, False)),
    ):
        assert (is_file(path), is_folder(path)) == kinds


@pytest.mark.parametrize("look", [is_file, is_folder])
def test_a_path_that_cannot_be_read_is_a_one_line_error(
    tmp_path: Path, look: Callable[[Path], bool]
) -> None:
    path = tmp_path / ("long" * 100)
    with pytest.raises(UsageError) as caught:
        look(path)
    assert str(caught.value) == f"{path} cannot be read: File name too long"


@pytest.mark.parametrize("unlisted", [".", "EMNIST", "EMNIST/raw"])
def test_a_data_root_that_may_not_be_listed_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unlisted: str
) -> None:
    write_folder(tmp_path / "mine", {"a": 12, "b": 12})
    (tmp_path / "EMNIST" / "raw").mkdir(parents=True)
    listed = Path.iterdir

    def iterdir(folder: Path) -> Iterator[Path]:
        if folder == tmp_path / unlisted:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)  # root may list every folder
    assert (
        complaint(tmp_path, "yours") == f"{tmp_path / unlisted} cannot be read: Permission denied"
    )
    assert load_dataset("mine", tmp_path).class_names == ("a", "b")


def test_two_folders_whose_names_differ_in_case_are_told_apart_by_the_exact_name(
    tmp_path: Path,
) -> None:
    for seed, name in enumerate(("Mine", "MINE")):
        write_folder(tmp_path / name, {"a": 12, "b": 12}, seed=seed)
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system ignores case")
    said = f"{tmp_path}: the folders MINE and Mine may both be mine; rename one"
    assert complaint(tmp_path, "mine") == said
    hashes = [load_dataset(name, tmp_path).hash for name in ("Mine", "MINE")]
    assert len(set(hashes)) == 2


def test_the_state_of_a_data_root_changes_with_its_files(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    file = root / "a" / "1.npz"
    for folder in (file.parent, elsewhere):
        folder.mkdir(parents=True)
    file.write_bytes(b"one")
    (root / "linked").symlink_to(elsewhere)
    (root / "round").symlink_to(root)
    (root / "broken").symlink_to(tmp_path / "none")
    states = [state_of(root)]
    assert state_of(root) == states[0]
    for change in (
        lambda: file.write_bytes(b"longer"),
        lambda: os.utime(file, (1, 1)),
        lambda: (elsewhere / "2.npz").touch(),
        lambda: file.rename(root / "1.npz"),
    ):
        change()
        states.append(state_of(root))
    assert len(set(states)) == 5
    assert state_of(tmp_path / "none") != state_of(tmp_path / "other")


def test_a_folder_may_be_named_from_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert data_folder("~/data") == tmp_path / "data"
    assert data_folder(None) is None
