"""Sessions are found by when they ran, whatever their folders are called."""

import os

from stn_core.report.session import session_folders
from stn_core.session.file_names import PLAN_FILE, RECORDS_FILE


def test_the_newest_session_is_the_one_that_ran_last(tmp_path):
    for time, place in ((30, f"a/{RECORDS_FILE}"), (20, f"z/{PLAN_FILE}"), (10, f"m/{PLAN_FILE}")):
        file = tmp_path / place
        file.parent.mkdir()
        file.touch()
        os.utime(file, (time, time))
    (tmp_path / "m" / RECORDS_FILE).touch()  # now: it was resumed
    (tmp_path / "no session").mkdir()
    assert [folder.name for folder in session_folders(tmp_path)] == ["m", "a", "z"]
    assert session_folders(tmp_path / "nowhere") == []
