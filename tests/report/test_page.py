"""The page of a session: whole, alone, safe, light, and honest about what it lacks."""

import dataclasses
import html.parser
import json
import re
import subprocess
import sys
import urllib.parse
from xml.etree import ElementTree

import numpy as np
import pytest

from stn_core.gate.judgement import Judgement, Verdict
from stn_core.report.cell_section import _kinds_of_machine
from stn_core.report.finished_session import read_session
from stn_core.report.results_table import results_table
from stn_core.report.session_page import write_report
from stn_core.session.artifacts import artifacts_path, write_artifacts
from stn_core.session.file_names import ARTIFACTS_FOLDER, PLAN_FILE
from stn_core.suite.commands import main
from tests.examples import artifacts, baseline, environment, record
from tests.report.folders import a_run, write_session

MODELS = ("stn", "cnn")


class Reader(html.parser.HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, name):
        return [attributes[name] for _, attributes in self.elements if attributes.get(name)]

    @property
    def text(self):
        return " ".join(self.texts)


def report(*folders, out):
    """The page of some sessions, its text, and what it lacks."""
    missing = write_report(folders, out / "report.html", out / "figures")
    content = (out / "report.html").read_text(encoding="utf-8")
    return Reader(content), content, missing


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    runs = [a_run(seed, model) for model in MODELS for seed in (0, 1)]
    return write_session(tmp_path_factory.mktemp("results") / "a-session", runs)


@pytest.fixture(scope="module")
def page(folder):
    return report(folder, out=folder)


def test_a_whole_session_lacks_nothing_and_shows_every_cell(page):
    reader, _, missing = page
    assert missing == ()
    for model in MODELS:
        assert reader.text.count(model) >= 2  # in the table, and over its own section
    headings = ["Confusion matrix", "Calibration", "The first mistakes", "Theta by class"]
    headings += ["The most confident mistakes", "Before and after the warp", "Learning curves"]
    for heading in headings:
        assert sum(heading in text for text in reader.texts) >= len(MODELS), heading
    assert "pytest benchmarks -k 'stn or cnn'" in reader.text
    assert "a processor" in reader.text


def test_it_needs_no_other_file(page):
    reader, content, _ = page
    linked = [*reader.all("src"), *reader.all("href"), *reader.all("xlink:href")]
    assert linked
    assert all(link.startswith(("#", "data:")) for link in linked)
    assert "@import" not in content
    assert not re.search(r"url\((?!#)", content)


def test_every_link_within_it_leads_somewhere_and_no_id_twice(page):
    reader, content, _ = page
    ids = reader.all("id")
    assert len(ids) == len(set(ids))
    used = [link[1:] for link in [*reader.all("href"), *reader.all("xlink:href")] if link[0] == "#"]
    used += re.findall(r"url\(#([^)]+)\)", content)
    assert set(used) <= set(ids)


@pytest.mark.usefixtures("pictures_left_out")
def test_the_address_of_a_cell_is_its_id_whatever_its_name(tmp_path):
    runs = [a_run(0, model) for model in ("größer", "模型", "stn[warp=tps]", "50 %")]
    reader, _, _ = report(write_session(tmp_path, runs, pictures=False), out=tmp_path)
    cells = [name for name in reader.all("id") if name.startswith("cell-")]
    assert len(set(cells)) == len(runs)
    assert [urllib.parse.quote(name) for name in cells] == cells


def test_every_figure_is_a_file_too(page, folder):
    reader, _, _ = page
    files = list((folder / "figures").iterdir())
    assert len(files) == sum(tag == "svg" for tag, _ in reader.elements)
    for file in files:
        assert ElementTree.parse(file).getroot().tag.endswith("svg")


@pytest.mark.nightly
def test_the_same_session_gives_the_same_page(page, folder, tmp_path):
    again = report(folder, out=tmp_path)
    assert again[1] == page[1]


@pytest.mark.usefixtures("pictures_left_out")
def test_the_same_session_gives_the_same_text(tmp_path):
    folder = write_session(tmp_path / "a-session", [a_run()], pictures=False)
    first, again = (report(folder, out=tmp_path / name)[1] for name in ("first", "again"))
    assert first == again


@pytest.mark.usefixtures("pictures_left_out")
def test_a_table_made_for_judging_costs_no_picture(page, folder, tmp_path):
    judgements = [
        dataclasses.replace(one, records=tuple(run.without_details({}) for run in one.records))
        for one in read_session(folder).judgements
    ]
    again = tmp_path / "again" / "report.html"
    assert not write_report([folder], again, table=results_table(judgements, most_seeds=2))
    assert again.read_text().count("<svg") == page[1].count("<svg")


def test_names_and_messages_are_escaped(tmp_path):
    attack = "<img src=x onerror=alert(1)>&amp;\"'"
    run = a_run(status="diverged", message=attack, model=f"m{attack}")
    good = dataclasses.replace(a_run(), confusion=[[3, 1], [2, 9]], worst_mistakes=[])
    folder = write_session(
        tmp_path / attack,
        [good],
        judgements=[
            Judgement(run.key, Verdict.DIVERGED, attack),
            Judgement(good.key, Verdict.PASS, attack, records=(good,)),
        ],
        pictures=False,
    )
    named = dataclasses.replace(
        artifacts(classes=2, digest=good.digest), class_names=np.array([attack, "b"])
    )
    write_artifacts(artifacts_path(folder / ARTIFACTS_FOLDER, good.run_name), named)
    reader, content, _ = report(folder, out=tmp_path)
    assert "<img" not in content
    assert sum(tag == "script" for tag, _ in reader.elements) == 1  # the page's own
    assert not any(name.startswith("on") for _, names in reader.elements for name in names)
    assert reader.text.count(attack) >= 4  # the session's name, a model, a message, a class


def test_no_message_breaks_or_turns_a_line(tmp_path):
    forged = "bad\x1b[2K\u202e\nall PASS"
    run = a_run(status="crashed", message=forged)
    judged = [Judgement(run.key, Verdict.CRASHED, forged, records=(run,))]
    folder = write_session(tmp_path / "s", [run], judgements=judged, pictures=False)
    _, content, _ = report(folder, out=tmp_path)
    assert "\x1b" not in content
    assert "\u202e" not in content
    assert "bad\\x1b[2K\\u202e\\nall PASS" in content


def drawn_artifacts(digest):
    """Strokes and rotations in place of noise, which nothing compresses, in every image."""
    drawn = artifacts(classes=10, images=10, size_hw=(28, 28), digest=digest)
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    for array in [*vars(drawn.mistakes).values(), *vars(drawn.warps).values()]:
        if array.dtype == np.uint8:
            angle = np.arange(array[..., 0, 0].size).reshape(*array.shape[:-2], 1, 1)
            stroke = np.exp(-20 * (x * np.cos(angle) + y * np.sin(angle)) ** 2)
            array[...] = (255 * stroke * (x**2 + y**2 < 0.6)).astype(np.uint8)
    drawn.warps.grid[...] = np.stack([0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y], axis=-1)
    drawn.warps.det[...] = 1
    return drawn


@pytest.mark.nightly
def test_thirty_cells_of_digits_stay_below_five_megabytes(tmp_path):
    confusion = np.full((10, 10), 1234).tolist()

    def size(models):
        folder = tmp_path / str(len(models))
        runs = [a_run(seed, model, confusion=confusion) for model in models for seed in range(3)]
        write_session(folder, runs, pictures=False)
        for run in runs:
            path = artifacts_path(folder / ARTIFACTS_FOLDER, run.run_name)
            write_artifacts(path, drawn_artifacts(run.digest))
        report(folder, out=folder)
        return (folder / "report.html").stat().st_size

    one = size(["stn"])
    assert one + 29 * (size(["stn", "cnn"]) - one) < 5e6


@pytest.mark.nightly
def test_the_report_never_imports_torch(folder, tmp_path):
    code = (
        "import sys; from stn_core.suite.commands import main;"
        f"status = main(['report', {str(folder)!r}, '--out', {str(tmp_path)!r}]);"
        "sys.exit(status or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert (tmp_path / "report.html").exists()


@pytest.mark.usefixtures("pictures_left_out")
def test_two_sessions_stand_side_by_side(folder, tmp_path):
    other = write_session(tmp_path / "another", [a_run(seed, "stn") for seed in (5, 6, 7)])
    reader, _, missing = report(folder, other, out=tmp_path)
    assert missing == ()
    assert "a-session (A) against another (B)" in reader.text
    assert "B better" in reader.text
    assert "only in A" in reader.text
    assert "stn, a-session" in reader.text
    assert "stn, another" in reader.text


@pytest.mark.usefixtures("pictures_left_out")
def test_two_sessions_of_one_name_can_be_told_apart(folder, tmp_path):
    namesake = write_session(tmp_path / "elsewhere" / "a-session", [a_run(5), a_run(6)])
    reader, _, _ = report(folder, namesake, folder, out=tmp_path)
    assert f"stn, {namesake}" in reader.text
    ids = reader.all("id")
    assert len(ids) == len(set(ids))
    figures = len(list((tmp_path / "figures").iterdir()))
    assert figures == sum(tag == "svg" for tag, _ in reader.elements)


@pytest.mark.usefixtures("pictures_left_out")
def test_sessions_whose_names_differ_only_in_a_mark_have_cells_of_their_own(tmp_path):
    sessions = [write_session(tmp_path / name, [a_run(0), a_run(1)]) for name in ("a.b", "a-b")]
    ids = report(*sessions, out=tmp_path)[0].all("id")
    assert len(ids) == len(set(ids))


# What is missing or damaged ---------------------------------------------------------------------


@pytest.mark.usefixtures("pictures_left_out")
@pytest.mark.parametrize(("against", "skipped"), [("", 11), ("main", 7)])
def test_a_comparison_with_a_commit_skips_no_more_seeds_than_it_could_train(
    tmp_path, against, skipped
):
    """A cell is compared with a baseline after up to 14 seeds, with a commit after up to 10."""
    runs = [a_run(seed) for seed in range(3)]
    passed = Judgement(runs[0].key, Verdict.PASS, records=tuple(runs), baseline=baseline([0.9]))
    folder = write_session(tmp_path / "session", runs, judgements=[passed], pictures=False)
    plan = {"looks": [1, 2, 4, 8, 14], "against": against, "options": {"against": against or None}}
    (folder / PLAN_FILE).write_text(json.dumps(plan))
    reader, _, _ = report(folder, out=tmp_path)
    assert f"; {skipped} runs skipped (stopped early)" in reader.text


# Two sides compared -----------------------------------------------------------------------------


def test_the_command_compares_two_sides_in_text_and_on_a_page(folder, tmp_path, capsys):
    other = write_session(
        tmp_path / "b", [a_run(seed, accuracy=0.5 + 0.01 * seed) for seed in (3, 4, 5)]
    )
    assert main(["compare", str(folder), str(other), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "A better" in said
    assert "only in A" in said
    reader = Reader((tmp_path / "comparison.html").read_text())
    assert "A better" in reader.text
    assert "Differences in accuracy" in reader.text
    assert (tmp_path / "figures" / "comparison.svg").exists()


def test_two_equal_sides_are_compared_too(folder, tmp_path, capsys):
    out = tmp_path / "new"
    assert main(["compare", str(folder), str(folder), "--out", str(out)]) == 0
    assert "2 identical" in capsys.readouterr().out
    assert (out / "comparison.html").exists()


def test_sides_that_cannot_be_compared_are_refused_in_one_line(folder, tmp_path, capsys):
    assert main(["compare", str(folder), str(tmp_path / "nowhere")]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "nowhere" in said.err


@pytest.mark.parametrize(
    "arguments", [[], ["report"], ["compare"], ["report", "a", "--compare", "b"], ["reprot"]]
)
def test_a_command_that_makes_no_sense_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.startswith("usage: stn")


def test_a_cell_says_on_how_many_kinds_of_machine_its_seeds_ran(tmp_path):
    other = environment(device_name="another processor", instruction_set="AVX512")
    alike = environment(commit="c0ffee")
    places = {0: environment(), 1: other, 2: alike, 3: other}
    runs = [record(seed, environment=place) for seed, place in places.items()]
    said = _kinds_of_machine(runs)
    assert said == (
        "2 kinds of machine: a processor (AVX2): seeds 0, 2; another processor (AVX512): seeds 1, 3"
    )
    assert _kinds_of_machine([runs[0], runs[2]]) == ""


def test_a_metric_that_runs_were_measured_by_has_a_figure_with_intervals(tmp_path):
    runs = [
        a_run(seed, model, metrics={"invariance": 0.8 + 0.01 * seed})
        for model in MODELS
        for seed in (0, 1)
    ]
    without = a_run(model="fcn")
    folder = write_session(tmp_path / "a", [*runs, without], pictures=False)
    reader, _, _ = report(folder, out=folder)
    assert "Invariance by model" in reader.text
    (figure,) = (folder / "figures").glob("*-invariance.svg")
    text = figure.read_text(encoding="utf-8")
    assert all(f">{model} (n = 2)<" in text for model in MODELS)
    assert "fcn" not in text
