"""What others have published, judged from what is stored; --train measures what is missing.

    pytest benchmarks/test_claims.py -m claims
    pytest benchmarks/test_claims.py -m claims -k epochs-ahead --train --data-root ~/data -n 2

A claim that is open, or does not hold, is a finding and no failure. What fails is an entry of the
file that is wrong, and a run that cannot be trained.
"""

from pathlib import Path

import pytest

from stn_core.errors import UsageError

CLAIMS = Path(__file__).with_name("claims.toml")

pytestmark = pytest.mark.claims


@pytest.fixture(scope="module")
def claims(request):
    """The claims of the file; at the end the table and the pages go into the results folder."""
    session = claims_session(request.config)
    yield session
    complaint = ""
    try:
        session.write(request.node.nodeid)
    except UsageError as error:
        complaint = str(error)
    if complaint:
        pytest.fail(complaint, pytrace=False)


def claims_session(config):
    # Statistics take a second to import, and every session of the benchmarks collects this file.
    from stn_core.suite.claims_session import ClaimsSession

    return ClaimsSession(config, CLAIMS)


def pytest_generate_tests(metafunc):
    """Every entry of the file, where claims are asked for."""
    if "claims" not in metafunc.config.getoption("-m"):
        metafunc.parametrize("entry", [])
        return
    try:
        entries = claims_session(metafunc.config).entries
    except UsageError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    metafunc.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in entries])


def test_claim(entry, claims, record_property):
    complaint = entry.complaint
    if not complaint:
        try:
            not_started = claims.train(entry.claim)
            findings = claims.findings(entry.claim)
        except UsageError as error:
            complaint = str(error)
    if complaint:  # outside of the handler, so that it alone is shown
        pytest.fail(complaint, pytrace=False)
    for way, finding in findings.items():
        record_property(way, finding)
    if not_started:  # --minutes is over: runs are missing, and none of them failed
        pytest.skip(not_started)
