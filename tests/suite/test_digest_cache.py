"""Digests of sessions that passed here, and what they settle."""

import json

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
