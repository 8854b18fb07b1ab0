"""A link whose target is missing is not an empty file: it is an error of one line."""

import pytest

from stn_core.errors import UsageError
from stn_core.gate.baseline_updates import update_baselines
from stn_core.gate.baselines import read_baselines
from stn_core.gate.digests import read_digests
from stn_core.session.evidence import add_evidence, read_evidence
from stn_core.session.file_names import RECORDS_FILE
from stn_core.session.records import read_records
from stn_core.session.store import SessionStore
from stn_core.session.toml_files import read_toml
from tests.examples import record

READERS = {
    "records": read_records,
    "evidence": read_evidence,
    "evidence to add to": lambda path: add_evidence(path, [record()]),
    "digests": read_digests,
    "baselines": read_baselines,
    "baselines to update": lambda path: update_baselines(path, []),
    "TOML": read_toml,
}


@pytest.mark.parametrize("target", ["gone", "file"])  # the second is a link to itself
@pytest.mark.parametrize("reader", READERS)
def test_a_link_whose_target_is_missing_is_named(tmp_path, reader, target):
    path = tmp_path / "file"
    path.symlink_to(target)
    with pytest.raises(UsageError, match=f"^{path} is a link to {target}, which cannot be found"):
        READERS[reader](path)
    assert path.is_symlink()


def test_records_that_cannot_be_opened_are_a_one_line_error(tmp_path):
    (tmp_path / RECORDS_FILE).mkdir()
    with pytest.raises(UsageError, match=f"^cannot read .*{RECORDS_FILE}: Is a directory$"):
        read_records(tmp_path / RECORDS_FILE)
    with pytest.raises(UsageError, match=f"^{tmp_path} holds no results: cannot read .*directory$"):
        SessionStore(tmp_path).whole_records()
