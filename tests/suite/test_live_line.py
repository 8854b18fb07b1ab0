"""The line at the bottom of a terminal leaves no trace, whatever is written meanwhile."""

import io
import math
import re
import shlex
import time
from types import SimpleNamespace

import pytest
from _pytest.terminal import TerminalReporter

from stn_core.report.outlook import Expected, Outlook
from stn_core.suite import group_training, live_line, reporting, watching
from stn_core.suite.context import SessionContext
from stn_core.suite.live_line import LiveLine
from stn_core.suite.watching import Watching
from stn_core.training.callbacks import progress
from tests.examples import CELL, record
from tests.platforms import needs_posix_signals
from tests.suite.sessions import command, exactly

pytest_plugins = ["pytester"]


class Screen(io.StringIO):
    """A terminal of endless height: what is seen after the escape sequences that are used."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def lines(self):
        rows, row, column = [""], 0, 0
        for found in re.finditer(r"\x1b\[(\d*)([A-Z])|\r|\n|[^\r\n\x1b]+", self.getvalue()):
            text, number = found.group(), int(found.group(1) or 1)
            if found.group(2) == "A":
                row -= number
            elif found.group(2) == "C":
                column += number
            elif found.group(2) == "K":
                rows[row] = ""
            elif text == "\r":
                column = 0
            elif text == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            else:
                kept = rows[row].ljust(column)
                rows[row] = kept[:column] + text + kept[column + len(text) :]
                column += len(text)
        return [line.rstrip() for line in rows]


class Reporter:
    """As much of pytest's as is needed."""

    def __init__(self, file):
        from _pytest._io import TerminalWriter

        self._tw = TerminalWriter(file)
        self._tw.hasmarkup = False

    def ensure_newline(self):
        """pytest's ends a line that begins with the name of a file, and no other."""

    def write_line(self, text):
        self._tw.line(text)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(live_line, "DRAW_SECONDS", 0.001)
    monkeypatch.setattr(live_line, "WRITE_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")


def show(file, **options):
    texts = iter(f"{number} of 9 cells · …" for number in range(10**9))
    reporter = Reporter(file)
    options = {"is_quiet": False, "is_drawn": True, **options}
    line = LiveLine(reporter, lambda: next(texts), **options)
    return reporter, line


def wait_until(true):
    for _ in range(2000):
        if true():
            return
        time.sleep(0.005)
    pytest.fail("nothing was drawn")


def test_the_line_leaves_only_pytests_own_output(quick):
    screen = Screen()
    reporter, line = show(screen)
    reporter._tw.line("collected 9 items")
    line.start()
    wait_until(lambda: "2 of 9" in screen.getvalue())
    assert "of 9 cells" in screen.lines()[-1]
    reporter._tw.write("test_bench.py ")
    drawn = len(screen.getvalue())
    wait_until(lambda: len(screen.getvalue()) > drawn + 60)  # below a line that is not over
    reporter._tw.write("..")
    reporter._tw.line("F")
    reporter._tw.line("smoke/digits/cnn  PASS")
    line.stop()
    reporter._tw.line("1 failed, 2 passed")
    assert screen.lines() == [
        "collected 9 items",
        "test_bench.py ..F",
        "smoke/digits/cnn  PASS",
        "1 failed, 2 passed",
        "",
    ]


def test_a_long_line_is_cut_and_what_no_encoding_has_is_replaced(quick, monkeypatch):
    monkeypatch.setenv("COLUMNS", "12")
    screen = Screen()
    screen.encoding = "ascii"
    _, line = show(screen)
    line.start()
    wait_until(lambda: "of 9" in screen.getvalue())
    line.stop()
    assert screen.getvalue().isascii()
    assert max(map(len, re.findall(r"\d+ of[^\r\x1b]*", screen.getvalue()))) <= 11
    assert screen.lines() == [""]


def test_without_a_terminal_there_are_plain_lines_unless_pytest_is_quiet(quick):
    for options, is_silent in (({}, False), ({"is_quiet": True}, True)):
        file = io.StringIO()
        reporter, line = show(file, **options)
        reporter._tw.write("test_bench.py ")
        line.start()
        if not is_silent:
            wait_until(lambda file=file: "1 of 9" in file.getvalue())
        line.stop()
        assert "\x1b" not in file.getvalue()
        assert file.getvalue().startswith("test_bench.py ")
        assert ("\n0 of 9 cells · …\n" in file.getvalue()) == (not is_silent)


def test_what_a_session_says_begins_a_line_after_a_percentage(pytester):
    config, file = pytester.parseconfig(), io.StringIO()
    reporter = TerminalReporter(config, file)
    config.pluginmanager.register(reporter, "terminalreporter")
    reporter.write_fspath_result("test_bench.py", "")
    reporter.write("[ 50%]")
    SessionContext(config).tell(["one", "two"])
    reporter.write("[100%]")
    SessionContext(config).tell(["three"])
    assert file.getvalue().splitlines()[1:] == [
        "test_bench.py [ 50%]",
        "one",
        "two",
        "[100%]",
        "three",
    ]


def test_what_a_test_prints_stays_in_its_place_in_a_file(tmp_path):
    with (tmp_path / "output").open("w") as file:
        reporter, line = show(file, is_drawn=False)
        line.start()
        file.write("printed by a test\n")  # with -s
        reporter._tw.line("PASSED")
        line.stop()
    assert (tmp_path / "output").read_text() == "printed by a test\nPASSED\n"


@pytest.mark.nightly
@needs_posix_signals
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_session_on_a_terminal_has_the_line_and_loses_it(bench, pytester, workers):
    bench("--collect-only")  # writes the files of the session
    names = exactly("slow", "tiny")
    arguments = command("-k", names, "--seeds", "1", "--epochs", "2", *workers)
    typed = pytester.spawn(shlex.join(arguments), expect_timeout=120)
    typed.expect(r"\d of 2 cells .+ \d running \(digits-\w+ seed 0, epoch \d/2\)")
    typed.expect("2 cells, 2 runs: 2 NEW")
    typed.wait()
    assert not list(pytester.path.glob("results/*/running"))


def test_runs_that_groups_of_cells_need_are_on_the_line(bench, monkeypatch):
    def settle(plan, judge, judgements, records, read_records, train, why_not):
        train([(plan.cells[0], 7)], [])
        return [], []

    lines = []

    class Line(LiveLine):
        def start(self):
            monkeypatch.setattr(progress, "write_beat", self.note)

        def stop(self):
            lines.append("stopped")

        def note(self, folder, beat):
            write_beat(folder, beat)
            lines.append(self._text())

    write_beat = progress.write_beat
    monkeypatch.setattr(watching, "LiveLine", Line)
    monkeypatch.setattr(reporting, "settle_groups", settle)
    assert bench("-k", exactly("tiny"), "--epochs", "1", "--seeds", "1").ret == 0
    first, group, end = lines
    assert first.endswith("running (digits-tiny seed 0, epoch 0/1)")
    assert group.startswith("1 of 1 cells · 1 of about 2 runs · 1 running (digits-tiny seed 7, ")
    assert end == "stopped"


def test_runs_of_the_commit_to_compare_with_count_as_progress_unless_they_were_cached(
    monkeypatch,
):
    """Of two seeds, one is in the cache: a run is expected beside the session's own."""
    outlook = Outlook({CELL.key: Expected(1, 3, math.inf)}, workers=1)
    outlook.cell_ended(CELL.key)
    seen, said = Watching(SimpleNamespace()), []
    seen._outlook, seen._records = outlook, SimpleNamespace(new=list)
    seconds = {1: 0.0, 2: 30.0}
    reference = SimpleNamespace(
        runs_to_train=lambda cell, seeds: sum(seconds[seed] > 0 for seed in seeds),
        train=lambda runs, processes: [
            record(seed, train_seconds=seconds[seed], evaluate_seconds=0.1) for _, seed in runs
        ],
    )
    session = {"time_limit": None, "workers": 1, "has_engine": True, "engine": None}
    context = SimpleNamespace(reference=reference, watching=seen, tell=said.extend, **session)
    monkeypatch.setattr(group_training, "_train_all", lambda context, runs, engine: None)
    group_training.train_for_groups(context, [(CELL, 1)], [(CELL, 1), (CELL, 2)])
    assert said == ["groups of cells need 2 more runs"]
    assert outlook.line([]) == "1 of 1 cells · 1 of about 2 runs · about 30 s left"
