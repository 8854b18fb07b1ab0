"""A TOML file is read as it is written, and what is wrong with one is a line that names it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stn_core.errors import UsageError
from stn_core.session.toml_files import read_toml
from tests.platforms import needs_named_pipes


def test_its_tables_are_those_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('[[cell]]\nmodel = "stn"\nsize = [4, 5.5]\nname = "ß"\n', encoding="utf-8")
    assert read_toml(path) == {"cell": [{"model": "stn", "size": [4, 5.5], "name": "ß"}]}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read {path}: No such file or directory"),
        (b"[[cell]", "{path} is not TOML: "),
        (b"a = " + b"[" * 5000, "{path} is nested too deeply"),
        (b"a = 1\na = 2", "{path} is not TOML: "),
        (b"a = '\xff'", "{path} is not TOML: "),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_toml(path)
    assert str(caught.value).startswith(complaint.format(path=path))


@needs_named_pipes
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    os.mkfifo(path)
    with pytest.raises(UsageError, match="is not a regular file"):
        read_toml(path)
