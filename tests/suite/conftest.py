"""Every session under test has a folder, models and an environment of its own."""

import os

import pytest

from tests.suite.sessions import MODELS, TEST, command


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """No setting of the user's, and no page of a job that runs the tests, reaches the sessions."""
    for name in [name for name in os.environ if name.startswith("STN_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def bench(pytester):
    """Run a session of the suite in a fresh folder; the arguments are pytest's."""
    pytester.makepyfile(my_models=MODELS, test_bench=TEST)
    pytester.makeini("[pytest]\n")

    def run(*arguments):
        return pytester.run(*command(*arguments), timeout=120)

    return run
