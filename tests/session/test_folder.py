"""A folder is one session's at a time, and the sessions number themselves."""

import os
import re
import subprocess
import sys

import pytest

from stn_core.errors import UsageError
from stn_core.session.beats import Beat, read_beats, write_beat
from stn_core.session.file_names import BEATS_FOLDER, LOCK_FILE, PLAN_FILE, RECORDS_FILE
from stn_core.session.folder import (
    claim_folder,
    discard_folder,
    hold_folder,
    hold_if_free,
    next_number,
    session_folders,
)
from tests.platforms import needs_posix_signals


def planned(folder, number=None):
    folder.mkdir(parents=True)
    text = "{}" if number is None else f'{{\n "number": {number},\n "command": []}}'
    (folder / PLAN_FILE).write_text(text)


def names(results):
    return [folder.name for folder in session_folders(results)]


def test_the_last_session_is_the_one_with_the_highest_number_whatever_the_clock_said(tmp_path):
    planned(tmp_path / "2026-01-03_00-00-00", 1)
    planned(tmp_path / "2026-01-02_00-00-00", 3)  # the clock had been set back
    planned(tmp_path / "2026-01-04_00-00-00", 2)
    for seconds, folder in enumerate(sorted(tmp_path.iterdir()), start=1):
        os.utime(folder / PLAN_FILE, (seconds, seconds))
    assert names(tmp_path) == ["2026-01-02_00-00-00", "2026-01-04_00-00-00", "2026-01-03_00-00-00"]
    assert next_number(tmp_path) == 4


def test_sessions_without_a_number_are_ordered_by_name(tmp_path):
    for name in ("2026-01-02_03-04-05", "2026-01-02_03-04-05_9", "2026-01-02_03-04-05_10"):
        planned(tmp_path / name)
    (tmp_path / "2026-01-01_00-00-00").mkdir()
    (tmp_path / "2026-01-01_00-00-00" / RECORDS_FILE).touch()
    (tmp_path / "no session").mkdir()
    assert names(tmp_path) == [
        "2026-01-02_03-04-05_10",
        "2026-01-02_03-04-05_9",
        "2026-01-02_03-04-05",
        "2026-01-01_00-00-00",
    ]
    assert session_folders(tmp_path / "nowhere") == []
    assert (next_number(tmp_path), next_number(tmp_path / "nowhere")) == (1, 1)


def test_a_folder_in_use_is_refused_in_one_line_and_free_when_its_session_ends(tmp_path):
    lock = hold_folder(tmp_path)
    line = f"{tmp_path}: another session is running in it; wait for its end, or stop it"
    with pytest.raises(UsageError, match=f"^{re.escape(line)}$"):
        hold_folder(tmp_path)
    lock.release()
    hold_folder(tmp_path).release()


def test_a_folder_is_held_in_place_of_a_process_that_died_and_of_no_other(tmp_path):
    unfinished = tmp_path / f"table.md.{'0' * 32}.tmp"
    lock = hold_folder(tmp_path)
    unfinished.touch()  # by another process of the session
    assert hold_if_free(tmp_path) is None
    lock.release()
    instead = hold_if_free(tmp_path)
    assert instead.is_locked
    assert unfinished.exists()
    instead.release()


@needs_posix_signals
def test_a_killed_session_holds_no_folder(tmp_path):
    code = (
        "import os, pathlib, signal, sys\n"
        "from stn_core.session.folder import hold_folder\n"
        "lock = hold_folder(pathlib.Path(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    left = tmp_path / "artifacts" / f"a.npz.{'0' * 32}.tmp"
    left.parent.mkdir()
    left.touch()
    (tmp_path / "notes.tmp").touch()
    write_beat(tmp_path / BEATS_FOLDER, Beat("smoke/digits/cnn", seed=0, epoch=3, epochs=10))
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert process.returncode < 0
    hold_folder(tmp_path).release()
    assert not left.exists()
    assert read_beats(tmp_path / BEATS_FOLDER) == []  # else the live line counts its runs for ever
    assert (tmp_path / "notes.tmp").exists()


def test_a_folder_that_is_gone_is_not_made_again(tmp_path):
    with pytest.raises(UsageError, match="there is no results folder"):
        hold_folder(tmp_path / "gone")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_discarded_with_its_lock_and_not_with_what_somebody_put_there(tmp_path):
    for name in ("empty", "full"):
        folder = claim_folder(tmp_path / name)
        hold_folder(folder).release()
        (folder / LOCK_FILE).touch()
    (tmp_path / "full" / "notes").touch()
    discard_folder(tmp_path / "empty", with_parent=True)
    discard_folder(tmp_path / "full", with_parent=True)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert (tmp_path / "full" / LOCK_FILE).exists()  # it may be in use
