"""The page of a session: whole, alone, safe, light, and honest about what it lacks."""

import dataclasses
import html.parser
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from stn_core.errors import UsageError
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.report.results_table import results_table
from stn_core.report.session import read_session
from stn_core.report.session_page import write_report
from stn_core.session.artifacts import artifacts_path, write_artifacts
from stn_core.session.file_names import ARTIFACTS_FOLDER, JUDGEMENTS_FILE, PLAN_FILE, RECORDS_FILE
from stn_core.session.records import append_record
from stn_core.suite.commands import main
from tests.examples import artifacts, environment
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


def test_every_figure_is_a_file_too(page, folder):
    reader, _, _ = page
    files = list((folder / "figures").iterdir())
    assert len(files) == sum(tag == "svg" for tag, _ in reader.elements)
    for file in files:
        assert ElementTree.parse(file).getroot().tag.endswith("svg")


def test_the_same_session_gives_the_same_page(page, folder, tmp_path):
    again = report(folder, out=tmp_path)
    assert again[1] == page[1]


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


def test_the_report_never_imports_torch(folder, tmp_path):
    code = (
        "import sys; from stn_core.suite.commands import main;"
        f"status = main(['report', {str(folder)!r}, '--out', {str(tmp_path)!r}]);"
        "sys.exit(status or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert (tmp_path / "report.html").exists()


def test_two_sessions_stand_side_by_side(folder, tmp_path):
    other = write_session(tmp_path / "another", [a_run(seed, "stn") for seed in (5, 6, 7)])
    reader, _, missing = report(folder, other, out=tmp_path)
    assert missing == ()
    assert "a-session (A) against another (B)" in reader.text
    assert "B better" in reader.text
    assert "only in A" in reader.text
    assert "stn, a-session" in reader.text
    assert "stn, another" in reader.text


def test_two_sessions_of_one_name_are_told_apart(folder, tmp_path):
    namesake = write_session(tmp_path / "elsewhere" / "a-session", [a_run(5), a_run(6)])
    reader, _, _ = report(folder, namesake, folder, out=tmp_path)
    assert f"stn, {namesake}" in reader.text
    ids = reader.all("id")
    assert len(ids) == len(set(ids))
    figures = len(list((tmp_path / "figures").iterdir()))
    assert figures == sum(tag == "svg" for tag, _ in reader.elements)


# What is missing or damaged ---------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path):
    return write_session(tmp_path / "s", [a_run(0), a_run(1)])


def test_a_missing_array_file_is_told_and_the_rest_is_there(fresh):
    for file in (fresh / ARTIFACTS_FOLDER).iterdir():
        file.unlink()
    reader, _, missing = report(fresh, out=fresh)
    (line,) = missing
    assert "no pictures of smoke/digits/stn" in line
    assert "is missing" in line
    assert line in reader.text
    assert "Learning curves" in reader.text


def test_the_next_seed_shows_its_pictures_where_the_first_has_none(fresh):
    artifacts_path(fresh / ARTIFACTS_FOLDER, a_run(0).run_name).write_bytes(b"torn")
    reader, _, missing = report(fresh, out=fresh)
    assert missing == ()
    assert "of seed 1" in reader.text


def test_a_torn_line_is_told(fresh):
    with (fresh / RECORDS_FILE).open("a") as file:
        file.write('{"model": "st')
    _, _, missing = report(fresh, out=fresh)
    assert len(missing) == 1
    assert "line 3: incomplete, skipped" in missing[0]


def test_records_of_another_version_are_told(fresh):
    path = fresh / RECORDS_FILE
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace('"version": 1', '"version": 9')]))
    _, _, missing = report(fresh, out=fresh)
    assert "not a run record of version 1: its version is 9" in missing[0]


@pytest.mark.parametrize("content", ["{", "[]", None])
def test_a_damaged_plan_is_told(fresh, content):
    if content is None:
        (fresh / PLAN_FILE).unlink()
    else:
        (fresh / PLAN_FILE).write_text(content)
    _, _, missing = report(fresh, out=fresh)
    assert len(missing) == 1
    assert "what was asked for is not known" in missing[0]


def test_an_interrupted_session_is_shown_and_not_judged(fresh):
    (fresh / JUDGEMENTS_FILE).unlink()
    reader, _, missing = report(fresh, out=fresh)
    assert "no verdicts" in missing[0]
    assert "not judged: the session did not end" in reader.text


def test_a_name_that_no_xml_may_hold_is_shown_without_it(fresh):
    for run in (a_run(0), a_run(1)):
        arrays = artifacts(digest=run.digest)
        names = np.array(["a\x01b", "狗", "$x^2$"])
        named = dataclasses.replace(arrays, class_names=names)
        write_artifacts(artifacts_path(fresh / ARTIFACTS_FOLDER, run.run_name), named)
    reader, _, missing = report(fresh, out=fresh)
    assert missing == ()
    assert "狗" in reader.text
    assert "$x^2$" in reader.text


def test_a_figure_that_cannot_be_drawn_is_told_and_the_others_are_there(fresh):
    for run in (a_run(0), a_run(1)):
        path = artifacts_path(fresh / ARTIFACTS_FOLDER, run.run_name)
        arrays = artifacts(digest=run.digest)
        odd = dataclasses.replace(arrays.warps, warped=arrays.warps.warped[:, :, :0])
        write_artifacts(path, dataclasses.replace(arrays, warps=odd))
    path = fresh / RECORDS_FILE
    path.write_text(path.read_text().replace('"label": 0', '"label": 77'))
    reader, _, missing = report(fresh, out=fresh)
    assert missing
    assert all(line in reader.text for line in missing)
    assert "Confusion matrix" in reader.text


def test_pictures_of_another_run_are_not_shown(fresh):
    for run in (a_run(0), a_run(1)):
        path = artifacts_path(fresh / ARTIFACTS_FOLDER, run.run_name)
        write_artifacts(path, artifacts(digest="another"))
    _, _, missing = report(fresh, out=fresh)
    (line,) = missing
    assert "belongs to another run" in line


def test_a_damaged_file_hides_no_good_one_elsewhere(tmp_path):
    given = write_session(tmp_path / "given", [a_run(7)])
    folder = write_session(tmp_path / "s", [a_run(7)])
    artifacts_path(folder / ARTIFACTS_FOLDER, a_run(7).run_name).write_bytes(b"torn")
    plan = {"options": {"from_records": [str(given / RECORDS_FILE)]}}
    (folder / PLAN_FILE).write_text(json.dumps(plan))
    reader, _, missing = report(folder, out=folder)
    assert missing == ()
    assert "of seed 7" in reader.text


def test_an_interrupted_session_never_mixes_devices(fresh):
    (fresh / JUDGEMENTS_FILE).unlink()
    elsewhere = a_run(2, accuracy=0.1, environment=environment(device_type="cuda"))
    append_record(fresh / RECORDS_FILE, elsewhere)
    session = read_session(fresh)
    (judgement,) = session.judgements
    assert judgement.records == (elsewhere,)
    left_out = "2 runs of other devices, recipes or data not shown"
    assert f"{elsewhere.key}: {left_out}" in session.complaints


def test_records_that_nobody_judged_are_told(fresh):
    append_record(fresh / RECORDS_FILE, a_run(5))
    _, _, missing = report(fresh, out=fresh)
    assert missing == ("1 records without a verdict are not shown",)


def test_what_a_session_was_given_is_shown_or_missed_by_name(fresh, tmp_path):
    given = write_session(tmp_path / "given", [a_run(7, "cnn")])
    plan = {"options": {"from_records": [str(given / RECORDS_FILE), str(tmp_path / "gone.jsonl")]}}
    (fresh / PLAN_FILE).write_text(json.dumps(plan))
    (fresh / JUDGEMENTS_FILE).unlink()
    reader, _, missing = report(fresh, out=fresh)
    assert missing[0] == f"there is no file {tmp_path / 'gone.jsonl'}"
    assert "cnn" in reader.text
    assert "of seed 7" in reader.text


def test_the_models_of_a_dataset_are_compared_in_a_folded_table(tmp_path):
    values = {"cnn": (0.90, 0.91, 0.905), "stn": (0.97, 0.975, 0.98)}
    runs = [
        a_run(seed, model, accuracy=accuracy)
        for model, accuracies in values.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    write_session(tmp_path / "three", runs, pictures=False)
    reader, content, _ = report(tmp_path / "three", out=tmp_path)
    (folded,) = re.findall(r'<details class="pairs">.*?</details>', content, re.DOTALL)
    assert "Models against each other: 1 pair" in reader.text
    assert folded.index("stn") < folded.index("better") < folded.index("cnn")
    assert "+7.00 [" in folded

    write_session(tmp_path / "one", [run for run in runs if run.seed == 0], pictures=False)
    assert '<details class="pairs">' not in report(tmp_path / "one", out=tmp_path)[1]


def test_searches_and_results_are_never_mixed(tmp_path):
    nothing = {"test_accuracy": None, "test_cross_entropy": None, "test_images": 0, "confusion": []}
    runs = [a_run(), a_run(1), a_run(0, "cnn", is_search=True, **nothing)]
    reader, _, _ = report(write_session(tmp_path / "s", runs), out=tmp_path)
    assert "Accuracy on test images" in reader.text
    assert "Accuracy on validation images" in reader.text
    for name, there, elsewhere in (("accuracy", "stn", "cnn"), ("search-accuracy", "cnn", "stn")):
        chart = (tmp_path / "figures" / f"smoke-digits-{name}.svg").read_text()
        assert f">{there}<" in chart
        assert f">{elsewhere}<" not in chart


def test_photographs_stay_light(tmp_path):
    run = a_run()
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:1:64j, 0:1:64j]

    def photographs(*shape):
        phase = random.uniform(0, 6, (*shape, 3, 1, 1))
        shade = np.sin(5 * x + 3 * y * phase + phase) + 0.1 * random.normal(size=(64, 64))
        return (127 + 100 * shade).clip(0, 255).astype(np.uint8)

    arrays = artifacts(classes=3, images=8, size_hw=(64, 64), digest=run.digest)
    images = {"batch": photographs(8), "warped": photographs(8), "film": photographs(3, 8)}
    grid = np.stack([2 * x - 1, 2 * y - 1], axis=-1)[None].repeat(8, axis=0).astype(np.float32)
    images |= {"grid": grid, "det": np.ones_like(arrays.warps.det)}
    warps = dataclasses.replace(arrays.warps, **images)
    first = {"first_images": photographs(8), "first_warped": photographs(8)}
    mistakes = dataclasses.replace(arrays.mistakes, **first)
    folder = write_session(tmp_path / "s", [run], pictures=False)
    coloured = dataclasses.replace(arrays, warps=warps, mistakes=mistakes)
    write_artifacts(artifacts_path(folder / ARTIFACTS_FOLDER, run.run_name), coloured)
    _, content, missing = report(folder, out=tmp_path)
    assert missing == ()
    assert len(content) < 5e6 / 15


@pytest.mark.parametrize("content", [None, "", "not a record\n"])
def test_a_folder_without_a_record_is_refused_in_one_line(tmp_path, content, capsys):
    if content is not None:
        (tmp_path / RECORDS_FILE).write_text(content)
    assert main(["report", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"{tmp_path} holds no results")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_of_several_folders_the_readable_ones_are_shown(fresh, tmp_path, capsys):
    assert main(["report", str(fresh), str(tmp_path / "nowhere"), "--out", str(tmp_path)]) == 0
    assert f"there is no results folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert (tmp_path / "report.html").exists()


def test_a_page_that_cannot_be_written_is_told(fresh, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_report([fresh], tmp_path / "file" / "report.html")


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
    assert "Differences of accuracy" in reader.text
    assert (tmp_path / "figures" / "comparison.svg").exists()


def test_two_equal_sides_are_compared_too(folder, tmp_path, capsys):
    out = tmp_path / "new"
    assert main(["compare", str(folder), str(folder), "--out", str(out)]) == 0
    assert "2 identical" in capsys.readouterr().out
    assert (out / "comparison.html").exists()


def test_sides_that_cannot_be_compared_are_refused_in_one_line(folder, tmp_path, capsys):
    assert main(["compare", str(folder), str(tmp_path / "nowhere")]) == 1
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
