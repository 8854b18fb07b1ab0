"""A session that lacks something, or holds damaged files, has a page that says so."""

import dataclasses
import json
import re

import numpy as np
import pytest

from stn_core.errors import UsageError
from stn_core.gate.baselines import baseline_of
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.gate.judgement_files import write_judgements
from stn_core.report.finished_session import read_session
from stn_core.report.session_page import write_report
from stn_core.session.artifacts import artifacts_path, write_artifacts
from stn_core.session.file_names import ARTIFACTS_FOLDER, JUDGEMENTS_FILE, PLAN_FILE, RECORDS_FILE
from stn_core.session.records import append_record
from stn_core.suite.commands import main
from tests.examples import artifacts, environment
from tests.report.folders import a_run, write_session
from tests.report.test_page import report

without_pictures = pytest.mark.usefixtures("pictures_left_out")


@pytest.fixture
def fresh(tmp_path):
    return write_session(tmp_path / "s", [a_run(0), a_run(1)])


@without_pictures
def test_a_missing_array_file_is_reported_and_the_rest_is_there(fresh):
    for file in (fresh / ARTIFACTS_FOLDER).iterdir():
        file.unlink()
    reader, _, missing = report(fresh, out=fresh)
    (line,) = missing
    assert "no pictures of smoke/digits/stn" in line
    assert "is missing" in line
    assert line in reader.text
    assert "Learning curves" in reader.text


@without_pictures
def test_the_next_seed_shows_its_pictures_where_the_first_has_none(fresh):
    artifacts_path(fresh / ARTIFACTS_FOLDER, a_run(0).run_name).write_bytes(b"torn")
    reader, _, missing = report(fresh, out=fresh)
    assert missing == ()
    assert "of seed 1" in reader.text


@without_pictures
def test_a_torn_line_is_reported(fresh):
    with (fresh / RECORDS_FILE).open("a") as file:
        file.write('{"model": "st')
    _, _, missing = report(fresh, out=fresh)
    assert len(missing) == 1
    assert "line 3: incomplete, skipped" in missing[0]


@without_pictures
def test_records_of_another_version_are_reported(fresh):
    path = fresh / RECORDS_FILE
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace('"version": 1', '"version": 9')]))
    _, _, missing = report(fresh, out=fresh)
    assert "not a run record of version 1: its version is 9" in missing[0]


@without_pictures
@pytest.mark.parametrize("content", ["{", "[]", None])
def test_a_damaged_plan_is_reported(fresh, content):
    if content is None:
        (fresh / PLAN_FILE).unlink()
    else:
        (fresh / PLAN_FILE).write_text(content)
    _, _, missing = report(fresh, out=fresh)
    assert len(missing) == 1
    assert "what was asked for is not known" in missing[0]


@without_pictures
def test_a_session_without_a_verdict_has_a_page(fresh):
    file = fresh / JUDGEMENTS_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "judgements": []}))
    reader, _, _ = report(fresh, out=fresh)
    assert reader.text


def test_a_number_that_one_seed_alone_has_costs_no_figure(tmp_path):
    runs = [a_run(0), a_run(1)]
    curve = [{**entry, "spread": 0.1} for entry in runs[0].validation]
    runs[0] = dataclasses.replace(runs[0], validation=curve)
    reader, _, missing = report(write_session(tmp_path / "s", runs), out=tmp_path)
    assert missing == ()
    assert "Learning curves" in reader.text


@without_pictures
def test_an_interrupted_session_is_shown_and_not_judged(fresh):
    (fresh / JUDGEMENTS_FILE).unlink()
    reader, _, missing = report(fresh, out=fresh)
    assert "no verdicts" in missing[0]
    assert "not judged: the session did not end" in reader.text
    assert "no baseline" not in reader.text  # which is not known of it


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


def test_a_figure_that_cannot_be_drawn_is_reported_and_the_others_are_there(fresh):
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


@without_pictures
def test_pictures_of_another_run_are_not_shown(fresh):
    for run in (a_run(0), a_run(1)):
        path = artifacts_path(fresh / ARTIFACTS_FOLDER, run.run_name)
        write_artifacts(path, artifacts(digest="another"))
    _, _, missing = report(fresh, out=fresh)
    (line,) = missing
    assert "belongs to another run" in line


@without_pictures
def test_a_damaged_file_hides_no_good_one_elsewhere(tmp_path):
    given = write_session(tmp_path / "given", [a_run(7)])
    folder = write_session(tmp_path / "s", [a_run(7)])
    artifacts_path(folder / ARTIFACTS_FOLDER, a_run(7).run_name).write_bytes(b"torn")
    plan = {"options": {"from_records": [str(given / RECORDS_FILE)]}}
    (folder / PLAN_FILE).write_text(json.dumps(plan))
    reader, _, missing = report(folder, out=folder)
    assert missing == ()
    assert "of seed 7" in reader.text


@without_pictures
def test_an_interrupted_session_never_mixes_devices(fresh):
    (fresh / JUDGEMENTS_FILE).unlink()
    elsewhere = a_run(2, accuracy=0.1, environment=environment(device_type="cuda"))
    append_record(fresh / RECORDS_FILE, elsewhere)
    session = read_session(fresh)
    (judgement,) = session.judgements
    assert judgement.records == (elsewhere,)
    left_out = f"{elsewhere.key}: device is 'cpu', not 'cuda'; 2 records left out"
    assert left_out in session.complaints


@without_pictures
def test_records_that_nobody_judged_are_reported(fresh):
    append_record(fresh / RECORDS_FILE, a_run(5))
    _, _, missing = report(fresh, out=fresh)
    assert missing == ("not shown: 1 record without a verdict",)


@without_pictures
def test_judged_runs_whose_records_are_gone_are_reported(fresh):
    judged = {model: (a_run(0, model), a_run(1, model)) for model in ("stn", "cnn")}
    judgements = [
        Judgement(runs[0].key, Verdict.PASS, records=runs, baseline=baseline_of(runs))
        for runs in judged.values()
    ]
    write_judgements(fresh / JUDGEMENTS_FILE, judgements)
    (fresh / RECORDS_FILE).write_text(judged["stn"][0].to_json() + "\n")
    reader, _, missing = report(fresh, out=fresh)
    cells = "smoke/digits/stn, smoke/digits/cnn"
    assert missing[0] == f"not shown: 3 judged runs without a record ({cells})"
    assert missing[0] in reader.text


@pytest.mark.nightly
def test_given_records_are_shown_or_reported_as_missing(fresh, tmp_path):
    given = write_session(tmp_path / "given", [a_run(7, "cnn")])
    plan = {"options": {"from_records": [str(given / RECORDS_FILE), str(tmp_path / "gone.jsonl")]}}
    (fresh / PLAN_FILE).write_text(json.dumps(plan))
    (fresh / JUDGEMENTS_FILE).unlink()
    reader, _, missing = report(fresh, out=fresh)
    assert missing[0] == f"there is no file {tmp_path / 'gone.jsonl'}"
    assert "cnn" in reader.text
    assert "of seed 7" in reader.text


@without_pictures
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


@without_pictures
def test_too_many_pairs_are_left_to_a_command_that_the_page_names(tmp_path, monkeypatch):
    monkeypatch.setattr("stn_core.report.session_page.MOST_PAIRS", 2)
    runs = [a_run(seed, model) for model in ("cnn", "stn", "vit") for seed in (0, 1)]
    folder = write_session(tmp_path / "s", runs, pictures=False)
    reader, content, _ = report(folder, out=tmp_path)
    assert f"3 pairs of models are not compared here; stn compare {folder} --models all" in (
        reader.text
    )
    assert '<details class="pairs">' not in content


def test_searches_and_results_are_never_mixed(tmp_path):
    nothing = {"test_accuracy": None, "test_cross_entropy": None, "test_images": 0, "confusion": []}
    runs = [a_run(), a_run(1), a_run(0, "cnn", is_search=True, **nothing)]
    reader, _, _ = report(write_session(tmp_path / "s", runs, pictures=False), out=tmp_path)
    assert "Accuracy on test images" in reader.text
    assert "Accuracy on validation images" in reader.text
    for name, there, elsewhere in (("accuracy", "stn", "cnn"), ("search-accuracy", "cnn", "stn")):
        chart = (tmp_path / "figures" / f"smoke-digits-{name}.svg").read_text()
        assert f">{there}<" in chart
        assert f">{elsewhere}<" not in chart


@pytest.mark.nightly
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


@without_pictures
@pytest.mark.parametrize("content", [None, "", "not a record\n"])
def test_a_folder_without_a_record_is_refused_in_one_line(tmp_path, content, capsys):
    if content is not None:
        (tmp_path / RECORDS_FILE).write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"{tmp_path} holds no results")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


@without_pictures
def test_the_readable_ones_of_several_folders_are_shown(fresh, tmp_path, capsys):
    assert main(["report", str(fresh), str(tmp_path / "nowhere"), "--out", str(tmp_path)]) == 0
    assert f"there is no results folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert (tmp_path / "report.html").exists()


@without_pictures
def test_a_page_that_cannot_be_written_is_reported(fresh, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_report([fresh], tmp_path / "file" / "report.html")
