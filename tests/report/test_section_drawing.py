"""Which cells of a large session are drawn, and that processes draw what one process would."""

import contextlib
import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from stn_core.gate.judgement import Judgement, Verdict
from stn_core.report import section_drawing
from stn_core.report.cell_section import CellTask
from stn_core.report.dataset_section import dataset_tasks
from stn_core.report.figures import FigureFolder
from stn_core.report.finished_session import read_session
from stn_core.report.results_table import results_table
from stn_core.report.section_drawing import (
    MOST_DRAWN,
    cells_to_draw,
    draw_sections,
    progress_line,
)
from tests.platforms import needs_posix_signals
from tests.report.folders import a_run, write_session


def table_of(count, **verdicts):
    """A table of this many cells on two datasets; the first model of each is the best."""
    judgements = []
    for number in range(count):
        dataset, model = ("digits", "mnist")[number % 2], f"m{number:03}"
        run = a_run(model=model, dataset=dataset, accuracy=0.99 - number / 1000)
        verdict = verdicts.get(model, Verdict.PASS)
        judgements.append(Judgement(run.key, verdict, records=(run,)))
    return results_table(judgements, 3)


def models(keys):
    return {key.rpartition("/")[2] for key in keys}


def test_all_of_a_few_cells_are_drawn():
    assert len(cells_to_draw(table_of(MOST_DRAWN), [])) == MOST_DRAWN


def test_only_failures_and_the_best_of_each_dataset_are_drawn_of_many_cells():
    table = table_of(MOST_DRAWN + 1, m040=Verdict.REGRESSED, m041=Verdict.CRASHED)
    assert models(cells_to_draw(table, [])) == {"m000", "m001", "m040", "m041"}


def test_the_best_passing_model_is_drawn_if_the_best_fails():
    table = table_of(MOST_DRAWN + 1, m000=Verdict.REGRESSED)
    assert models(cells_to_draw(table, [])) == {"m000", "m001", "m002"}


def test_named_cells_are_drawn_too():
    table = table_of(MOST_DRAWN + 1)
    assert models(cells_to_draw(table, ["digits-m050", "m051"])) == {
        *("m000", "m001"),
        *("m050", "m051"),
    }
    assert len(cells_to_draw(table, ["all"])) == MOST_DRAWN + 1


def test_a_cell_without_records_has_nothing_to_draw():
    table = results_table([Judgement("smoke/digits/m", Verdict.MISSING)], 3)
    assert cells_to_draw(table, ["all"]) == frozenset()


def test_the_option_that_draws_a_cell_is_one_for_a_shell():
    run = a_run(model="stn[warp=tps]")
    judgement = Judgement(run.key, Verdict.PASS, records=(run,))
    section = CellTask("", "a", judgement, None, is_drawn=False).draw(FigureFolder(None))
    assert ("pictures", "not drawn; --draw 'digits-stn[warp=tps]' draws them") in section.facts


def test_a_log_gets_a_line_for_every_tenth():
    lines = list(filter(None, (progress_line(done, 25) for done in range(1, 26))))
    assert len(lines) == 10
    assert lines[-1] == "drew 25 of 25 sections"
    assert not any(progress_line(done, 9) for done in range(1, 10))


@pytest.fixture
def tasks(tmp_path):
    """A dataset and its three cells, the last without pictures."""
    runs = [a_run(model=f"m{number}") for number in range(3)]
    session = read_session(write_session(tmp_path / "session", runs))
    cells = [
        CellTask("", f"cell-{number}", one, session.shown[one.key], is_drawn=number < 2)
        for number, one in enumerate(session.judgements)
    ]
    return [*dataset_tasks([session]), *cells]


def drawn(tasks, figures):
    told = []
    sections, failures = draw_sections(tasks, figures, lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert not failures
    return sections, sorted(path.name for path in figures.iterdir())


@pytest.mark.nightly
def test_processes_draw_what_one_process_would(tasks, tmp_path, monkeypatch):
    here = drawn(tasks, tmp_path / "here")
    monkeypatch.setattr(section_drawing, "SECTIONS_A_PROCESS", 1)
    monkeypatch.setattr(section_drawing, "_processors", lambda: 2)
    assert drawn(tasks, tmp_path / "there") == here


@pytest.mark.nightly
def test_what_a_broken_pool_did_not_draw_is_drawn_in_this_process(tasks, tmp_path, monkeypatch):
    here = drawn(tasks, tmp_path / "here")

    class Broken:
        def __init__(self, *arguments, **how):
            pass

        def map(self, draw, tasks, figures):
            yield draw(tasks[0], figures[0])
            raise BrokenProcessPool

        def shutdown(self, **how):
            pass

    monkeypatch.setattr(section_drawing, "SECTIONS_A_PROCESS", 1)
    monkeypatch.setattr(section_drawing, "_processors", lambda: 2)
    monkeypatch.setattr(section_drawing, "ProcessPoolExecutor", Broken)
    assert drawn(tasks, tmp_path / "there") == here


PARENT = """
import multiprocessing, time
from stn_core.report.section_drawing import _end_with_parent

def child():
    _end_with_parent()
    print("draws", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=child).start()
    time.sleep(600)
"""


@pytest.mark.nightly
@needs_posix_signals
def test_a_process_that_draws_ends_with_the_one_that_asked(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert parent.stdout.readline() == "draws\n"
        parent.kill()
        parent.communicate(timeout=120)  # until the last of them has closed its end of the pipe
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
