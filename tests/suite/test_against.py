"""Another commit trained beside the working tree, in a repository of the test's own."""

import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest

from stn_core import Budget, Recipe, register_budget
from stn_core.engines import reference
from stn_core.errors import UsageError
from stn_core.session import budgets
from stn_core.suite.process_context import context_of
from stn_core.suite.reference_side import ReferenceSide, keep_for_comparisons
from stn_core.suite.session_options import read_options
from stn_core.suite.worktree import (
    add_worktree,
    find_commit,
    reference_code,
    remove_worktree,
    worktree_of,
)
from tests.examples import CELL, DATA_HASH, environment, record
from tests.suite.sessions import GATE, commit, git, select
from tests.suite.test_other_repository import MODELS
from tests.suite.test_other_repository import repository as repository

pytest_plugins = ["pytester"]


@pytest.fixture
def compare(pytester, run_here, repository):
    def run(*arguments):
        options = ("--device", "scope", "--stn-device", "cpu", "--stn-no-report", *arguments)
        return pytester.run(sys.executable, "-m", "pytest", "gate", *options, timeout=600)

    return run


@pytest.mark.nightly
def test_unchanged_code_is_identical_and_worse_code_fails(compare, repository):
    cache = f"--stn-against-cache={repository / 'results' / 'cache'}"
    same = compare("--stn-against", "HEAD", cache, "-n", "1")
    assert same.ret == 0
    same.stdout.fnmatch_lines(
        [
            "The cell passes.",
            "compared with HEAD (????????????)",
            "1 cell, 1 run: 1 PASS (identical)*",
        ]
    )
    worktrees = git(repository, "worktree", "list").splitlines()
    assert len(worktrees) == 1

    (kept,) = repository.glob("results/cache/*.jsonl")
    assert len(kept.read_text().splitlines()) == 1
    models = repository / "acme" / "models.py"
    models.write_text(MODELS.replace("KERNEL_SIZE = 3", "KERNEL_SIZE = 1"))  # sees no direction
    worse = compare("--stn-against", "HEAD", cache)
    assert worse.ret == 1
    worse.stdout.fnmatch_lines(
        [
            "REGRESSED  acme_commit/acme_stripes/acme_net: *points lost*",
            "compared with HEAD (*): the working tree, with its uncommitted changes",
            "1 cell,*: 1 REGRESSED*",
        ]
    )
    seeds = [json.loads(line)["seed"] for line in kept.read_text().splitlines()]
    assert len(seeds) == len(set(seeds)) >= 3  # the first came from the cache
    kept.write_text(kept.read_text().replace('"version": 1', '"version": 99'))
    refused = compare("--stn-against", "HEAD", cache)
    refused.stdout.fnmatch_lines(["--stn-against-cache: *delete the file*"])
    assert refused.ret != 0


@pytest.mark.nightly
def test_workers_that_find_nothing_to_run_leave_no_files_of_the_commit(compare, repository):
    nothing = compare("--stn-against", "HEAD", "-n", "1", "-k", "no_such_model")
    assert nothing.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.fixture
def cached(tmp_path):
    """A function that reads a cache of these lines: a side, and the file."""
    commit = "c" * 40
    file = tmp_path / f"{commit}.jsonl"

    def read(*lines):
        file.write_text("\n".join(lines))
        options = SimpleNamespace(against_cache=tmp_path, metrics=())
        side = ReferenceSide(SimpleNamespace(options=options))
        side.commit = commit
        return side.check_cache()

    return read


def test_the_last_run_of_a_seed_counts_and_those_of_other_commits_do_not(tmp_path):
    here, elsewhere = environment(commit="c" * 40), environment(commit="d" * 40)
    runs = [
        record(0, 0.5, environment=here),
        record(1, 0.6, environment=here),
        record(0, 0.7, environment=here),
        record(1, 0.8, environment=elsewhere),
    ]
    lines = [f"{run.to_json()}\n" for run in runs]
    (tmp_path / "reference.jsonl").write_text("".join(lines))
    context = SimpleNamespace(options=SimpleNamespace(results=tmp_path), plan=None)
    side = ReferenceSide(context)
    side.commit, side._version = "c" * 40, "0.1.0"
    side.read()
    assert {run.seed: run.test_accuracy for run in side.records[CELL.key]} == {0: 0.7, 1: 0.6}
    assert len(side.records[CELL.key]) == 2

    lines.append(record(1, None, environment=here, status="crashed", message="a").to_json())
    (tmp_path / "reference.jsonl").write_text("".join(lines))
    for only_good, status in ((False, "crashed"), (True, "ok")):  # which --resume trains again
        side.read(only_good=only_good)
        assert side.records[CELL.key][-1].status == status


@pytest.mark.parametrize(
    "changes",
    [{"data_hash": "of yore"}, {"environment": environment(commit="c" * 40, stn_core="0.0.9")}],
)
def test_runs_from_before_an_upgrade_or_a_change_of_the_data_are_trained_again(tmp_path, changes):
    here = environment(commit="c" * 40)
    runs = [record(0, environment=here), record(1, **{"environment": here, **changes})]
    (tmp_path / "reference.jsonl").write_text("".join(f"{run.to_json()}\n" for run in runs))
    plan = SimpleNamespace(data_hashes={CELL.dataset: DATA_HASH})
    side = ReferenceSide(SimpleNamespace(options=SimpleNamespace(results=tmp_path), plan=plan))
    side.commit, side._version = "c" * 40, "0.1.0"
    side.read()
    assert [run.seed for run in side.records[CELL.key]] == [0]


def test_after_runs_side_by_side_a_single_one_can_be_computed(monkeypatch):
    def side_by_side(code, tasks, processes):
        return iter(tasks)

    monkeypatch.setattr(reference, "run_side_by_side", side_by_side)
    monkeypatch.setattr(reference.Reference, "run", lambda self, tasks: [self._is_closed])
    side = ReferenceSide(SimpleNamespace())
    side._engine = reference.Reference(code=None)
    assert list(side._computed(["one", "other"], 2)) == ["one", "other"]
    assert list(side._computed(["another"], 2)) == [False]


@pytest.fixture
def trained(tmp_path):
    """A function that asks for a run and its metrics in a session of its own: whether the commit's
    code, which knows some metrics, trained it."""
    known = {"macro_auc": 0.9, "invariance": 0.8}

    def ask(*metrics, **changes):
        options = SimpleNamespace(against_cache=tmp_path, metrics=metrics, results=tmp_path / "now")
        plan = SimpleNamespace(data_hashes={CELL.dataset: DATA_HASH})
        side = ReferenceSide(SimpleNamespace(options=options, plan=plan, settings=None))
        side.commit, side._version = "c" * 40, "0.1.0"
        side._environment_key = environment().key()
        here = environment(commit=side.commit)
        asked = []

        def run(tasks):
            asked.extend(tasks)
            measured = {name: known[name] for name in metrics if name in known}
            yield SimpleNamespace(record=record(0, environment=here, metrics=measured, **changes))

        side._engine = SimpleNamespace(run=run)
        options.results.mkdir(exist_ok=True)
        list(side.train([(CELL, 0)]))
        return bool(asked)

    return ask


def test_a_cached_run_that_was_not_asked_for_a_metric_is_trained_again(trained):
    assert trained()
    assert trained("macro_auc")
    assert not trained()
    assert not trained("macro_auc")
    assert trained("macro_auc", "invariance")
    assert not trained("invariance")


def test_a_run_that_failed_is_trained_again_by_the_next_comparison(trained, tmp_path):
    """Memory that ran out once may be there then."""
    fails = {"status": "crashed", "test_accuracy": None, "message": "out of memory"}
    assert trained(**fails)
    assert trained()
    assert not trained()
    (kept,) = tmp_path.glob("c*.jsonl")
    line = kept.read_text().replace('"status": "ok"', '"status": "crashed"')
    kept.write_text(line)  # as earlier versions kept it
    assert trained()


def test_a_metric_that_the_commit_has_no_value_of_is_asked_for_once(trained):
    assert [trained("macro_auc", "of_today") for _ in range(3)] == [True, False, False]
    assert not trained("macro_auc")


def test_a_session_of_a_clean_checkout_leaves_its_runs_for_later_comparisons(bench, pytester):
    commit(pytester.path)
    (pytester.path / "kept").mkdir()
    for _ in range(2):  # in between, what the first one kept does not make the checkout dirty
        assert bench(*select("tiny"), "--seeds", "1", "--against-cache", "kept").ret == 0
    (file,) = pytester.path.glob("kept/*.jsonl")
    (line,) = file.read_text().splitlines()
    assert file.stem == git(pytester.path, "rev-parse", "HEAD").strip()
    (pytester.path / "test_bench.py").write_text(GATE + "\n")
    assert bench(*select("tiny"), "--seeds", "2", "--against-cache", "kept").ret == 0
    assert file.read_text().splitlines() == [line]


def test_runs_that_failed_or_are_of_another_recipe_are_not_kept(tmp_path):
    kept = {"against_cache": tmp_path / "kept", "metrics": ("macro_auc",)}
    options = SimpleNamespace(results=tmp_path, **kept)
    clean = environment(commit="c" * 40, dirty=False)
    fails = {"status": "diverged", "message": "not finite"}
    runs = [record(0, environment=clean), record(1, None, environment=clean, **fails)]
    runs.append(record(2, environment=clean, cell=dataclasses.replace(CELL, is_search=True)))
    (tmp_path / "records.jsonl").write_text("\n".join(run.to_json() for run in runs))
    assert keep_for_comparisons(options) == []
    (file,) = (tmp_path / "kept").glob(f"{'c' * 40}-*.jsonl")
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()] == [0]
    options.against_cache = file
    (said,) = keep_for_comparisons(options)
    assert said.startswith("--against-cache: runs not kept: ")


def test_cached_runs_of_an_older_version_are_left_out_and_said(cached):
    line = record(0).to_json()
    older = line.replace('"version": 1', '"version": 0')
    assert cached(line, line[:-9]) == []
    (said,) = cached(line, older, older)
    assert said.endswith(".jsonl: 2 runs of an older version, left out")


@pytest.mark.parametrize("change", [('"version": 1', '"version": 2'), ('"seed": 0', '"seed": -1')])
def test_a_cache_that_is_damaged_or_newer_is_refused(cached, change):
    with pytest.raises(UsageError, match=r"--against-cache: .*, line 2: .*; delete the file"):
        cached(record(0).to_json(), record(0).to_json().replace(*change))


@pytest.mark.nightly
def test_a_model_that_the_commit_lacks_is_new_and_one_that_is_gone_is_said(compare, repository):
    models = repository / "acme" / "models.py"
    models.write_text(MODELS.replace("def acme_net", "def acme_net_2"))
    renamed = compare("--stn-against", "HEAD", "--stn-model", "acme_net_2")
    assert renamed.ret == 0
    renamed.stdout.fnmatch_lines(
        [
            "models that only HEAD has: acme_net",
            "NEW  acme_commit/acme_stripes/acme_net_2: HEAD lacks it: unknown model *",
        ]
    )


def test_a_commit_that_does_not_exist_is_one_line(compare, repository):
    wrong = compare("--stn-against", "nowhere")
    assert wrong.ret != 0
    wrong.stdout.fnmatch_lines(["--stn-against nowhere: there is no such branch, tag or commit"])
    for output in (wrong.stdout, wrong.stderr):
        output.no_fnmatch_line("*Traceback*")
    with pytest.raises(UsageError, match="is not a git checkout"):
        find_commit(repository.parent, "HEAD")


def test_a_budget_of_one_seed_is_refused(pytester, monkeypatch):
    """Two values of each side are the least that have a spread."""
    monkeypatch.setattr(budgets._BUDGETS, "_entries", dict(budgets._BUDGETS._entries))
    register_budget(Budget("once", ("digits",), (1,), 5, Recipe()))
    asked = ("-p", "stn_core.suite.plugin", "--stn-against", "HEAD", "--stn-budget", "once")
    with pytest.raises(UsageError, match="--against needs two or more seeds, and the budget once"):
        read_options(pytester.parseconfigure(*asked))
    assert read_options(pytester.parseconfigure(*asked, "--stn-seeds", "0-1")).seeds == (0, 1)


def test_a_shallow_clone_says_what_to_fetch(tmp_path, repository):
    shallow = tmp_path / "shallow"
    command = ["git", "clone", "--quiet", "--depth=1", f"file://{repository}", str(shallow)]
    subprocess.run(command, check=True)
    assert find_commit(shallow, "HEAD") == git(repository, "rev-parse", "HEAD").strip()
    git(repository, "branch", "topic")
    git(repository, "tag", "-a", "v1", "--message", "one")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "another")
    there = git(repository, "rev-parse", "HEAD").strip()
    for revision in ("v1", "topic", "origin/topic", there, "HEAD~1"):
        shutil.rmtree(shallow)
        subprocess.run(command, check=True)
        git(repository, "commit", "--quiet", "--allow-empty", "--message", "one more")
        with pytest.raises(UsageError, match="this clone is shallow: git fetch ") as refused:
            find_commit(shallow, revision)
        git(shallow, *str(refused.value).partition("shallow: git ")[2].split())
        assert find_commit(shallow, revision)


def test_files_of_which_a_killed_session_left_a_part_are_checked_out_again(tmp_path):
    """As git leaves them if it is killed too: without its index, and locked."""
    repository, worktree = tmp_path / "repository", tmp_path / "worktree"
    repository.mkdir()
    for name in ("data.py", "models.py"):
        (repository / name).touch()
    commit(repository)
    there = git(repository, "rev-parse", "HEAD").strip()
    git(repository, "worktree", "add", "--quiet", "--detach", str(worktree), there)
    (worktree / "models.py").unlink()
    (administered,) = (repository / ".git" / "worktrees").iterdir()
    (administered / "index").unlink()
    (administered / "locked").write_text("initializing")

    add_worktree(repository, worktree, there)
    assert (worktree / "models.py").exists()
    assert git(worktree, "status", "--porcelain") == ""
    own = worktree / "of a worker"
    own.touch()
    add_worktree(repository, worktree, there)  # as each worker does
    assert own.exists()
    remove_worktree(repository, worktree)
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_no_other_user_can_write_where_code_is_imported_from(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    here, again = (worktree_of(tmp_path / "results", "c0ffee") for _ in range(2))
    assert here == again  # which --resume finds
    assert here.parent.stat().st_mode & 0o777 == 0o700
    here.parent.chmod(0o777)
    with pytest.raises(UsageError, match="is not only yours to write to"):
        worktree_of(tmp_path / "results", "c0ffee")
    here.parent.rmdir()
    here.parent.touch()
    with pytest.raises(UsageError, match="File exists"):
        worktree_of(tmp_path / "results", "c0ffee")


def test_code_that_does_not_come_from_the_checkout_is_refused(tmp_path):
    elsewhere = tmp_path / "checkout"
    (elsewhere / "stn_core").mkdir(parents=True)
    (elsewhere / "stn_core" / "__init__.py").touch()
    with pytest.raises(UsageError, match=r"stn_core was imported from .*--editable"):
        reference_code("main", "c0ffee", tmp_path / "worktree", elsewhere, (), elsewhere)
    with pytest.raises(UsageError, match="none of the session's code lies in"):
        reference_code("main", "c0ffee", tmp_path / "worktree", tmp_path / "b", (), tmp_path)


@pytest.mark.parametrize("base", ["ml", "ml/src"])
def test_an_installed_copy_of_a_project_in_a_subfolder_is_refused(tmp_path, monkeypatch, base):
    """Else the copy would be compared with itself."""
    checkout = tmp_path / "checkout"
    for place in (checkout / base, tmp_path / "site-packages"):
        (place / "acme_of_ml").mkdir(parents=True)
        (place / "acme_of_ml" / "__init__.py").touch()
    (checkout / "ml" / "models.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    worktree = tmp_path / "worktree"
    (worktree / "ml").mkdir(parents=True)
    (worktree / "ml" / "models.py").touch()
    place = ("main", "c0ffee", worktree, checkout)
    with pytest.raises(UsageError, match=r"acme_of_ml was imported from .*--editable"):
        reference_code(*place, ("acme_of_ml", "models.py"), checkout / "ml")


def test_the_src_folder_of_a_project_in_a_subfolder_is_looked_for_in_the_worktree(
    tmp_path, monkeypatch
):
    """An editable installation need not put it on the import path."""
    checkout, worktree = tmp_path / "checkout", tmp_path / "worktree"
    for top in (checkout, worktree):
        (top / "ml").mkdir(parents=True)
        (top / "ml" / "models.py").touch()
    (checkout / "ml" / "src").mkdir()
    code = reference_code("main", "c0ffee", worktree, checkout, ("models.py",), checkout / "ml")
    assert str(worktree / "ml" / "src") in code.path


def test_the_commits_code_is_found_where_the_users_modules_are_not_imported_yet(pytester):
    """As in the first process of several, which asks for runs when the tests are over."""
    pytester.makepyfile(acme_of_a_worker="")
    commit(pytester.path)
    asked = ("--stn-against", "HEAD", "--stn-import", "acme_of_a_worker")
    config = pytester.parseconfigure("-p", "stn_core.suite.plugin", *asked)
    reference = context_of(config).reference
    assert reference
    try:
        assert reference.engine.code.own == ("acme_of_a_worker",)
    finally:
        reference.close()


def test_a_src_layout_and_files_are_looked_for_in_the_worktree(tmp_path, monkeypatch):
    checkout, worktree = tmp_path / "checkout", tmp_path / "worktree"
    package = checkout / "src" / "acme_of_src"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (checkout / "models.py").touch()
    monkeypatch.syspath_prepend(str(checkout / "src"))
    place = ("main", "c0ffee", worktree, checkout)
    with pytest.raises(UsageError, match=r"--against main: it has no file models\.py"):
        reference_code(*place, ("acme_of_src", "models.py"), checkout)
    worktree.mkdir()
    (worktree / "models.py").touch()
    code = reference_code(*place, ("acme_of_src", "models.py"), checkout)
    assert code.own == ("acme_of_src",)
    assert code.modules == ("acme_of_src",)
    assert code.files == (str(worktree / "models.py"),)
    assert {str(worktree), str(worktree / "src")} <= set(code.path)
