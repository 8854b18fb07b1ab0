"""The table says what the judgements say, in order."""

import dataclasses

import pandas as pd
import pytest

from stn_core.gate.groups import GroupJudgement
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.gate.speed_change import SpeedChange
from stn_core.report.results_table import all_accuracies, results_table
from stn_core.report.session_words import answer, remarks, tally
from tests.examples import baseline, record


def judgement(dataset, model, accuracies, verdict=Verdict.PASS, message=""):
    records = tuple(record(seed, accuracy) for seed, accuracy in enumerate(accuracies))
    stored = baseline([0.9, 0.9])
    detectable = 1.0 if accuracies else None
    key = f"smoke/{dataset}/{model}"
    return Judgement(key, verdict, message, records, stored, detectable)


SESSION = [
    judgement("b", "worse", [0.80, 0.82]),
    judgement("b", "better", [0.90, 0.92]),
    judgement("b", "gone", [], Verdict.MISSING, "it did not run"),
    judgement("a", "only", [0.95]),
]
TABLE = results_table(SESSION, 3)


def test_failures_come_first_then_the_best_of_each_dataset():
    rows = [row.judgement.key.split("/")[1:] for row in TABLE.rows]
    assert rows == [["b", "gone"], ["a", "only"], ["b", "better"], ["b", "worse"]]
    assert TABLE.frame["model"].tolist() == ["gone", "only", "better", "worse"]


def test_numbers_are_means_and_differences_in_points():
    row = TABLE.frame.iloc[2]
    assert row["accuracy_percent"] == 91.0
    assert round(row["accuracy_sd_points"], 6) == round(100 * 0.02 / 2**0.5, 6)
    assert round(row["difference_points"], 9) == 1.0
    assert row["minimum_detectable_drop_points"] == 1.0
    assert row["seconds_per_epoch"] == 2.0


def test_the_verdict_stands_beside_the_model_and_headings_explain_themselves():
    heading, *_ = TABLE.text(width=1000).split("---")
    columns = list(TABLE.rows[0].texts)
    assert columns[:3] == ["dataset", "model", "verdict"]
    assert all(word in heading for column in columns for word in column.split())


def test_text_has_every_cell_and_no_number_that_is_none():
    lines = TABLE.text(width=1000).splitlines()
    rows = lines[lines.index(next(line for line in lines if line.startswith("---"))) + 1 :]
    assert [row.split()[1] for row in rows] == ["gone", "only", "better", "worse"]
    assert "91.00 ± 1.41 (2)" in rows[2]
    assert "+1.00" in rows[2]
    assert "27,360" in rows[2]
    assert rows[0].split() == ["b", "gone", "MISSING", "90.00", "±", "0.00", "(2)"]
    assert "nan" not in "\n".join(lines)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_table_is_as_wide_as_there_is_room_and_says_what_it_leaves_out(width):
    text = TABLE.text(width)
    assert max(map(len, text.splitlines())) <= width
    table, _, left_out = text.partition("(also in table.csv: ")
    assert ("images/s" in table) == (width == 200)
    assert ("images/s" in left_out) == (width < 200)


def test_a_narrow_table_keeps_model_verdict_and_accuracy():
    narrow = TABLE.text(width=1)
    for column in ("model", "verdict", "accuracy, %", "change,"):
        assert column in narrow


def test_only_verdicts_that_need_an_explanation_get_one():
    assert remarks(SESSION) == ["MISSING  smoke/b/gone: it did not run"]


def test_remarks_that_many_cells_share_appear_once_with_failures_first():
    many = [judgement("a", f"m{n}", [], Verdict.MISSING, "not run") for n in range(5)]
    better = judgement("a", "better", [0.99], Verdict.IMPROVED, "a gain")
    assert remarks(many[:2]) == ["MISSING  smoke/a/m0, smoke/a/m1: not run"]
    assert remarks([better, *many]) == [
        "MISSING  5 cells: not run",
        "IMPROVED  smoke/a/better: a gain",
    ]


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (["PASS"], "The cell passes."),
        (["PASS", "PASS (identical)", "IMPROVED"], "All 3 cells pass."),
        (["PASS", "NEW", "NEW"], "1 of 3 cells passes; 2 NEW."),
        (["NEW"], "Nothing was judged: 1 cell; 1 NEW."),
        (
            ["MISSING"],
            "The cell does not pass: m0 on d MISSING (2.10 points lost, test loss 9 % higher).",
        ),
        (
            ["PASS", "PASS", "REGRESSED"],
            "2 of 3 cells pass; 1 does not: m2 on d REGRESSED (2.10 points lost, test loss 9 %"
            " higher).",
        ),
        (
            ["MISSING"] * 5,
            "0 of 5 cells pass; 5 do not: m0 on d MISSING (2.10 points lost, test loss 9 % higher),"
            " m1 on d MISSING (2.10 points lost, test loss 9 % higher), m2 on d MISSING (2.10"
            " points lost, test loss 9 % higher) and 2 more.",
        ),
    ],
)
def test_the_answer_is_one_sentence(verdicts, sentence):
    why = "2.10 points lost (p = 1e-04, 3 seeds), test loss 9 % higher (p = 2e-05, 3 seeds)"
    judgements = [
        judgement("d", f"m{n}", [0.9], Verdict(verdict), "" if Verdict(verdict).passes else why)
        for n, verdict in enumerate(verdicts)
    ]
    assert answer(judgements) == sentence


def test_the_answer_says_whether_cells_dropped_together_or_train_more_slowly():
    dropped = GroupJudgement("all", Verdict.REGRESSED, "0.4 points lost", members=("a/b/c",))
    slower = SpeedChange(1.5, 1.3, 1.7, cells=4).failure("main")
    passing = GroupJudgement("passes", Verdict.PASS, members=("a/b/c",))

    def said(*groups):
        whole, usual = (results_table(SESSION, 3, some).answer for some in (groups, ()))
        return whole.removeprefix(usual)

    assert said(passing) == ""
    assert said(passing, dropped) == " Cells dropped together: group all."
    assert said(slower) == " Training is slower."
    assert said(dropped, slower) == " Cells dropped together: group all. Training is slower."


def test_the_answer_stays_short_even_with_a_long_message():
    crashed = judgement("d", "m", [], Verdict.CRASHED, "seed 0: " + "word " * 100)
    assert len(answer([crashed])) < 200


def test_files_hold_the_same(tmp_path):
    TABLE.write(tmp_path)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == TABLE.answer
    assert lines[2].startswith("| dataset")
    assert len([line for line in lines if line.startswith("| ")]) == 1 + len(SESSION)
    frame = pd.read_csv(tmp_path / "table.csv")
    assert list(frame["model"]) == ["gone", "only", "better", "worse"]


def of_dataset(judgements):
    return results_table(judgements, 3).frame.set_index("model")["best_of_dataset"].to_dict()


def test_the_best_of_each_dataset_are_marked():
    clear = [judgement("c", "good", [0.97, 0.98, 0.975]), judgement("c", "bad", [0.1, 0.11, 0.12])]
    close = [judgement("d", "one", [0.90, 0.92, 0.91]), judgement("d", "two", [0.91, 0.90, 0.92])]
    tied = "tied for best"
    assert of_dataset([*clear, *close]) == {"good": "best", "bad": "", "one": tied, "two": tied}


def with_baseline(judged, accuracies):
    return dataclasses.replace(judged, baseline=baseline(accuracies))


@pytest.mark.parametrize("verdict", [Verdict.IDENTICAL, Verdict.PASS])
def test_a_cell_that_passes_is_compared_by_all_its_runs(verdict):
    """One lucky seed of an unchanged model makes it no winner."""
    lucky = with_baseline(judgement("e", "lucky", [0.99], verdict), [0.50, 0.51] * 10)
    steady = judgement("e", "steady", [0.90, 0.91, 0.92])
    assert list(of_dataset([lucky, steady]).items()) == [("steady", "best"), ("lucky", "")]


def test_one_run_per_cell_is_enough_with_stored_values():
    good = with_baseline(judgement("e", "good", [0.99]), [0.98, 0.99, 0.985])
    bad = with_baseline(judgement("e", "bad", [0.86]), [0.84, 0.86, 0.85])
    assert of_dataset([good, bad]) == {"good": "best", "bad": ""}


@pytest.mark.parametrize("verdict", [Verdict.IMPROVED, Verdict.REGRESSED])
def test_stored_values_do_not_count_for_a_changed_cell(verdict):
    changed = with_baseline(judgement("e", "changed", [0.99, 0.98], verdict), [0.50, 0.51] * 10)
    assert all_accuracies(changed) == [0.99, 0.98]


@pytest.mark.parametrize("status", ["diverged", "crashed"])
@pytest.mark.parametrize("keeps_the_verdict", [True, False])
def test_a_cell_with_a_failed_run_is_not_ranked(status, keeps_the_verdict):
    """However good its other runs are: the sound model is the best of the dataset."""
    verdict = Verdict.PASS if keeps_the_verdict else Verdict(status.upper())
    broken = judgement("e", "broken", [0.99, 0.98], verdict)
    failed = record(2, None, status=status, test_cross_entropy=None)
    broken = dataclasses.replace(broken, records=(*broken.records, failed))
    sound = judgement("e", "sound", [0.90, 0.91, 0.92])
    assert of_dataset([broken, sound]) == {"broken": "", "sound": "best"}
    assert of_dataset([broken]) == {"broken": ""}


def test_a_cell_whose_worker_died_is_not_ranked():
    """A run that is lost has no record."""
    lost = judgement("e", "lost", [0.99, 0.98], Verdict.CRASHED)
    sound = judgement("e", "sound", [0.90, 0.91, 0.92])
    assert of_dataset([lost, sound]) == {"lost": "", "sound": "best"}


def test_each_seed_counts_once():
    again = with_baseline(judgement("e", "again", [0.95, 0.96]), [0.90, 0.91, 0.92])
    assert all_accuracies(again) == [0.92, 0.95, 0.96]


def test_without_two_runs_of_any_model_no_best_is_named():
    new = [
        dataclasses.replace(judgement("e", name, [accuracy], Verdict.NEW), baseline=None)
        for name, accuracy in (("good", 0.99), ("bad", 0.86))
    ]
    assert of_dataset(new) == {"good": "", "bad": ""}


def test_the_tally_counts_runs_and_gives_advice_on_speed():
    slow = dataclasses.replace(SESSION[3], slowdown=2.0)
    assert tally(SESSION, 3) == [
        "4 cells, 5 runs: 1 MISSING, 3 PASS; 4 runs skipped (stopped early)"
    ]
    one = dataclasses.replace(slow, records=slow.records[:1])
    assert tally([one], 2)[0] == "1 cell, 1 run: 1 PASS; 1 run skipped (stopped early)"
    interrupted = dataclasses.replace(one, verdict=Verdict.MISSING)
    assert tally([interrupted], 2)[0] == "1 cell, 1 run: 1 MISSING"
    assert tally([slow], 3)[1].startswith(
        "advice: 1 cell trained more slowly than before, in the m"
    )


def test_the_tally_counts_runs_that_only_a_group_needed():
    cells = [judgement("d", name, [0.95]) for name in "abc"]
    cells.append(judgement("d", "same", [0.95], Verdict.IDENTICAL))
    keys = tuple(cell.key for cell in cells)
    groups = [
        GroupJudgement("small", Verdict.PASS, members=keys[:2], seeds=4),
        GroupJudgement("all", Verdict.PASS, members=keys, seeds=2),
    ]
    (line,) = tally(cells, 8, groups)
    assert line.startswith("4 cells, 11 runs: ")
    assert line.endswith("; 21 runs skipped (stopped early)")


def test_more_baseline_seeds_are_advised_only_if_there_is_a_baseline():
    cell = with_baseline(judgement("d", "blunt", [0.9]), [0.90, 0.91])
    blunt = dataclasses.replace(cell, detectable_points=20.0)
    commits = dataclasses.replace(blunt.baseline, date="")
    lines = [tally([one], 1)[1] for one in (blunt, dataclasses.replace(blunt, baseline=commits))]
    assert ["more baseline seeds help" in line for line in lines] == [True, False]


def test_a_cell_that_could_miss_any_drop_is_told_apart_from_one_that_could_miss_five_points():
    cell = judgement("d", "blunt", [0.9])
    blunt, sightless = (dataclasses.replace(cell, detectable_points=one) for one in (20.0, 100.0))
    first, second = tally([blunt, dataclasses.replace(sightless, key="k")], 1)[1:]
    assert first.startswith("1 cell could miss any drop, however large (see ")
    assert first.endswith(": k")
    assert second.startswith("1 cell could miss a drop of 5 points (see ")
    assert second.endswith(f": {blunt.key}")


def test_the_step_summary_is_appended(tmp_path):
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    TABLE.append_step_summary(page, "smoke")
    text = page.read_text()
    assert text.startswith(f"before\n## stn_core, budget smoke\n\n{TABLE.answer}\n\n| dataset")
    assert "- MISSING  smoke/b/gone: it did not run" in text


def test_nothing_gives_an_empty_table():
    assert results_table([], 3).text() == ""


def test_no_name_or_message_forges_a_line_or_a_column(tmp_path):
    forged = "bad\nall 9 cells PASS\x1b[2K|x\u2028"
    cell = judgement("d", forged, [], Verdict.CRASHED, forged)
    table = results_table([cell], 3)
    for text in (table.text(width=1000), table.markdown, table.answer, *table.remarks):
        assert "\x1b" not in text
        assert "\u2028" not in text
        assert "\nall 9" not in text
        assert "bad\\nall 9" in text.replace("\\\\", "\\")  # Markdown shows one of two
    row = next(line for line in table.markdown.splitlines() if line.startswith("| d"))
    assert row.replace("\\|", "").count("|") == len(table.rows[0].texts) + 1


def test_further_metrics_have_a_column_each_and_are_dropped_last():
    measured = judgement("a", "stn", [0.9, 0.8])
    runs = [
        dataclasses.replace(run, metrics={"misplaced_pixels": value})
        for run, value in zip(measured.records, (1.0, 3.0), strict=True)
    ]
    judgements = [dataclasses.replace(measured, records=tuple(runs)), judgement("a", "cnn", [0.7])]
    table = results_table(judgements, 3)
    texts = [row.texts["misplaced pixels (n)"] for row in table.rows]
    assert texts == ["2.0000 ± 1.4142 (2)", ""]
    assert table.frame["misplaced_pixels"].tolist()[0] == 2.0
    narrow = table.text(width=90)
    assert "misplaced" in narrow.split("---")[0]
    assert "images/s" not in narrow.split("---")[0]
