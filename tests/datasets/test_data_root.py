"""Looking into the data folder: files and folders told apart, and nothing there is no error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stn_core.datasets.data_root import data_folder, is_file, is_folder
from stn_core.errors import UsageError


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


def test_a_folder_may_be_named_from_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert data_folder("~/data") == tmp_path / "data"
    assert data_folder(None) is None
