"""Digests of sessions that passed here: what they settle, and what old and damaged caches do."""

import json
import re

import pytest

from tests.suite.sessions import GATE, commit, select

pytest_plugins = ["pytester"]


def test_digests_of_the_main_branch_settle_a_cell(bench, pytester):
    cache = ("--digest-cache", "digests.json")
    measured = bench(*select("tiny"), "--update-baselines", "--seeds", "2")
    assert measured.ret == 0
    path = pytester.path / "baselines.json"
    stored = json.loads(path.read_text())
    for number, run in enumerate(stored["cells"]["smoke/digits/tiny"]["runs"]):
        run["digest"] = f"of another machine {number}"
    path.write_text(json.dumps(stored))

    main = bench(*select("tiny"), *cache, "--update-digests")
    assert main.ret == 0
    main.stdout.fnmatch_lines(["digests written to *digests.json", "1 cell, * run*: 1 PASS*"])
    change = bench(*select("tiny"), *cache)
    change.stdout.fnmatch_lines(["1 cell, 1 run: 1 PASS (identical)*"])
    looked = bench(*select("tiny"), *cache, "--no-identical")
    looked.stdout.fnmatch_lines(["1 cell, * run*: 1 PASS;*"])
    stricter = bench(*select("tiny"), *cache, "--min-drop", "0.2")
    stricter.stdout.fnmatch_lines(["1 cell, * run*: 1 PASS;*"])


def test_cells_that_passed_are_remembered_though_another_failed(bench, pytester):
    cache = ("--digest-cache", "digests.json")
    assert bench(*select("tiny"), "--update-baselines", "--seeds", "2").ret == 0
    path = pytester.path / "baselines.json"
    path.write_text(re.sub(r'"digest": "\w', '"digest": "other ', path.read_text()))
    failed = bench(*select("tiny", "fragile"), *cache, "--update-digests")
    assert failed.ret == 1
    failed.stdout.fnmatch_lines(["digests written to *", "2 cells, *: 1 CRASHED, 1 PASS;*"])
    again = bench(*select("tiny", "fragile"), *cache)
    again.stdout.fnmatch_lines(["2 cells, *: 1 CRASHED, 1 PASS (identical);*"])


@pytest.mark.nightly
def test_a_selection_is_not_remembered_by_a_session_of_more_cells(bench, pytester):
    """Their groups would never be judged."""
    cache = ("--digest-cache", "digests.json")
    both = ("--dataset", "digits", "--model", "tiny,tiny_that_warns")
    assert bench(*both, "--update-baselines", "--seeds", "2").ret == 0
    path = pytester.path / "baselines.json"
    path.write_text(re.sub(r'"digest": "\w', '"digest": "other ', path.read_text()))
    bench(*both, "-k", "tiny]", *cache, "--update-digests").stdout.fnmatch_lines(["1 cell, *"])
    again = bench(*both, "-k", "tiny]", *cache)
    again.stdout.fnmatch_lines(["1 cell, 1 run: 1 PASS (identical)*"])
    bench(*both, *cache, "--update-digests").stdout.fnmatch_lines(["2 cells, * runs: 2 PASS;*"])
    bench(*both, *cache).stdout.fnmatch_lines(["2 cells, 2 runs: 2 PASS (identical)*"])


def test_nothing_is_remembered_of_a_dirty_checkout(bench, pytester):
    bench(*select("tiny"), "--update-baselines", "--seeds", "2")
    commit(pytester.path)
    (pytester.path / "test_bench.py").write_text(GATE + "\n")
    dirty = bench(*select("tiny"), "--digest-cache", "digests.json", "--update-digests")
    assert dirty.ret == 0
    dirty.stdout.fnmatch_lines(["*digests.json was not updated: the checkout has uncommitted *"])
    assert not (pytester.path / "digests.json").exists()


def test_a_damaged_digest_cache_is_refused_in_one_line(bench, pytester):
    (pytester.path / "digests.json").write_text("{")
    refused = bench(*select("tiny"), "--digest-cache", "digests.json")
    assert refused.ret != 0
    refused.stdout.fnmatch_lines(["*digests.json*; delete it*"])
    refused.stdout.no_fnmatch_line("*Traceback*")


def test_a_cache_of_an_older_version_counts_as_empty_and_says_so(bench, pytester):
    (pytester.path / "digests.json").write_text('{"version": 2, "digests": {}}')
    planned = bench(*select("tiny"), "--digest-cache", "digests.json", "--plan")
    assert planned.ret == 0
    planned.stdout.fnmatch_lines(["*digests.json is a digest cache of an older version and *"])
