"""The plugin in projects that have names, tests and options of their own."""

import subprocess
import sys
import textwrap

import pytest

from stn_core.datasets import load_dataset
from stn_core.gate.baselines import Baselines, write_baselines
from stn_core.session.budgets import get_budget
from stn_core.session.cells import Cell
from tests.examples import baseline, environment
from tests.nightly import IN_ONE_PROCESS_AND_WITH_WORKERS
from tests.suite.sessions import GATE, exactly, git, select

pytest_plugins = ["pytester"]

TRAINED = ("-p", "no:cacheprovider", "--stn-device", "cpu", "--stn-no-report", "--stn-seeds", "1")
ONE = ("--stn-set", "epochs=1", "-k", "digits-cnn]")


def loaded_after(code, *arguments):
    """The modules that a fresh process has loaded."""
    code = f"import sys; {code}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    return set(done.stderr.decode().split())


HEAVY = {"torch", "pandas", "scipy", "numpy", "filelock", "matplotlib", "msgspec"}


def test_importing_the_plugin_loads_pytest_alone():
    before = loaded_after("import pytest")
    added = loaded_after("import stn_core.suite.plugin") - before
    foreign = {name for name in added if name.split(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"stn_core", "stn_core.suite", "stn_core.suite.plugin"}


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "workers"])
def test_a_session_without_cells_loads_no_more(tmp_path, workers):
    """Not even what is missing where only the core of the package is installed."""
    (tmp_path / "test_ours.py").write_text("def test_ours(): pass\n")
    run = "import pytest; assert not pytest.main(sys.argv[1:])"
    place = (str(tmp_path), "--rootdir", str(tmp_path))
    loaded = loaded_after(run, "-q", "-p", "no:randomly", *place, *workers)
    assert "stn_core.suite.plugin" in loaded  # by its entry point
    assert not loaded & HEAVY
    rooms = {name.split(".")[1] for name in loaded if name.startswith("stn_core.")}
    assert rooms == {"suite", "errors", "registry"}


def test_a_fixture_of_the_project_called_cell_wins(pytester, run_here):
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture
        def cell(): return {"nucleus": 1}
        def test_nucleus(cell): assert cell["nucleus"] == 1
        @pytest.mark.parametrize("cell", ["A1", "B2"])
        def test_sheet(cell): assert isinstance(cell, str)
        @pytest.mark.parametrize("row, cell", [(1, "A1")])
        def test_row(row, cell): assert isinstance(cell, str)
        """,
        test_hook="def test_grid(cell): assert cell == 7",
    )
    pytester.makeconftest(
        """
        def pytest_generate_tests(metafunc):
            if metafunc.module.__name__ == "test_hook":
                metafunc.parametrize("cell", [7])
        """
    )
    run_here("-p", "stn_core.suite.plugin").assert_outcomes(passed=5)


def test_a_fixture_that_takes_our_cell_and_changes_it_gets_every_cell(pytester, run_here):
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture
        def cell(cell): return cell.dataset
        def test_dataset(cell): assert cell == "digits"
        """
    )
    result = run_here("-p", "stn_core.suite.plugin", "-k", "digits-cnn] or digits-stn]")
    result.assert_outcomes(passed=2, deselected=result.parseoutcomes()["deselected"])


def test_a_marker_of_the_project_called_core_is_not_put_on_cells(pytester, run_here):
    pytester.makepyfile(test_bench=GATE, test_own="import pytest\n@pytest.mark.core\ndef test(): 0")
    pytester.makeini("[pytest]\nmarkers = core: the core of our own\n")
    result = run_here("-p", "stn_core.suite.plugin", "-m", "core")
    result.assert_outcomes(passed=1, deselected=result.parseoutcomes()["deselected"])


@pytest.mark.parametrize("n", IN_ONE_PROCESS_AND_WITH_WORKERS)
def test_a_wrong_variable_does_not_disturb_a_session_without_cells(
    pytester, run_here, monkeypatch, n
):
    for name in ("BUDGET", "SEEDS", "SHARD", "RESUME", "BASELINES", "THREADS", "DATA"):
        monkeypatch.setenv(f"STN_{name}", "~nobody_at_all/nonsense")
    pytester.makepyfile("def test_ours(): pass")
    result = run_here("-p", "stn_core.suite.plugin", "--stn-device", "cpu", *n)
    result.assert_outcomes(passed=1)
    assert not (pytester.path / "results").exists()


def test_a_wrong_variable_is_named_in_a_session_with_cells(pytester, run_here, monkeypatch):
    pytester.makepyfile(test_bench=GATE)
    monkeypatch.setenv("STN_SEEDS", "few")
    result = run_here("-p", "stn_core.suite.plugin")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["STN_SEEDS: expected a count or a list*, not 'few'"])


def test_options_of_the_project_live_beside_ours(pytester, run_here):
    pytester.makeconftest(
        """
        def pytest_addoption(parser):
            for name in ("device", "seeds", "epochs", "lr", "dataset", "resume", "set", "plan"):
                parser.addoption(f"--{name}", default="theirs")
        """
    )
    pytester.makepyfile("def test_ours(pytestconfig): assert pytestconfig.getoption('lr') == '7'")
    result = run_here("-p", "stn_core.suite.plugin", "--lr", "7", "--stn-lr=0.1")
    assert result.ret == 0
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("plugin", "option", "line"),
    [
        ("stn_core.suite.short_options", "--device", "*leave out '-p *' and write --stn-device*"),
        ("stn_core.suite.plugin", "--stn-device", "--stn-device is an option of stn_core: *"),
    ],
)
def test_a_clash_is_one_line(pytester, run_here, plugin, option, line):
    pytester.makeconftest(f"def pytest_addoption(parser): parser.addoption('{option}')")
    pytester.makepyfile("def test_ours(): pass")
    result = run_here("-p", plugin)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {line}"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("order", [("theirs", "ours"), ("ours", "theirs")])
def test_a_clash_with_an_installed_plugin_is_one_line(pytester, run_here, order):
    pytester.makepyfile(
        playwrights="def pytest_addoption(parser): parser.addoption('--device')",
        test_ours="def test_ours(): pass",
    )
    pytester.syspathinsert()
    names = {"theirs": "playwrights", "ours": "stn_core.suite.short_options"}
    result = run_here(*(word for plugin in order for word in ("-p", names[plugin])))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --device is an option of *write --stn-device*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("plugin", "spelling"),
    [("stn_core.suite.short_options", "--"), ("stn_core.suite.plugin", "--stn-")],
)
def test_messages_name_the_spelling_that_the_session_offers(pytester, run_here, plugin, spelling):
    pytester.makepyfile(test_bench=GATE)
    result = run_here("-p", plugin, f"{spelling}dataset", "mnist")
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{spelling}download*"])
    early = run_here("-p", plugin, f"{spelling}update-digests")
    assert early.ret == pytest.ExitCode.USAGE_ERROR
    early.stderr.fnmatch_lines([f"ERROR: {spelling}update-digests needs {spelling}digest-cache*"])


@pytest.mark.parametrize(
    "order", [("plugin", "short_options"), ("short_options", "plugin"), ("short_options",)]
)
def test_short_names_are_there_in_whatever_order_the_plugins_come(pytester, order):
    chosen = [word for name in order for word in ("-p", f"stn_core.suite.{name}")]
    config = pytester.parseconfig(*chosen, "--seeds", "3,5", "--stn-lr", "0.5", "--set", "epochs=2")
    assert config.getoption("--stn-seeds") == config.getoption("--seeds") == (3, 5)
    assert config.getoption("--lr") == 0.5
    assert config.getoption("stn_set") == [("epochs", 2)]


@pytest.mark.parametrize("left_out", ["capture", "terminal", "setuponly"])
def test_a_session_runs_without_a_plugin_of_pytests_own(bench, pytester, left_out):
    assert bench(*select("tiny"), "--seeds", "1", "-p", f"no:{left_out}").ret == 0
    assert [path.name for path in pytester.path.glob("results/*/judgements.json")]


def test_other_tests_keep_their_places(pytester, run_here):
    unit = "def test_first(): pass\ndef test_second(): pass\n"
    pytester.makepyfile(
        **{
            "a_unit/test_unit": unit,
            "b_gate/test_gate": "import pytest\ndef test_before(): pass\n" + GATE,
            "c_unit/test_last": unit,
        }
    )
    result = run_here("-p", "stn_core.suite.plugin", "--collect-only", "-q", "a_unit", ".")
    tests = [line.rpartition("/")[2] for line in result.outlines if "::" in line]
    others = [test.partition("::")[2] for test in tests if "accuracy" not in test]
    assert others == ["test_first", "test_second", "test_before", "test_first", "test_second"]
    places = [place for place, test in enumerate(tests) if "accuracy" in test]
    assert places == list(range(3, 3 + len(places)))
    assert len(places) > 9


FAILS_ONCE = """
import pathlib

def test_once(cell):
    assert cell.model != "stn" or pathlib.Path("mended").exists()
"""


def test_stepwise_leaves_out_no_cell_that_has_not_run(pytester, run_here):
    """It leaves out what is collected before the last failure, in whatever order tests run."""
    pytester.makepyfile(test_bench=FAILS_ONCE)
    # Where it has no baseline, a cell comes before those that have one.
    recipe = get_budget("smoke").recipe_for("digits", "cnn", "cnn")
    cell, data_hash = Cell("cnn", "digits", "smoke", recipe), load_dataset("digits").hash
    stored = {cell.key: baseline([0.9, 0.9], cell=cell, data_hash=data_hash)}
    place = environment()
    file = pytester.path / "baselines.json"
    write_baselines(file, Baselines(stored, {place.key(): place.place()}))
    gate = ("-p", "stn_core.suite.plugin", "--stn-device", "cpu", "--stn-no-report", "-v")
    gate += ("--stepwise", "-k", exactly("cnn", "stn"))
    passed = set()
    for outcome in ("FAILED", "PASSED"):
        lines = run_here(*gate).outlines
        passed |= {line.split()[0] for line in lines if "PASSED" in line}
        assert any(f"digits-stn] {outcome}" in line for line in lines)
        (pytester.path / "mended").touch()
    assert len(passed) == 2


SKIPPING = {
    "a mark": "pytest.mark.skip(reason='need --runslow')",
    "expected to fail": "pytest.mark.xfail(reason='known to be slow', run=False)",
}


@pytest.mark.parametrize(
    ("mark", "reason"), [("a mark", "need --runslow"), ("expected to fail", "*known to be slow*")]
)
@pytest.mark.parametrize("workers", IN_ONE_PROCESS_AND_WITH_WORKERS)
def test_a_skipped_cell_says_so_and_the_session_passes(pytester, run_here, mark, reason, workers):
    pytester.makepyfile(test_bench=GATE)
    pytester.makeconftest(
        f"""
        import pytest
        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker({SKIPPING[mark]})
        """
    )
    result = run_here("-p", "stn_core.suite.plugin", *TRAINED, "-k", "digits-cnn]", *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"*SKIPPED*smoke/digits/cnn*{reason}*"])
    result.stdout.fnmatch_lines(["nothing was judged: every cell was skipped"])


BESIDE_THE_JUDGED_TEST = {
    "another test of the cell": """
        def test_speed(cell):
            pytest.skip("takes long")
    """,
    "the end of the test": """
        @pytest.fixture(autouse=True)
        def late():
            yield
            pytest.skip("takes long")
    """,
}


@pytest.mark.parametrize("what", BESIDE_THE_JUDGED_TEST)
def test_a_cell_that_was_judged_stays_judged_if_something_else_of_it_is_skipped(
    bench, pytester, what
):
    pytester.makepyfile(test_bench=GATE + textwrap.dedent(BESIDE_THE_JUDGED_TEST[what]))
    result = bench("-k", exactly("fragile"), "--seeds", "1")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["CRASHED  smoke/digits/fragile: *", "1 cell, 1 run: 1 CRASHED"])
    result.stdout.no_fnmatch_line("*SKIPPED *smoke/digits/fragile*")
    judged = bench("-k", exactly("tiny"), "--seeds", "1")
    judged.stdout.fnmatch_lines(["1 cell, 1 run: 1 NEW"])


FAILS_IN_ITS_SETUP = """
    @pytest.fixture(autouse=True)
    def broken(request):
        if request.function is test_accuracy:
            raise RuntimeError("no luck")

    def test_speed(cell):
        pytest.skip("takes long")
"""


def test_a_cell_whose_test_failed_is_not_skipped_with_another_test(bench, pytester):
    pytester.makepyfile(test_bench=GATE + textwrap.dedent(FAILS_IN_ITS_SETUP))
    result = bench("-k", exactly("tiny"), "--seeds", "1")
    assert result.ret == 1
    result.stdout.no_fnmatch_line("*SKIPPED *smoke/digits/tiny*")
    result.stdout.fnmatch_lines(["1 cell, 0 runs: 1 MISSING"])


def test_paths_in_a_configuration_file_are_relative_to_it(pytester, run_here, monkeypatch):
    pytester.makepyfile(acme="from stn_core import register_model\nregister_model(lambda: 0, 'a')")
    pytester.makefile(
        ".ini",
        pytest="[pytest]\naddopts = -p stn_core.suite.plugin --stn-results-dir=out"
        " --stn-data-root=data --stn-digest-cache=cache.json\n",
    )
    inner = pytester.mkdir("inner")
    monkeypatch.chdir(inner)
    from stn_core.suite.session_options import read_options

    config = pytester.parseconfig("--stn-baselines=mine.json", "--stn-digest-cache=own.json")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("STN_RESUME", "")
        (inner / "mine.json").write_text("{}")
        options = read_options(config)
    assert options.results.parent == pytester.path / "out"
    assert options.data_root == str(pytester.path / "data")
    assert options.digest_cache == inner / "own.json"  # the command's own words win
    assert options.baselines == inner / "mine.json"


def test_no_baselines_from_a_checkout_without_a_git_program(pytester, run_here, monkeypatch):
    pytester.makepyfile(test_bench=GATE)
    git(pytester.path, "init", "--quiet")
    monkeypatch.setenv("PATH", "/nonexistent")
    result = run_here("-p", "stn_core.suite.plugin", *TRAINED[:-2], "--stn-update-baselines")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["--stn-update-baselines: *git* is not installed*"])
    assert not (pytester.path / "baselines.json").exists()
